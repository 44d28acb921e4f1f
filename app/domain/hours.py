"""Know when hours and days begin on the clocks of a zone, those too that are half an hour off or are turned."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from app.domain.shifts import zone

# Since 1972 no zone is off, or turns its clocks, by anything finer.
QUARTER: Final = timedelta(minutes=15)
_HOUR: Final = timedelta(hours=1)


def in_utc(moment: datetime) -> str:
    """Spell an instant as both APIs do: RFC 3339, in UTC, with a `Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def hour_start(at: datetime, time_zone: str) -> datetime:
    """Find the instant, in UTC, at which the local hour of `at` began.

    Two hours of one name, where clocks are turned back, are two; one within which clocks are turned is cut there.
    """
    local = at.astimezone(zone(time_zone))
    start = at.astimezone(UTC) - _past_the_hour(local)
    while start.astimezone(local.tzinfo).utcoffset() != local.utcoffset():
        start += QUARTER
    return start


def hour_end(at: datetime, time_zone: str) -> datetime:
    """Find the instant, in UTC, at which the local hour of `at` ends."""
    local = at.astimezone(zone(time_zone))
    end = at.astimezone(UTC) - _past_the_hour(local) + _HOUR
    while (end - QUARTER).astimezone(local.tzinfo).utcoffset() != local.utcoffset():
        end -= QUARTER
    return end


def day_start(day: date, time_zone: str) -> datetime:
    """Find the instant, in UTC, at which a local day begins; where midnight is left out, the one that comes instead."""
    return datetime.combine(day, time(), zone(time_zone)).astimezone(UTC)


def day_end(day: date, time_zone: str) -> datetime:
    """Find the instant, in UTC, at which a local day ends: that at which the next one begins."""
    return day_start(day + timedelta(days=1), time_zone)


def hours_between(since: datetime, until: datetime, time_zone: str) -> list[datetime]:
    """List the instants at which local hours begin, from `since`, which is one, to before `until`."""
    found = []
    while since < until:
        found.append(since)
        since = hour_end(since, time_zone)
    return found


def days_between(since: datetime, until: datetime, time_zone: str) -> list[datetime]:
    """List `since` and every later instant before `until` at which a local day begins."""
    found = []
    day = since.astimezone(zone(time_zone)).date()
    while since < until:
        found.append(since)
        # A day that a zone has left out ends as it begins.
        while (following := day_start(day := day + timedelta(days=1), time_zone)) <= since:
            pass
        since = following
    return found


def _past_the_hour(local: datetime) -> timedelta:
    return timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
