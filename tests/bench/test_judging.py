"""What `make bench` makes of what it has measured."""

import pytest

from bench.contenders import ratios, waits
from bench.load import Load
from bench.metrics import times
from bench.report import Goal
from bench.rivals import Rival, Stretch
from bench.steady import Steady


def rival(key: str, *rates: float, cpu: float = 1.0) -> Rival:
    one = Rival(key, f"({key})", "process", "http://localhost")
    one.stretches = [Stretch(Load(int(rate * 4), 4.0, 1.0, 2.0, 0), {"server": cpu, "Redis": 0.1}) for rate in rates]
    return one


def steady(p99_ms: float, *, asked: float = 100.0, seconds: float = 10.0) -> Steady:
    return Steady(1000, seconds, 1.0, p99_ms, 0, asked, 0.5)


def test_a_goal_is_missed_only_beyond_its_least() -> None:
    assert not Goal("rate", 0.50, 0.50, 0.70).broken
    assert Goal("rate", 0.49, 0.50, 0.70).broken == ["rate: 0.49, less than 0.50"]
    assert not Goal("wait", 10.0, 10.0, 5.0, at_most=True).broken
    assert Goal("wait", 10.1, 10.0, 5.0, at_most=True).broken == ["wait: 10.10, more than 10.00"]


def test_medians_are_compared_and_not_means() -> None:
    rivals = {
        one.key: one
        for one in (
            rival("a", 20_000, 10_000, 100),
            rival("b", 1_000, 1_000, 1_000),
            rival("c", 9_000, 5_000, 4_900),
            rival("d", 4_400, 4_400, 90_000),
        )
    }

    found = ratios(rivals)

    assert [goal.found for goal in found] == pytest.approx([0.50, 0.44, 5.0])
    assert [len(goal.broken) for goal in found] == [0, 1, 0]


def test_waits_are_judged_by_the_median_of_the_rounds() -> None:
    rivals = {"c": rival("c", 100), "d": rival("d", 100)}

    link, group = waits(rivals, {"c": [steady(500), steady(9), steady(8)], "d": [steady(11), steady(12), steady(1)]})

    assert (link.found, link.broken) == (9, [])
    assert group.broken


def test_a_load_that_fell_behind_its_schedule_says_so() -> None:
    assert steady(1, asked=100, seconds=10.1).kept
    assert not steady(1, asked=100, seconds=11).kept


def test_what_metrics_cost_is_compared_within_each_pair() -> None:
    real, bare = rival("c", 100, 100, 100), rival("c without metrics", 100, 100, 100)

    # The machine is ten times as slow in the second pair, for both.
    costs = {id(real): [1.02, 10.2, 1.5], id(bare): [1.0, 10.0, 1.0]}

    assert times((real, bare), lambda one: costs[id(one)]) == pytest.approx(1.02)


def test_a_thousand_requests_cost_what_one_costs_in_milliseconds() -> None:
    one = rival("c", 1_000, cpu=2.0)

    assert one.cost() == pytest.approx(0.5)
    assert one.cost("Redis") == pytest.approx(0.025)
