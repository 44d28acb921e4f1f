"""The short form of what `make chaos` does to a cluster's and a sentinel's master."""

import pytest

from chaos import failover
from chaos.fault import Effort, Fault


@pytest.mark.parametrize("fault", failover.FAULTS, ids=lambda fault: fault.name)
def test_a_master_dies_and_no_promise_is_broken(fault: Fault) -> None:
    [row] = fault.inject(Effort(people=150, per_second=25.0, rounds=1), lambda _: None)
    assert row.broken == ()
    assert (row.over_given, row.lost, row.doubled, row.failed) == (0, 0, 0, 0)
    assert row.places >= 150
    assert row.told["unavailable"] > 0, "nothing was broken"
