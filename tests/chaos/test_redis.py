"""Break Redis in every way while visitors come: the short forms of `make chaos`."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bench.loopback import Service, running_service
from chaos import redis
from chaos.fault import Effort
from chaos.proxy import Proxy
from chaos.row import Row

SHORT = Effort(people=50, per_second=20.0, returns=2, every_seconds=0.7, rounds=1, seconds=2.5, times_as_late=5.0)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as service:
        yield service


@pytest.fixture(scope="module")
def proxy(service: Service) -> Iterator[Proxy]:
    """Stand between Redis and the web process from here on, and no longer than the last test."""
    with ExitStack() as stack:
        yield redis.behind(service, stack, "serve")


def prove(row: Row) -> None:
    assert row.broken == ()
    assert (row.over_given, row.lost, row.doubled, row.failed) == (0, 0, 0, 0)
    assert row.places >= SHORT.people


async def test_who_has_a_place_keeps_it_when_redis_is_killed(service: Service) -> None:
    prove(await redis.killed(service, SHORT))


async def test_a_paused_redis_gives_nothing_and_loses_nothing(service: Service) -> None:
    row = await redis.paused(service, SHORT)
    prove(row)
    assert row.told["unavailable"] > 0, "new visitors came meanwhile"


async def test_a_full_redis_gives_nothing_and_loses_nothing(service: Service) -> None:
    row = await redis.filled(service, SHORT)
    prove(row)
    assert row.told["unavailable"] > 0


async def test_a_redis_that_is_full_while_the_record_is_away_recovers_by_itself(service: Service) -> None:
    row = await redis.filled_behind(service, SHORT, events=40_000)
    prove(row)
    assert row.told["unavailable"] > 0


async def test_a_redis_whose_disk_is_full_ends_and_loses_nothing(service: Service) -> None:
    row = await redis.disk_filled(service, SHORT)
    prove(row)
    assert row.told["unavailable"] > 0


async def test_replies_that_end_in_the_middle_count_nobody_twice(service: Service, proxy: Proxy) -> None:
    prove(await redis.cut(service, SHORT, proxy))


async def test_an_empty_redis_is_filled_from_the_record(service: Service, proxy: Proxy) -> None:
    prove(await redis.emptied(service, SHORT, proxy))
