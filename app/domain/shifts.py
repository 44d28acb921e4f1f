"""Know local days, and who is on shift (班次) when: weekly windows, overnight ones too, and special dates that win."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from app.domain.errors import Refusal

_EPOCH: Final = date(1970, 1, 1).toordinal()
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MIDNIGHT: Final = time(0)


def local_day(now: datetime, time_zone: str) -> int:
    """Count the days from 1970-01-01 to the local day of an instant; `time_zone` is an IANA name."""
    return now.astimezone(zone(time_zone)).toordinal() - _EPOCH


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

    def spell(self) -> dict[str, Any]:
        """Write it as JSON: `weekly` seven lists of [from, to], Monday first; `special` such lists by date."""
        return {
            "weekly": [_spell_windows(windows) for windows in self.weekly],
            "special": {day.isoformat(): _spell_windows(windows) for day, windows in sorted(self.special.items())},
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
        if any(window.covers_today(clock) for window in self._starting(today)):
            return True
        if today in self.special:
            return False
        return any(window.covers_tomorrow(clock) for window in self._starting(today - timedelta(days=1)))

    def _starting(self, day: date) -> tuple[Window, ...]:
        special = self.special.get(day)
        if special is not None:
            return special
        # With special dates only, every other day is a working day.
        return self.weekly[day.weekday()] if any(self.weekly) else (Window(_MIDNIGHT, _MIDNIGHT),)


ALWAYS: Final = Shifts()


def _read_windows(spelt: Sequence[Sequence[str]]) -> tuple[Window, ...]:
    return tuple(Window(time.fromisoformat(start), time.fromisoformat(end)) for start, end in spelt)


def _spell_windows(windows: Sequence[Window]) -> list[list[str]]:
    return [[f"{window.start:%H:%M}", f"{window.end:%H:%M}"] for window in windows]


def check_windows(windows: tuple[Window, ...], where: str) -> tuple[Window, ...]:
    """Accept the windows of one day.

    Raises: Refusal `overlapping_shifts` — two of them share a minute.
    """
    spans = sorted((_minutes(w.start), _minutes(w.end) + (1440 if w.end <= w.start else 0)) for w in windows)
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            raise Refusal("overlapping_shifts", "Two shifts of one day overlap; let one end before the other.", where)
    return tuple(sorted(windows, key=lambda window: window.start))


def _minutes(clock: time) -> int:
    return clock.hour * 60 + clock.minute
