"""Number the local days in which adds are capped (每日上限), across changes of a workspace's time zone.

The law: an add counts in every local day that it falls into, in the zone of then and in a zone before it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from app.domain.hours import day_start
from app.domain.shifts import date_of, local_day

# Days of different zones never share a number: those of each era begin so many later. Day 100,000 is in the year 2243.
ERA: Final = 100_000
# A change of the zone begins the era of its moment, so that none is given again within days after one that was lost.
# So many eras of 20 s are 4.6 days, and the last has days that an integer of PostgreSQL holds.
_ERAS: Final = 20_000
_ERA_SECONDS: Final = 20
# Every local day lies between those of these two: for an era whose zone the record does not know.
_ANY_ZONE: Final = ("Etc/GMT+12", "Etc/GMT-14")
# A local day in any zone that holds a change of the zone is over two days later.
_OVER: Final = timedelta(days=2)
# Processes may count by the zone before for so long after the change, as their clocks have it.
_LATE: Final = timedelta(minutes=10)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FormerZone:
    """Hold a zone that a workspace had before. Units: `until` is the instant of the change, aware UTC."""

    time_zone: str
    era: int
    until: datetime


@dataclass(frozen=True, slots=True)
class CapDays:
    """Tell which days count at an instant.

    Shapes: `era` names the time since the last change of the zone, 0 before any; `former` has the zones of the last
    days, the oldest first; several of one instant were in force at the same time.
    """

    time_zone: str
    era: int = 0
    former: tuple[FormerZone, ...] = ()

    def day(self, now: datetime) -> int:
        """Give the number of the local day in which a new add is counted."""
        return ERA * self.era + local_day(now, self.time_zone)

    def span(self, now: datetime) -> tuple[int, ...]:
        """List the days whose adds all count against a cap at `now`, today first.

        A day counts when it shares an instant with today, or with the day of a former zone in which it was changed. A
        day is counted as a whole, which is the safe side.
        """
        today = self.day(now)
        if not self.former or now >= self.former[-1].until + _OVER:
            return (today,)
        starts = [(one, _day_start(now, one.time_zone)) for one in self.former]
        since = min(_day_start(now, self.time_zone), *[start for one, start in starts if start < one.until], now)
        others = {day for day in self._days_since(since, now) if day != today}
        return today, *sorted(others)

    def touched(self, now: datetime) -> tuple[int, ...]:
        """List the days whose adds a claim or a release may change at `now`, today first."""
        span = self.span(now)
        return span if span[0] - 1 in span else (span[0], span[0] - 1, *span[1:])

    def _days_since(self, since: datetime, now: datetime) -> Iterator[int]:
        begun = ended = _LONG_AGO
        for one in (*self.former, FormerZone(self.time_zone, self.era, now)):
            if one.until > ended:
                begun, ended = ended, one.until
            last = min(one.until + _LATE, now)
            if last > since:
                first = local_day(max(begun, since), one.time_zone)
                yield from (ERA * one.era + day for day in range(first, local_day(last, one.time_zone) + 1))

    @property
    def eras(self) -> frozenset[int]:
        """Name the eras that are known."""
        return frozenset({self.era, *(one.era for one in self.former)})

    def moved(self, time_zone: str, now: datetime) -> "CapDays":
        """Change the zone at `now`, and forget former zones that count no more."""
        return CapDays(time_zone, self._next_era(now), (*self._counting(now), self._ended(now)))

    def adopted(self, eras: Iterable[int], now: datetime) -> "CapDays":
        """Count the days of eras in which adds were given until `now`, though the change that began them was lost."""
        strange = tuple(FormerZone(zone, era, now) for era in sorted(eras) for zone in _ANY_ZONE)
        if not strange:
            return self
        return CapDays(self.time_zone, self.era, (*self._counting(now), *strange, self._ended(now)))

    def _counting(self, now: datetime) -> tuple[FormerZone, ...]:
        return tuple(one for one in self.former if now < one.until + _OVER)

    def _ended(self, now: datetime) -> FormerZone:
        return FormerZone(self.time_zone, self.era, now)

    def _next_era(self, now: datetime) -> int:
        era = int(now.timestamp()) // _ERA_SECONDS % _ERAS + 1
        while era in self.eras:
            era = era % _ERAS + 1
        return era

    def spell_former(self) -> list[dict[str, Any]]:
        """Write the former zones as JSON."""
        return [{"zone": one.time_zone, "era": one.era, "until": one.until.isoformat()} for one in self.former]

    @classmethod
    def read(cls, time_zone: str, era: int, former: list[dict[str, Any]]) -> "CapDays":
        """Read what `spell_former` wrote."""
        zones = (FormerZone(one["zone"], one["era"], datetime.fromisoformat(one["until"])) for one in former)
        return cls(time_zone, era, tuple(zones))


def _day_start(now: datetime, time_zone: str) -> datetime:
    return day_start(date_of(local_day(now, time_zone)), time_zone)


def spell_span(span: tuple[int, ...]) -> str:
    """Name days that count together, for the mark of adds given back."""
    return "+".join(map(str, span))


def date_of_day(day: int) -> str:
    """Name the date of a day, for operators."""
    return date_of(day % ERA).isoformat()
