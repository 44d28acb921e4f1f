"""Know local days: which one an instant falls on, in the zone of a workspace."""

from datetime import date, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

_EPOCH: Final = date(1970, 1, 1).toordinal()


def local_day(now: datetime, time_zone: str) -> int:
    """Count the days from 1970-01-01 to the local day of an instant; `time_zone` is an IANA name."""
    return now.astimezone(_zone(time_zone)).toordinal() - _EPOCH


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
