"""Make the days of events before the first event of a day comes (预建分区)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from app.store import partitions
from app.store.database import Database
from app.telemetry import say

# Longer than a weekend in which no worker runs, or a backup holds its locks.
DAYS_AHEAD: Final = 7
# Between two looks.
PAUSE: Final = timedelta(minutes=10)


class Preparer:
    """Make the partitions of the next days. Several processes may: one does it."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._next: datetime | None = None

    async def some(self) -> int:
        """Make what is missing, if it is time to look; return how many days were made.

        Cost: two queries in ten minutes when all are there.
        Raises: StoreAway — a lock is in the way, or PostgreSQL is away; the next call tries again.
        """
        now = self._clock()
        if self._next is not None and self._next - PAUSE <= now < self._next:
            return 0
        made = await partitions.make_ahead(self._database, DAYS_AHEAD)
        self._next = now + PAUSE
        if made:
            say("event_days_made", days=made)
        return made
