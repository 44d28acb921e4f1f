"""Newcomers to a balanced code stand where the others stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.code import TargetId
from app.domain.levelling import Load, least, raised, reweighed


def load(taken: int, weight: int = 1, handicap: int = 0, limit: int = 200) -> Load:
    return Load(TargetId("t"), taken, handicap, weight, limit)


@pytest.mark.parametrize(
    ("newcomer", "others", "handicap"),
    [
        (load(0), [], 0),
        (load(0, handicap=7), [], 7),
        (load(0), [load(100)], 100),
        (load(0), [load(100), load(60, weight=2)], 30),
        (load(0, weight=3), [load(100), load(60, weight=2)], 90),
        (load(12), [load(100), load(60, weight=2)], 18),
        (load(50), [load(60, weight=2)], 0),
        (load(50, handicap=4), [load(60, weight=2)], 4),
        (load(0), [load(10, handicap=80), load(95)], 90),
        (load(0), [load(100, handicap=-90)], 10),
        (load(0), [load(5, weight=2)], 2),
        (load(0, weight=2), [load(5, weight=3)], 3),
        (load(0), [load(10, limit=10), load(70)], 70),
        (load(0), [load(10, limit=10)], 0),
        (load(0), [load(0)], 0),
        (load(5, handicap=-5), [load(0)], -5),
        (load(5, handicap=-5), [load(1)], -4),
    ],
)
def test_a_newcomer_is_raised_to_the_least_of_the_others_and_never_lowered(
    newcomer: Load, others: list[Load], handicap: int
) -> None:
    assert raised(newcomer, least(others)) == handicap


@pytest.mark.parametrize(
    ("before", "weight", "handicap"),
    [
        (load(100), 2, 100),
        (load(100, weight=2), 1, -50),
        (load(100, weight=2, handicap=20), 3, 80),
        (load(7, weight=2), 1, -4),
        (load(7, weight=2), 2, 0),
        (load(0), 10_000, 0),
    ],
)
def test_another_weight_leaves_a_target_where_it_stood(before: Load, weight: int, handicap: int) -> None:
    assert reweighed(before, weight) == handicap


loads = st.builds(load, st.integers(0, 300), st.integers(1, 20), st.integers(-50, 300), st.integers(0, 300))


@given(loads, st.lists(loads, max_size=5))
def test_a_newcomer_is_never_a_whole_place_away_from_where_the_least_stands(newcomer: Load, others: list[Load]) -> None:
    handicap = raised(newcomer, least(others))
    places = newcomer.taken + handicap
    assert handicap >= newcomer.handicap
    for other in others:
        if handicap > newcomer.handicap and other.taken < other.member_limit:
            assert places * other.weight <= (other.taken + other.handicap) * newcomer.weight
    open_ = [other for other in others if other.taken < other.member_limit]
    if open_:
        assert any((places + 1) * other.weight > (other.taken + other.handicap) * newcomer.weight for other in open_)


@given(loads, st.integers(1, 10_000))
def test_another_weight_moves_a_target_by_less_than_one_place(before: Load, weight: int) -> None:
    places = before.taken + reweighed(before, weight)
    exact = (before.taken + before.handicap) * weight
    assert places * before.weight <= exact < (places + 1) * before.weight
