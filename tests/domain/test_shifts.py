"""Who is on shift when."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain import limits
from app.domain.errors import Refusal
from app.domain.shifts import (
    ALWAYS,
    WEEKDAYS,
    SaidDate,
    SaidShift,
    SaidWindow,
    Shifts,
    check_shifts,
    local_day,
    say_shifts,
)

SHANGHAI = "Asia/Shanghai"
NEW_YORK = "America/New_York"
BERLIN = "Europe/Berlin"
# 2026-11-20 is a Friday.
NIGHTS = check_shifts([(["fri"], "22:00", "06:00")], None)
DAYS = check_shifts([(["mon", "tue", "wed", "thu", "fri"], "09:00", "18:00")], None)


def at(text: str, zone: str = SHANGHAI, fold: int = 0) -> datetime:
    """Read what the clock on the wall says."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("shifts", "moment", "on"),
    [
        (NIGHTS, "2026-11-20T21:59:59", False),
        (NIGHTS, "2026-11-20T22:00", True),
        (NIGHTS, "2026-11-20T23:30", True),
        (NIGHTS, "2026-11-21T00:00", True),
        (NIGHTS, "2026-11-21T05:59:59.999999", True),
        (NIGHTS, "2026-11-21T06:00", False),
        (NIGHTS, "2026-11-20T05:00", False),
        (NIGHTS, "2026-11-21T23:30", False),
        (DAYS, "2026-11-20T08:59:59", False),
        (DAYS, "2026-11-20T09:00", True),
        (DAYS, "2026-11-20T17:59:59", True),
        (DAYS, "2026-11-20T18:00", False),
        (DAYS, "2026-11-21T10:00", False),
        (DAYS, "2026-11-23T10:00", True),
        (ALWAYS, "2026-11-21T03:00", True),
        (check_shifts([(["sun"], "23:00", "01:00")], None), "2026-11-23T00:59", True),
        (check_shifts([(["sun"], "23:00", "01:00")], None), "2026-11-23T01:00", False),
        (check_shifts([(["sun"], "23:00", "01:00")], None), "2026-11-16T00:30", True),
        (check_shifts([(["sat"], "00:00", "24:00")], None), "2026-11-21T00:00", True),
        (check_shifts([(["sat"], "00:00", "24:00")], None), "2026-11-21T23:59:59", True),
        (check_shifts([(["sat"], "00:00", "24:00")], None), "2026-11-22T00:00", False),
        (check_shifts([(["sat"], "22:00", "00:00")], None), "2026-11-21T23:59:59", True),
        (check_shifts([(["sat"], "22:00", "24:00")], None), "2026-11-22T00:00", False),
    ],
)
def test_a_shift_belongs_to_the_day_it_starts_on(shifts: Shifts, moment: str, *, on: bool) -> None:
    assert shifts.on(at(moment), SHANGHAI) is on


@pytest.mark.parametrize(
    ("special", "moment", "on"),
    [
        ([("10:00", "12:00")], "2026-11-20T11:59", True),
        ([("10:00", "12:00")], "2026-11-20T14:00", False),
        ([("10:00", "12:00")], "2026-11-20T23:00", False),
        ([("10:00", "12:00")], "2026-11-21T05:00", False),
        ([], "2026-11-20T10:00", False),
        ([], "2026-11-20T23:00", False),
        ([], "2026-11-21T05:00", False),
        ([], "2026-11-27T23:00", True),
        ([("20:00", "03:00")], "2026-11-21T02:59", True),
        ([("20:00", "03:00")], "2026-11-21T03:00", False),
    ],
)
def test_a_special_date_decides_alone(special: list[SaidWindow], moment: str, *, on: bool) -> None:
    weekly = [(["fri"], "22:00", "06:00"), (["fri"], "09:00", "18:00")]
    shifts = check_shifts(weekly, [(date(2026, 11, 20), special)])
    assert shifts.on(at(moment), SHANGHAI) is on


@pytest.mark.parametrize("windows", [[], [("09:00", "10:00")]])
def test_a_special_date_cuts_the_tail_of_the_evening_before(windows: list[SaidWindow]) -> None:
    shifts = check_shifts([(["fri"], "22:00", "06:00")], [(date(2026, 11, 21), windows)])
    assert shifts.on(at("2026-11-20T23:59:59"), SHANGHAI)
    assert not shifts.on(at("2026-11-21T00:00"), SHANGHAI)
    assert shifts.on(at("2026-11-21T09:30"), SHANGHAI) is bool(windows)


def test_with_special_dates_only_every_other_day_is_a_working_day() -> None:
    shifts = check_shifts(None, [(date(2026, 10, 1), []), (date(2026, 10, 2), [("10:00", "12:00")])])
    days = {day: [shifts.on(at(f"2026-{day}T{clock}"), SHANGHAI) for clock in ("00:00", "11:00", "23:59")] for day in (
        "09-30", "10-01", "10-02", "10-03",
    )}  # fmt: skip
    assert days == {
        "09-30": [True] * 3, "10-01": [False] * 3, "10-02": [False, True, False], "10-03": [True] * 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "moment", "on"),
    [
        # Clocks in New York go from 02:00 to 03:00 on 2026-03-08, and from 02:00 back to 01:00 on 2026-11-01.
        (NEW_YORK, "2026-03-08T06:59:59+00:00", True),
        (NEW_YORK, "2026-03-08T07:00:00+00:00", False),
        (NEW_YORK, "2026-03-08T05:30:00+00:00", False),
        (NEW_YORK, "2026-11-01T05:30:00+00:00", True),
        (NEW_YORK, "2026-11-01T06:30:00+00:00", True),
        (NEW_YORK, "2026-11-01T07:29:59+00:00", True),
        (NEW_YORK, "2026-11-01T07:30:00+00:00", False),
        # In Berlin from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25.
        (BERLIN, "2026-03-29T00:59:59+00:00", True),
        (BERLIN, "2026-03-29T01:00:00+00:00", False),
        (BERLIN, "2026-10-25T00:29:59+00:00", True),
        (BERLIN, "2026-10-25T00:30:00+00:00", False),
        (BERLIN, "2026-10-25T01:00:00+00:00", True),
        (BERLIN, "2026-10-25T01:30:00+00:00", False),
    ],
)
def test_hours_are_those_on_the_wall_when_the_clocks_change(zone: str, moment: str, *, on: bool) -> None:
    shifts = check_shifts([(["sun"], "01:00", "02:30")], None)
    assert shifts.on(datetime.fromisoformat(moment), zone) is on


def test_a_local_day_has_twenty_three_to_twenty_five_hours() -> None:
    day = date(2026, 11, 1).toordinal() - date(1970, 1, 1).toordinal()
    assert local_day(at("2026-11-01T00:00", NEW_YORK), NEW_YORK) == day
    assert local_day(at("2026-11-01T00:00", NEW_YORK) + timedelta(hours=24, minutes=59), NEW_YORK) == day
    assert local_day(at("2026-11-01T00:00", NEW_YORK) + timedelta(hours=25), NEW_YORK) == day + 1


MANY = [(f"{hour:02}:00", f"{hour:02}:30") for hour in range(limits.WINDOWS_PER_DAY + 1)]


@pytest.mark.parametrize(
    ("weekly", "special", "code", "where"),
    [
        ([(["fri"], "09:00", "12:00"), (["fri"], "11:59", "13:00")], [], "overlapping_shifts", "shifts"),
        ([(["mon", "mon"], "09:00", "12:00")], [], "overlapping_shifts", "shifts"),
        ([(["fri"], "22:00", "06:00"), (["sat"], "05:00", "08:00")], [], "overlapping_shifts", "shifts"),
        ([(["sun"], "22:00", "06:00"), (["mon"], "05:59", "08:00")], [], "overlapping_shifts", "shifts"),
        ([(["mon"], "00:00", "24:00"), (["mon"], "23:00", "24:00")], [], "overlapping_shifts", "shifts"),
        ([(["fri"], "08:00", "10:00"), (["sat", "thu"], "22:00", "09:00")], [], "overlapping_shifts", "shifts"),
        ([(["mon"], "08:00", "10:00"), (["fri"], "09:00", "09:00")], [], "empty_shift", "shifts.1"),
        ([(["mon"], "00:00", "00:00")], [], "empty_shift", "shifts.0"),
        ([(["mon"], *window) for window in MANY], [], "too_many_shifts", "shifts"),
        ([], [(date(2026, 10, 1), MANY)], "too_many_shifts", "special_dates.0"),
        ([], [(date.fromordinal(730_000 + n), []) for n in range(401)], "too_many_shifts", "special_dates"),
        ([], [(date(2026, 10, 1), []), (date(2026, 10, 1), [])], "repeated_date", "special_dates.1"),
        ([], [(date(2026, 10, 1), [("10:00", "10:00")])], "empty_shift", "special_dates.0"),
        (
            [],
            [(date(2026, 10, 2), [("05:00", "08:00")]), (date(2026, 10, 1), [("22:00", "06:00")])],
            "overlapping_shifts",
            "special_dates",
        ),
        ([], [(date.max, [("22:00", "06:00"), ("05:00", "23:00")])], "overlapping_shifts", "special_dates"),
    ],
)
def test_hours_that_cannot_be_are_refused(
    weekly: list[SaidShift], special: list[SaidDate], code: str, where: str
) -> None:
    with pytest.raises(Refusal) as refused:
        check_shifts(weekly, special)
    assert (refused.value.code, refused.value.where) == (code, where)


@pytest.mark.parametrize(
    ("weekly", "special"),
    [
        ([(["fri"], "22:00", "06:00"), (["sat"], "06:00", "08:00")], []),
        ([(list(WEEKDAYS), "00:00", "24:00")], []),
        ([(list(WEEKDAYS), "06:00", "05:59")], []),
        ([(["fri"], "22:00", "06:00")], [(date(2026, 11, 21), [("05:00", "08:00")])]),
        ([], [(date(2026, 10, 1), [("22:00", "06:00")]), (date(2026, 10, 2), [])]),
        ([], [(date(2026, 10, 1), [("22:00", "06:00")]), (date(2026, 10, 3), [("05:00", "08:00")])]),
        ([(["mon"], *window) for window in MANY[:-1]], [(date.max, MANY[:-1]), (date.min, [])]),
    ],
)
def test_hours_that_only_touch_are_accepted(weekly: list[SaidShift], special: list[SaidDate]) -> None:
    shifts = check_shifts(weekly, special)
    assert Shifts.read(shifts.spell()) == shifts


def test_either_half_of_the_hours_may_be_said_anew() -> None:
    special: list[SaidDate] = [(date(2026, 10, 1), [])]
    both = check_shifts([(["mon"], "09:00", "18:00")], special)
    assert check_shifts(None, None, both) == both
    assert check_shifts([], None, both) == check_shifts(None, special)
    assert check_shifts(None, [], both) == check_shifts([(["mon"], "09:00", "18:00")], None)
    assert check_shifts([], [], both).always


def test_nothing_said_is_kept_as_nothing() -> None:
    assert ALWAYS.spell() is None
    assert Shifts.read(None).always


def test_hours_are_said_in_the_order_of_the_week() -> None:
    weekly: list[SaidShift] = [
        (["fri", "mon"], "13:00", "24:00"),
        (["tue"], "00:00", "24:00"),
        (["mon"], "09:00", "12:00"),
        (["fri"], "09:00", "12:00"),
    ]
    special: list[SaidDate] = [(date(2026, 10, 2), []), (date(2026, 10, 1), [("20:00", "02:00"), ("10:00", "12:00")])]
    assert say_shifts(check_shifts(weekly, special)) == (
        [(["mon", "fri"], "09:00", "12:00"), (["mon", "fri"], "13:00", "24:00"), (["tue"], "00:00", "24:00")],
        [(date(2026, 10, 1), [("10:00", "12:00"), ("20:00", "02:00")]), (date(2026, 10, 2), [])],
    )


MONDAY = date(2026, 11, 16)
# Few different times, so that windows meet.
CLOCKS = [f"{hour:02}:{minute:02}" for hour in (0, 1, 6, 12, 22, 23) for minute in (0, 30)]
said_windows = st.tuples(st.sampled_from(CLOCKS), st.sampled_from([*CLOCKS[1:], "24:00"])).filter(
    lambda w: w[0] != w[1]
)
said_weeks = st.lists(
    st.tuples(st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=3, unique=True), said_windows).map(
        lambda one: (one[0], *one[1])
    ),
    max_size=4,
)
said_dates = st.dictionaries(
    st.integers(0, 13).map(lambda n: MONDAY + timedelta(days=n)), st.lists(said_windows, max_size=2), max_size=4
).map(lambda dates: list(dates.items()))


def minutes(text: str) -> int:
    hour, minute = text.split(":")
    return 60 * int(hour) + int(minute)


def painted(day: int, windows: Sequence[SaidWindow]) -> list[int]:
    """List every minute of the windows of one day, counted from the midnight of day 0, as often as they have it."""
    found: list[int] = []
    for start, end in windows:
        first, last = minutes(start), minutes(end)
        found += range(day * 1440 + first, day * 1440 + (last if last > first else last + 1440))
    return found


def repeats(minutes_painted: list[int]) -> bool:
    return len(set(minutes_painted)) < len(minutes_painted)


@given(said_weeks, said_dates)
def test_hours_are_refused_exactly_when_a_minute_is_there_twice(
    weekly: list[SaidShift], special: list[SaidDate]
) -> None:
    week = [
        minute % (7 * 1440)
        for days, start, end in weekly
        for day in days
        for minute in painted(WEEKDAYS.index(day), [(start, end)])
    ]
    dates = [minute for day, windows in special for minute in painted(day.toordinal(), windows)]
    assert refusal(weekly, special) == ("overlapping_shifts" if repeats(week) or repeats(dates) else None)


def refusal(weekly: list[SaidShift], special: list[SaidDate]) -> str | None:
    try:
        check_shifts(weekly, special)
    except Refusal as refused:
        return refused.code
    return None


def table(weekly: Sequence[SaidShift], special: dict[date, Sequence[SaidWindow]]) -> list[bool]:
    """Paint two weeks by hand, minute by minute, each day over the evening before where it is special."""
    on = [not weekly and not special] * (16 * 1440)
    for n in range(-1, 15):
        day = MONDAY + timedelta(days=n)
        if day in special:
            windows = special[day]
            on[(n + 1) * 1440 : (n + 2) * 1440] = [False] * 1440
        elif weekly:
            windows = [(start, end) for days, start, end in weekly if WEEKDAYS[day.weekday()] in days]
        else:
            windows = [("00:00", "24:00")]
        for minute in painted(n + 1, windows):
            if minute < len(on):
                on[minute] = True
    return on[1440 : 15 * 1440]


@given(said_weeks, said_dates, st.lists(st.integers(0, 14 * 1440 - 1), min_size=1, max_size=30))
def test_who_is_on_is_what_a_table_of_all_minutes_says(
    weekly: list[SaidShift], special: list[SaidDate], moments: list[int]
) -> None:
    """Trap 14: every day of the week, Sunday too, is told by name."""
    assume(refusal(weekly, special) is None)
    shifts = check_shifts(weekly, special)
    on = table(weekly, dict(special))
    start = datetime.combine(MONDAY, time(0), UTC)
    edges = {
        e
        for day in range(14)
        for clock in CLOCKS
        for e in (day * 1440 + minutes(clock), day * 1440 + minutes(clock) - 1)
    }
    for minute in {*moments, *(e for e in edges if e >= 0)}:
        assert shifts.on(start + timedelta(minutes=minute, seconds=59), "UTC") is on[minute], minute
    again = Shifts.read(shifts.spell())
    assert again == shifts
    said = say_shifts(shifts)
    assert check_shifts(*said) == shifts
