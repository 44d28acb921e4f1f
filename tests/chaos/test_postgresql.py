"""Break PostgreSQL while visitors come: the short forms of `make chaos`."""

from collections.abc import Awaitable, Callable, Iterator

import pytest

from bench.loopback import Service, running_service
from chaos import postgresql
from chaos.fault import Effort
from chaos.row import Row

SHORT = Effort(people=50, per_second=20.0, returns=2, every_seconds=0.7, rounds=1, seconds=6.0, times_as_late=5.0)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as service:
        yield service


@pytest.mark.parametrize("fault", [postgresql.killed, postgresql.paused, postgresql.disk_filled])
async def test_scans_do_not_notice_and_the_api_says_so_at_once(
    service: Service, fault: Callable[[Service, Effort], Awaitable[Row]]
) -> None:
    row = await fault(service, SHORT)
    assert row.broken == ()
    assert (row.over_given, row.lost, row.doubled, row.failed) == (0, 0, 0, 0)
    assert row.places >= SHORT.people
    assert "store_away" in row.noted
