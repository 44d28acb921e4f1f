"""Shape hours (班次) as the API takes and gives them; `domain/shifts.py` knows which can be."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from app.domain import limits
from app.domain.shifts import WEEKDAYS, SaidDate, SaidShift, Shifts, say_shifts


def _day(value: Any) -> date:
    """Read a date as calendars write it; numbers and other spellings are refused, since they can be misread."""
    if type(value) is date:
        return value
    try:
        day = date.fromisoformat(value)
        if day.isoformat() == value:
            return day
    except (TypeError, ValueError):
        pass
    raise PydanticCustomError("bad_date", "Give a date that exists, such as 2026-10-01")


_CLOCK: Final = "([01][0-9]|2[0-3]):[0-5][0-9]"
Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
From = Annotated[str, Field(pattern=f"^{_CLOCK}$", examples=["09:00"], description="By the workspace's clocks.")]
To = Annotated[
    str,
    Field(
        pattern=f"^({_CLOCK}|24:00)$",
        examples=["18:00"],
        description="On the next day when it is before `from`; 24:00 is the end of the day.",
    ),
]

# No attribute can be called `from`, so these are dictionaries with types; the body they are part of says that unknown
# fields are refused.
Window = TypedDict("Window", {"from": From, "to": To})
Shift = TypedDict(
    "Shift", {"days": Annotated[list[Weekday], Field(min_length=1, max_length=len(WEEKDAYS))], "from": From, "to": To}
)


class SpecialDate(TypedDict):
    """The hours of one date, whatever its day of the week; without windows it is a day off."""

    date: Day
    windows: Annotated[list[Window], Field(max_length=limits.WINDOWS_PER_DAY)]


Weekly = Annotated[
    list[Shift],
    Field(
        max_length=len(WEEKDAYS) * limits.WINDOWS_PER_DAY,
        description="None is always. An overnight shift belongs to the day it starts on.",
    ),
]
SpecialDates = Annotated[
    list[SpecialDate],
    Field(max_length=limits.SPECIAL_DATES, description="A date decides alone: it also ends the night before."),
]


def said_shifts(shifts: Sequence[Shift] | None) -> tuple[SaidShift, ...]:
    """Say weekly hours in the words of the domain."""
    return tuple((one["days"], one["from"], one["to"]) for one in shifts or ())


def said_dates(dates: Sequence[SpecialDate] | None) -> tuple[SaidDate, ...]:
    """Say special dates in the words of the domain."""
    return tuple((one["date"], [(window["from"], window["to"]) for window in one["windows"]]) for one in dates or ())


def shown_hours(shifts: Shifts) -> tuple[list[Shift], list[SpecialDate]]:
    """Show hours: those of the week, and special dates."""
    weekly, special = say_shifts(shifts)
    return (
        [{"days": cast("list[Weekday]", days), "from": start, "to": end} for days, start, end in weekly],
        [{"date": day, "windows": [{"from": start, "to": end} for start, end in windows]} for day, windows in special],
    )
