"""A rest is believed only by a record that knows of nothing more."""

import pytest

from app.domain.code import TargetId
from app.domain.rest import Rest

A, B, NEW = TargetId("a"), TargetId("b"), TargetId("new")
REST = Rest("t", "e", 10, 5, 7, '["a","3","a:held","0","a:members","2","b","4","b:question","x"]', b"")


def test_it_tells_places_by_target() -> None:
    assert REST.taken() == {A: 3, B: 4}


@pytest.mark.parametrize("nothing", ["{}", "[]"])
def test_a_code_without_counts_has_no_places(nothing: str) -> None:
    assert Rest("t", "e", 10, 5, 7, nothing, b"").taken() == {}


@pytest.mark.parametrize(
    ("seats", "recorded"), [(10, {A: 3, B: 4}), (0, {}), (9, {A: 2, B: 4}), (10, {A: 3, B: 4, NEW: 9})]
)
def test_it_covers_a_record_that_knows_as_much_or_less(seats: int, recorded: dict[TargetId, int]) -> None:
    assert REST.covers(seats, recorded)


@pytest.mark.parametrize(("seats", "recorded"), [(11, {A: 3}), (10, {A: 4}), (10, {A: 3, B: 5}), (11, {})])
def test_it_covers_no_record_that_knows_more(seats: int, recorded: dict[TargetId, int]) -> None:
    assert not REST.covers(seats, recorded)
