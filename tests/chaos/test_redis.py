"""Break Redis in every way while visitors come: the short forms of `make chaos`."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bench.loopback import Service, running_service
from chaos import redis
from chaos.fault import Effort
from chaos.row import Row

SHORT = Effort(people=60, per_second=30.0, returns=2, every_seconds=0.7, rounds=1, seconds=2.5)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as service:
        yield service


def prove(row: Row) -> None:
    assert row.broken == ()
    assert (row.over_given, row.lost, row.doubled, row.failed) == (0, 0, 0, 0)
    assert row.places >= SHORT.people


async def test_who_has_a_place_keeps_it_when_redis_is_killed(service: Service) -> None:
    prove(await redis.killed(service, SHORT))


async def test_a_paused_redis_makes_nobody_wait_for_long(service: Service) -> None:
    row = await redis.paused(service, SHORT)
    prove(row)
    assert row.told["unavailable"] > 0, "new visitors came meanwhile"
    assert row.known_gap_seconds < redis.ANSWER_SECONDS


async def test_a_full_redis_gives_nothing_and_loses_nothing(service: Service) -> None:
    row = await redis.filled(service, SHORT)
    prove(row)
    assert row.told["unavailable"] > 0


async def test_replies_that_end_in_the_middle_count_nobody_twice(service: Service) -> None:
    with ExitStack() as stack:
        prove(await redis.cut(service, SHORT, redis.behind(service, stack, "worker", "serve")))
        restored(service, "worker", "serve")


async def test_an_empty_redis_is_filled_from_the_record(service: Service) -> None:
    with ExitStack() as stack:
        prove(await redis.emptied(service, SHORT, redis.behind(service, stack, "serve")))
        restored(service, "serve")


def restored(service: Service, *names: str) -> None:
    """Let processes speak to Redis itself again."""
    for name in names:
        service.stop(name)
        service.start(name)
