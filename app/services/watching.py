"""Tell how far the record is behind (落后): how much waits, since when, and what could not be recorded."""

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from redis.asyncio import Redis

from app.counters import activity, stream
from app.domain.code import WorkspaceId
from app.domain.elapsing import lasts
from app.domain.errors import CountersAway, StoreAway
from app.services.draining import Drain
from app.services.rounds import ALL_EVERY, ALL_EVERY_BLIND, SlowRound
from app.store import records
from app.store.database import Database
from app.telemetry import BACKLOG, LAG, UNREADABLE, say

# Every client that reaches the port may ask, and often.
_KEPT: Final = timedelta(seconds=5)
REREAD_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Behind:
    """Count what the record does not have, over all workspaces.

    Shapes: `with_unreadable` names the workspaces of which something was set aside. Units: `seconds` since the oldest
    entry was written.
    """

    entries: int
    seconds: float
    unreadable: int
    with_unreadable: Sequence[WorkspaceId]


class Watcher:
    """Look at what waits for the record.

    Metrics: `huoma_stream_backlog`, `huoma_stream_lag_seconds`, `huoma_unreadable_entries`.
    """

    def __init__(self, database: Database, redis: Redis, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock
        self._kept: tuple[datetime, Behind] | None = None
        self._looking = asyncio.Lock()
        self._slow = SlowRound(self._list_workspaces)
        self._store_away = False
        # What was found last, of workspaces in which anything waits or stands aside.
        self._waiting: dict[WorkspaceId, stream.Waiting] = {}

    async def behind(self, *, store_away: bool = False) -> Behind:
        """Return how far the record is behind, as of a few seconds ago at most.

        Idle workspaces are looked at once in `ALL_EVERY`, the first time all of them.
        Shapes: `store_away` when that is known, so that no caller waits to learn it.
        Raises: StoreAway — PostgreSQL has not named the workspaces yet; CountersAway — no server answers, and metrics
        say so.
        Cost: one Redis command, and one round trip for each 500 workspaces that are looked at.
        """
        async with self._looking:
            now = self._clock()
            if self._kept is None or not self._kept[0] <= now < self._kept[0] + _KEPT:
                self._store_away = store_away
                self._kept = now, await self._look(await self._some(now))
            return self._kept[1]

    async def look(self) -> Behind:
        """Look at every workspace now, and at those that the record did not have.

        Raises: StoreAway; CountersAway — no server answers, and metrics say so.
        Cost: one query, one Redis command, and one Redis round trip for each 500 workspaces.
        """
        async with self._looking:
            self._store_away = False
            listed = set(await self._list_workspaces())
            # In a cluster another master may have what waits.
            with suppress(CountersAway):
                listed |= await activity.lacking(self._redis)
            return await self._look(listed)

    async def _some(self, now: datetime) -> set[WorkspaceId]:
        try:
            named, every = await activity.watched(self._redis), ALL_EVERY
        except CountersAway:
            # In a cluster another master may have what waits.
            named, every = set(), ALL_EVERY_BLIND
        return named | self._waiting.keys() | set(await self._slow.next(now, every))

    async def _look(self, asked: Collection[WorkspaceId]) -> Behind:
        workspaces = list(asked)
        try:
            found = await stream.waiting(self._redis, workspaces)
        except CountersAway:
            self._slow.restart()
            for gauge in (BACKLOG, LAG, UNREADABLE):
                gauge.set(math.nan)
            raise
        for workspace, one in zip(workspaces, found, strict=True):
            # What a server has that does not answer goes on waiting.
            if one is not None:
                self._waiting.pop(workspace, None)
                if one.entries or one.unreadable:
                    self._waiting[workspace] = one
        return self._sum()

    def _sum(self) -> Behind:
        now_ms = self._clock().timestamp() * 1000
        waiting = self._waiting.values()
        oldest_ms = min((one.oldest_ms for one in waiting if one.oldest_ms is not None), default=now_ms)
        behind = Behind(
            sum(one.entries for one in waiting),
            max(0.0, now_ms - oldest_ms) / 1000,
            sum(one.unreadable for one in waiting),
            [workspace for workspace, one in self._waiting.items() if one.unreadable],
        )
        BACKLOG.set(behind.entries)
        LAG.set(behind.seconds)
        UNREADABLE.set(behind.unreadable)
        return behind

    async def _list_workspaces(self) -> Sequence[WorkspaceId]:
        """List the workspaces. Raises: StoreAway — at once when that is known."""
        if self._store_away:
            raise StoreAway
        async with self._database.reading() as connection:
            return await records.list_workspaces(connection)


async def reread(drain: Drain, watcher: Watcher) -> None:
    """Record what was set aside and can be recorded now; a workspace that cannot be read keeps no other waiting.

    Raises: StoreAway, CountersAway — no workspace could be asked about.
    """
    for workspace in (await watcher.look()).with_unreadable:
        try:
            told = await drain.reread(workspace)
        except Exception as error:  # noqa: BLE001  # What was set aside must not keep any other events waiting.
            say("entries_not_read_again", level=logging.ERROR, workspace=workspace, error=error)
        else:
            say("entries_read_again", workspace=workspace, recorded=told)


class Rereader:
    """Read again once a minute what was set aside: a target that the record lacked may be back."""

    def __init__(self, drain: Drain, watcher: Watcher, clock: Callable[[], datetime]) -> None:
        self._drain = drain
        self._watcher = watcher
        self._clock = clock
        self._last: datetime | None = None

    async def some(self) -> None:
        """Read again what was set aside, if it is time to; the first time by one worker's start, not by this.

        Cost: nothing when it is not time; else as `Watcher.look`, and reading what stands aside.
        Raises: StoreAway, CountersAway — what was recorded will not be recorded again.
        """
        now = self._clock()
        if self._last is None:
            self._last = now
        if lasts(self._last, now, REREAD_EVERY):
            return
        self._last = now
        await reread(self._drain, self._watcher)
