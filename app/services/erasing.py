"""Erase a visitor (抹除访客): his id leaves the record and the counters; what was counted of him stays counted."""

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from redis.asyncio import Redis

from app.counters import audit
from app.domain import limits
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway
from app.domain.pseudonym import Pseudonyms
from app.store import erasures, partitions, records
from app.store.database import Database, bound_locks
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
        # Workspaces that have been named since their visitors could not be erased.
        self._failing: set[WorkspaceId] = set()

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

        A workspace of which this fails, as when a lock is in the way, is named once and tried again with the next call.
        Cost: one query when there is nobody; else each day of events is read once for all of a workspace.
        Raises: StoreAway — PostgreSQL does not name the visitors to erase.
        """
        done, failed = 0, set[WorkspaceId]()
        while found := await self._open_ones(failed):
            for workspace, wanted in found.items():
                try:
                    await self._erase(workspace, wanted)
                except Exception as error:  # noqa: BLE001  # What ails one workspace must not keep the others' visitors named.
                    failed.add(workspace)
                    if workspace not in self._failing:
                        self._failing.add(workspace)
                        say("visitors_not_erased", level=logging.ERROR, workspace=workspace, error=error)
                else:
                    self._failing.discard(workspace)
                    done += len(wanted)
        return done

    async def _open_ones(self, failed: Collection[WorkspaceId]) -> dict[WorkspaceId, dict[str, list[str]]]:
        async with self._database.reading() as connection:
            return await erasures.open_ones(connection, _TOGETHER, but=failed)

    async def _erase(self, workspace: WorkspaceId, wanted: Mapping[str, Sequence[str]]) -> None:
        async with self._database.writing() as tx:
            await bound_locks(tx)
            # A drain that runs now may have begun before it could know; one that begins later knows.
            await records.lock_position(tx, workspace, wait=True)
        async with self._database.reading() as connection:
            days = await partitions.days(connection)
        names = sorted({name for these in wanted.values() for name in these})
        for day in days:
            await partitions.erase(self._database, day, workspace, names)
        async with self._database.writing() as tx:
            await erasures.settle(tx, workspace, list(wanted))
