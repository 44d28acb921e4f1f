"""Ids sort by the time they were made."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.ids import PATTERN, make_id

instants = st.datetimes(datetime(2024, 1, 1), datetime(2058, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(instants, instants, st.binary(min_size=5, max_size=5), st.binary(min_size=5, max_size=5))
def test_a_later_millisecond_gives_a_later_id(one: datetime, other: datetime, chance: bytes, luck: bytes) -> None:
    first, second = make_id(one, chance), make_id(other, luck)
    if abs((one - other).total_seconds()) >= 0.001:
        assert (first < second) == (one < other)
    assert re.fullmatch(PATTERN, first)


def test_the_same_moment_and_the_same_chance_give_the_same_id() -> None:
    now = datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert make_id(now, b"\x00" * 5)[8:] == "00000000"
    assert make_id(now, b"\xff" * 5)[8:] == "zzzzzzzz"
    assert make_id(datetime(2024, 1, 1, tzinfo=UTC), b"\x00" * 5) == "0" * 16


def test_too_little_chance_is_no_chance() -> None:
    with pytest.raises(AssertionError):
        make_id(datetime(2026, 11, 21, tzinfo=UTC), b"")
