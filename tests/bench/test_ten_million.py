"""A hundredth of the ten million: what `make bench-10m` runs, judged by exactness and not by time."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from bench import memory
from bench.crowd import Met
from bench.storm import FULL_SIZE, PLACES, Size, Storm, storm
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


def test_the_memory_of_a_process_is_that_of_its_children_too() -> None:
    fat = "import sys; kept = b'x' * 100_000_000; print(len(kept), flush=True); sys.stdin.read()"
    before = memory.used(os.getpid())

    with subprocess.Popen([sys.executable, "-c", fat], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        both, alone = memory.used(os.getpid()), memory.used(child.pid)
        child.communicate()

    assert 100_000_000 < alone < 150_000_000
    assert both > before + 99_000_000
    assert memory.used(child.pid) == 0


def whole(
    *, seconds: float = 250, drained_at: float = 300, left: int = 2_000_000, claimer: int = 90, redis: int = 900
) -> Storm:
    """A storm of ten million in so many seconds; units of memory: MB."""
    samples = [
        Sample(0.0, {"claimer 1": 80_000_000, REDIS: 100_000_000}, 0, 0, 0),
        Sample(seconds, {"claimer 1": claimer * 1_000_000, REDIS: redis * 1_000_000}, FULL_SIZE, FULL_SIZE - left, 9),
        Sample(drained_at, {"claimer 1": 0, REDIS: 800_000_000}, FULL_SIZE, FULL_SIZE, 0),
    ]
    met = [Met(FULL_SIZE, FULL_SIZE // 2, {}, 0.0, seconds, 90.0)]
    return Storm(Size(), met, samples, drained_at, FULL_SIZE, {"claimer 1": 90.0}, [], 400.0, 20.0, "a machine")


def test_a_whole_storm_that_is_quick_and_small_keeps_its_promises() -> None:
    assert told(whole()).broken == []


@pytest.mark.parametrize(
    ("storm", "broken"),
    [
        (whole(seconds=400, drained_at=450), "25,000 scans/s"),
        (whole(drained_at=350), "20,000 rows/s"),
        (whole(claimer=121), "claimer 1: 1.51 times"),
        (whole(redis=2_800), "Redis kept 2,700 MB"),
    ],
)
def test_a_whole_storm_that_is_slow_or_grows_is_told_of(storm: Storm, broken: str) -> None:
    assert [line[: len(broken)] for line in told(storm).broken] == [broken]


def test_what_is_not_exact_is_told_of_whatever_the_size() -> None:
    small = replace(whole(), size=Size(groups=1, visitors=200), wrong=["totals: 1 groups have not 200 places"])

    assert told(small).broken == ["totals: 1 groups have not 200 places"]
