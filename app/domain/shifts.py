"""Know local days, and who is on shift (班次) when: weekly windows, overnight ones too, and special dates that win."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from app.domain import limits
from app.domain.errors import Refusal

_EPOCH: Final = date(1970, 1, 1).toordinal()
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MIDNIGHT: Final = time(0)
# How a marketer writes the end of a day; kept as the midnight it is.
_DAY_END: Final = "24:00"
_DAY_MINUTES: Final = 1440
_WEEK_MINUTES: Final = 7 * _DAY_MINUTES

# Hours as a marketer says them: (from, to); (days, from, to); (date, windows), where no windows is a day off.
SaidWindow = tuple[str, str]
SaidShift = tuple[Sequence[str], str, str]
SaidDate = tuple[date, Sequence[SaidWindow]]


def local_day(now: datetime, time_zone: str) -> int:
    """Count the days from 1970-01-01 to the local day of an instant; `time_zone` is an IANA name."""
    return now.astimezone(zone(time_zone)).toordinal() - _EPOCH


def date_of(day: int) -> date:
    """Name the day that `local_day` counts."""
    return date.fromordinal(day + _EPOCH)


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Look a zone up by its IANA name. Raises: ZoneInfoNotFoundError."""
    return ZoneInfo(name)


@dataclass(frozen=True, slots=True)
class Window:
    """Say from when to when, on the clock of the wall; one that ends when or before it starts ends on the next day.

    Shapes: minutes, no finer; 00:00 to 00:00 is the whole day.
    """

    start: time
    end: time

    @property
    def overnight(self) -> bool:
        """Tell whether it reaches into the next day."""
        return self.end <= self.start and self.end != _MIDNIGHT

    def covers_today(self, clock: time) -> bool:
        """Tell whether it covers a time of the day it starts on."""
        return self.start <= clock and (clock < self.end or self.end <= self.start)

    def covers_tomorrow(self, clock: time) -> bool:
        """Tell whether it covers a time of the day after the one it starts on."""
        return self.overnight and clock < self.end


@dataclass(frozen=True, slots=True)
class Shifts:
    """Say when somebody works: by day of the week, and otherwise on special dates.

    A window belongs to the day it starts on. A special date decides alone: what started the evening before ends at its
    midnight, and no windows is a day off.
    Shapes: `weekly` has the windows by day, 0 is Monday; no window anywhere and no special date means always.
    """

    weekly: tuple[tuple[Window, ...], ...] = ((),) * 7
    special: Mapping[date, tuple[Window, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, spelt: Mapping[str, Any] | None) -> "Shifts":
        """Read what `spell` wrote; None is always."""
        if spelt is None:
            return ALWAYS
        return cls(
            tuple(_read_windows(windows) for windows in spelt["weekly"]),
            {date.fromisoformat(day): _read_windows(windows) for day, windows in spelt["special"].items()},
        )

    def spell(self) -> dict[str, Any] | None:
        """Write it as JSON: `weekly` seven lists of [from, to], Monday first; `special` such lists by date."""
        if self.always:
            return None
        return {
            "weekly": [[*map(_spell_window, windows)] for windows in self.weekly],
            "special": {
                day.isoformat(): [*map(_spell_window, windows)] for day, windows in sorted(self.special.items())
            },
        }

    @property
    def always(self) -> bool:
        """Tell whether nothing was said, which means that there are no hours."""
        return not any(self.weekly) and not self.special

    def on(self, now: datetime, time_zone: str) -> bool:
        """Tell whether an instant is in a shift, on the clocks of a zone."""
        if self.always:
            return True
        local = now.astimezone(zone(time_zone))
        today, clock = local.date(), local.time()
        if any(window.covers_today(clock) for window in self.starting(today)):
            return True
        if today in self.special:
            return False
        return any(window.covers_tomorrow(clock) for window in self.starting(today - timedelta(days=1)))

    def starting(self, day: date) -> tuple[Window, ...]:
        """List the windows that start on a day."""
        special = self.special.get(day)
        if special is not None:
            return special
        # With special dates only, every other day is a working day.
        return self.weekly[day.weekday()] if any(self.weekly) else (Window(_MIDNIGHT, _MIDNIGHT),)


ALWAYS: Final = Shifts()


def check_shifts(
    weekly: Sequence[SaidShift] | None, special: Sequence[SaidDate] | None, before: Shifts = ALWAYS
) -> Shifts:
    """Accept hours that a marketer says; None leaves those of `before`.

    Raises: Refusal `empty_shift` — it ends when it starts; `overlapping_shifts` — two share a minute, on one day or
    across midnight; `repeated_date`; `too_many_shifts` — on one day, or special dates.
    """
    return Shifts(
        before.weekly if weekly is None else _check_weekly(weekly),
        before.special if special is None else _check_special(special),
    )


def say_shifts(shifts: Shifts) -> tuple[list[tuple[list[str], str, str]], list[tuple[date, list[SaidWindow]]]]:
    """Say hours as a marketer does: what is weekly, windows of several days together; and the special dates in order.

    Shapes: weekly by the first of its days, then by its start.
    """
    days: dict[Window, list[str]] = {}
    for day, windows in zip(WEEKDAYS, shifts.weekly, strict=True):
        for window in windows:
            days.setdefault(window, []).append(day)
    weekly = [(of, *_say(window)) for window, of in days.items()]
    return weekly, [(day, [_say(window) for window in windows]) for day, windows in sorted(shifts.special.items())]


def _check_weekly(said: Sequence[SaidShift]) -> tuple[tuple[Window, ...], ...]:
    week: list[list[Window]] = [[] for _ in WEEKDAYS]
    for i, (days, start, end) in enumerate(said):
        window = _check_window(start, end, f"shifts.{i}")
        for day in days:
            week[WEEKDAYS.index(day)].append(window)
    for windows in week:
        _check_count(len(windows), limits.WINDOWS_PER_DAY, "shifts")
    spans = sorted(_span(day, window) for day, windows in enumerate(week) for window in windows)
    if spans:
        # What runs past Sunday's midnight meets what begins the week.
        spans.append((spans[0][0] + _WEEK_MINUTES, spans[0][1] + _WEEK_MINUTES))
    _check_apart(spans, "shifts")
    return tuple(_in_order(windows) for windows in week)


def _check_special(said: Sequence[SaidDate]) -> dict[date, tuple[Window, ...]]:
    _check_count(len(said), limits.SPECIAL_DATES, "special_dates")
    special: dict[date, tuple[Window, ...]] = {}
    for i, (day, windows) in enumerate(said):
        where = f"special_dates.{i}"
        if day in special:
            raise Refusal("repeated_date", f"The date {day} is there twice; give all its hours together.", where)
        _check_count(len(windows), limits.WINDOWS_PER_DAY, where)
        special[day] = _in_order(_check_window(start, end, where) for start, end in windows)
    spans = [_span(day.toordinal(), window) for day, windows in special.items() for window in windows]
    _check_apart(sorted(spans), "special_dates")
    return special


def _check_window(start: str, end: str, where: str) -> Window:
    if start == end:
        raise Refusal("empty_shift", "A shift ends when it starts; the whole day is 00:00 to 24:00.", where)
    return Window(time.fromisoformat(start), _MIDNIGHT if end == _DAY_END else time.fromisoformat(end))


def _check_count(number: int, most: int, where: str) -> None:
    if number > most:
        what = "special dates" if where == "special_dates" else "shifts a day"
        raise Refusal("too_many_shifts", f"There can be at most {most} {what}.", where)


def _check_apart(spans: Sequence[tuple[int, int]], where: str) -> None:
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            raise Refusal("overlapping_shifts", "Two shifts overlap; let one end before the other starts.", where)


def _span(day: int, window: Window) -> tuple[int, int]:
    start = day * _DAY_MINUTES + _minutes(window.start)
    lasts = (_minutes(window.end) - _minutes(window.start)) % _DAY_MINUTES or _DAY_MINUTES
    return start, start + lasts


def _in_order(windows: Iterable[Window]) -> tuple[Window, ...]:
    return tuple(sorted(windows, key=lambda window: window.start))


def _minutes(clock: time) -> int:
    return clock.hour * 60 + clock.minute


def _say(window: Window) -> SaidWindow:
    start, end = _spell_window(window)
    return start, _DAY_END if window.end == _MIDNIGHT else end


def _read_windows(spelt: Sequence[Sequence[str]]) -> tuple[Window, ...]:
    return tuple(Window(time.fromisoformat(start), time.fromisoformat(end)) for start, end in spelt)


def _spell_window(window: Window) -> SaidWindow:
    return f"{window.start:%H:%M}", f"{window.end:%H:%M}"
