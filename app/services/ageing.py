"""Let events go by the day when they are old enough (到期删除); what they had counted stays."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from app.store import partitions
from app.store.database import Database
from app.telemetry import say

# Between two looks, and two attempts on a day that somebody is using.
PAUSE: Final = timedelta(minutes=1)


class Ager:
    """Drop the days of events that are older than so many; 0 keeps all. Several processes may: one does it."""

    def __init__(self, database: Database, clock: Callable[[], datetime], *, days: int) -> None:
        self._database = database
        self._clock = clock
        self._days = days
        self._next: datetime | None = None

    async def some(self) -> int:
        """Drop what is old enough, if it is time to look; answer with the days dropped.

        Cost: one query a minute; each day that is dropped is read once.
        Raises: StoreAway.
        """
        now = self._clock()
        if not self._days or (self._next is not None and now < self._next):
            return 0
        self._next = now + PAUSE
        # The last event of the day must be old enough.
        last = now.date() - timedelta(days=self._days + 1)
        async with self._database.reading() as connection:
            old = [day for day in await partitions.days(connection) if day <= last]
        dropped = 0
        for day in old:
            if await partitions.drop(self._database, day):
                say("events_dropped", day=day)
                dropped += 1
        return dropped
