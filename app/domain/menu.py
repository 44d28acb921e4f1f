"""Give the options (选项) of a menu their numbers, which never change their meaning: they may be printed."""

from collections.abc import Mapping, Sequence

from app.domain import limits
from app.domain.code import CodeId
from app.domain.errors import Refusal


def number_options(present: Mapping[int, CodeId], wanted: Sequence[tuple[int | None, CodeId]], last: int) -> list[int]:
    """Give each option that a menu shall have its number.

    One that names a number keeps that option. Another takes the first present option that leads to the same code and
    that nobody names; else a number that no option of the menu ever had.
    Shapes: `present` in order; `last` is the highest number ever given; the answer is in the order of `wanted`.
    Raises: Refusal `unknown_option`, `repeated_option`, `too_many_options` — the menu has used all numbers up.
    """
    named = [number for number, _ in wanted if number is not None]
    for row, (number, _) in enumerate(wanted):
        if number is not None and number not in present:
            raise Refusal("unknown_option", f"The menu has no option {number}; leave the number out.", _where(row))
        if number is not None and named.count(number) > 1:
            raise Refusal("repeated_option", f"Option {number} stands here more than once.", _where(row))
    free: dict[CodeId, list[int]] = {}
    for number, code in present.items():
        if number not in named:
            free.setdefault(code, []).append(number)
    numbers = []
    for row, (number, code) in enumerate(wanted):
        same = free.get(code)
        given = number or (same.pop(0) if same else last + 1)
        if given > limits.OPTION_NUMBER_MAX:
            raise Refusal("too_many_options", "This menu has used up its numbers; make another.", _where(row))
        last = max(last, given)
        numbers.append(given)
    return numbers


def _where(row: int) -> str:
    return f"options.{row}.number"
