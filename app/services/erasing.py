"""Erase a visitor (抹除访客): his id leaves the record and the counters; what was counted of him stays counted."""

from datetime import datetime, timedelta
from typing import Final

from redis.asyncio import Redis

from app.counters import audit
from app.domain import limits
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway
from app.domain.pseudonym import Pseudonyms
from app.store import erasures, partitions, records
from app.store.database import Database
from app.telemetry import say

# A cookie that was renewed at the last moment still names him, and some days for a clock that is wrong.
KEPT: Final = timedelta(days=limits.STICKY_DAYS_MAX + 35)
_TOGETHER: Final = 1_000


class Eraser:
    """Note whom to erase, and take him out of what is recorded."""

    def __init__(self, database: Database, redis: Redis, pseudonyms: Pseudonyms) -> None:
        self._database = database
        self._redis = redis
        self._pseudonyms = pseudonyms

    async def ask(self, workspace: WorkspaceId, visitor: str, now: datetime) -> None:
        """Have a visitor erased, by the id that he carries; one whom nobody knows is erased all the same.

        From now on nothing that is recorded names him. Holds that he has not seen go back.
        Raises: StoreAway — nothing was done.
        Cost: two statements, and a look at every open hold of the workspace.
        """
        tombstone = self._pseudonyms.tombstones(workspace, visitor)[0]
        async with self._database.writing() as tx:
            await erasures.ask(tx, workspace, tombstone, self._pseudonyms.names(workspace, visitor), now)
            await erasures.forget(tx, now - KEPT)
        try:
            await audit.give_back(self._redis, workspace, visitor)
        except CountersAway as error:
            # A hold ends by itself.
            say("holds_left_to_end", error=error)

    async def some(self) -> int:
        """Take those who are to be erased out of the events that are there; answer with how many.

        Cost: one query when there is nobody; else each day of events is read once for all of a workspace.
        Raises: StoreAway — what was not done yet will be tried again.
        """
        async with self._database.reading() as connection:
            found = await erasures.open_ones(connection, _TOGETHER)
        for workspace, wanted in found.items():
            async with self._database.writing() as tx:
                # Who records now may have begun before he could know; who begins later knows.
                await records.lock_position(tx, workspace, wait=True)
            async with self._database.reading() as connection:
                days = await partitions.days(connection)
            names = sorted({name for these in wanted.values() for name in these})
            for day in days:
                await partitions.erase(self._database, day, workspace, names)
            async with self._database.writing() as tx:
                await erasures.settle(tx, workspace, list(wanted))
        return sum(map(len, found.values()))
