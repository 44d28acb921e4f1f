"""Let events go by the day when they are old enough (到期删除); what they had counted stays."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from app.services.timekeeping import Clock
from app.store import partitions
from app.store.database import Database
from app.store.database import now as database_now
from app.telemetry import say

# Between two looks, and two attempts on a day that somebody is using.
PAUSE: Final = timedelta(minutes=1)
# What is dropped cannot be brought back, so nothing is for so long after the time of the process was set: it may be set
# back.
STEADY: Final = timedelta(hours=1)


class Ager:
    """Drop the days of events that are older than so many; 0 or less keeps all. Several processes may: one does it.

    A day is old when both clocks say so, the process's and PostgreSQL's: the earlier one decides.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime], *, days: int) -> None:
        self._database = database
        self._clock = clock
        self._days = days
        self._next: datetime | None = None

    async def some(self) -> int:
        """Drop what is old enough, if it is time to look; answer with the days dropped.

        Cost: two queries a minute; each day that is dropped is read once.
        Raises: StoreAway.
        """
        now = self._clock()
        # A clock that was set back does not put the next look off by as much.
        if self._days <= 0 or (self._next is not None and self._next - PAUSE <= now < self._next):
            return 0
        self._next = now + PAUSE
        if isinstance(self._clock, Clock) and self._clock.steady_for() < STEADY.total_seconds():
            return 0
        async with self._database.reading() as connection:
            theirs = await database_now(connection)
            days = await partitions.days(connection)
        # The last event of the day must be old enough.
        last = min(now, theirs).astimezone(UTC).date() - timedelta(days=self._days + 1)
        dropped = 0
        for day in days:
            if day <= last and await partitions.drop(self._database, day):
                say("events_dropped", day=day)
                dropped += 1
        return dropped
