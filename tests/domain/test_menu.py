"""Numbers of options, which may be printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import limits
from app.domain.code import CodeId
from app.domain.errors import Refusal
from app.domain.menu import number_options

A, B, C = CodeId("a"), CodeId("b"), CodeId("c")


@pytest.mark.parametrize(
    ("present", "wanted", "last", "numbers"),
    [
        ({}, [(None, A), (None, B)], 0, [1, 2]),
        ({1: A, 2: B}, [(None, B), (None, A)], 2, [2, 1]),
        ({1: A, 2: B}, [(None, B)], 2, [2]),
        ({2: B}, [(None, B), (None, A)], 2, [2, 3]),
        ({}, [(None, A)], 7, [8]),
        ({1: A, 2: B}, [(1, C), (2, A), (None, B)], 2, [1, 2, 3]),
        ({1: A, 2: B}, [(None, A), (1, B)], 2, [3, 1]),
        ({4: A, 2: A}, [(None, A), (None, A), (None, A)], 4, [4, 2, 5]),
        ({1: A}, [], 1, []),
        ({limits.OPTION_NUMBER_MAX: A}, [(None, A)], limits.OPTION_NUMBER_MAX, [limits.OPTION_NUMBER_MAX]),
    ],
)
def test_an_option_keeps_its_number_and_a_new_one_gets_a_new_one(
    present: dict[int, CodeId], wanted: list[tuple[int | None, CodeId]], last: int, numbers: list[int]
) -> None:
    assert number_options(present, wanted, last) == numbers


@pytest.mark.parametrize(
    ("wanted", "code", "where"),
    [
        ([(None, A), (2, A)], "unknown_option", "options.1.number"),
        ([(1, A), (1, B)], "repeated_option", "options.0.number"),
        ([(1, A), (None, B)], "too_many_options", "options.1.number"),
    ],
)
def test_a_number_that_cannot_be_is_refused(wanted: list[tuple[int | None, CodeId]], code: str, where: str) -> None:
    with pytest.raises(Refusal) as refused:
        number_options({1: A}, wanted, limits.OPTION_NUMBER_MAX)
    assert (refused.value.code, refused.value.where) == (code, where)


@given(st.lists(st.lists(st.sampled_from([A, B, C]), max_size=6), max_size=8))
def test_no_number_ever_means_another_code_unless_it_was_told_to(menus: list[list[CodeId]]) -> None:
    present: dict[int, CodeId] = {}
    meant: dict[int, CodeId] = {}
    for menu in menus:
        numbers = number_options(present, [(None, code) for code in menu], max(meant, default=0))
        assert len(set(numbers)) == len(menu)
        gone = meant.keys() - present.keys()
        present = dict(zip(numbers, menu, strict=True))
        assert not gone & present.keys()
        for number, code in present.items():
            assert meant.setdefault(number, code) == code
