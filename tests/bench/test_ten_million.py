"""A hundredth of the ten million: what `make bench-10m` runs, judged by exactness and not by time."""

import pytest

from bench.storm import PLACES, Size, storm
from bench.tenmillion import told
from bench.watch import REDIS, Memory, Sample, peaks


# Seconds where nobody else works; a machine that is busy with other tests must not make it fail.
@pytest.mark.timeout(600)
def test_a_hundred_thousand_visitors_fill_five_hundred_groups_and_not_one_place_more() -> None:
    size = Size(groups=500, visitors=500 * PLACES + 100, processes=2, at_once=256)

    found = storm(size, print)

    assert told(found).broken == []
    assert sum(one.given for one in found.met) == 100_000
    assert sum(one.others.get("Full", 0) for one in found.met) == 100
    # Places, pictures, who came too late, and one more.
    assert found.rows == 100_000 + sum(one.seen for one in found.met) + 100 + 1


def test_a_process_that_has_ended_does_not_look_as_if_it_had_needed_nothing() -> None:
    sizes = [{"claimer": 80, REDIS: 1}, {"claimer": 90, REDIS: 5}, {"claimer": 120, REDIS: 7}, {"claimer": 0, REDIS: 3}]

    found = peaks([Sample(float(at), memory, 0, 0, 0) for at, memory in enumerate(sizes)])

    assert found == {"claimer": Memory(80, 120), REDIS: Memory(5, 7)}
