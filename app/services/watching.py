"""Tell how far the record is behind (落后): how much waits, since when, and what could not be recorded."""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from redis.asyncio import Redis

from app.counters import stream
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway, StoreAway
from app.services.draining import Drain
from app.store import records
from app.store.database import Database
from app.telemetry import BACKLOG, LAG, UNREADABLE, say

# Asking costs a query and the workspaces; anybody may ask, and often.
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
        self._workspaces: Sequence[WorkspaceId] = ()

    async def behind(self, *, store_away: bool = False) -> Behind:
        """Tell how far the record is behind, as of a few seconds ago at most. Raises: as `look`."""
        async with self._looking:
            if self._kept is None or self._clock() - self._kept[0] >= _KEPT:
                found = await self.look(store_away=store_away)
                self._kept = self._clock(), found
            return self._kept[1]

    async def look(self, *, store_away: bool = False) -> Behind:
        """Look now; while PostgreSQL is away, at the workspaces that it last named: it is then that most waits.

        Shapes: `store_away` when that is known, so that nobody waits to learn it.
        Raises: StoreAway — it never named any; CountersAway — nobody knows, and metrics say so.
        Cost: one query, and one Redis round trip for each 500 workspaces.
        """
        workspaces = self._workspaces = await self._named(store_away=store_away)
        try:
            waiting = await stream.waiting(self._redis, workspaces)
        except CountersAway:
            for gauge in (BACKLOG, LAG, UNREADABLE):
                gauge.set(math.nan)
            raise
        now_ms = self._clock().timestamp() * 1000
        oldest_ms = min((one.oldest_ms for one in waiting if one.oldest_ms is not None), default=now_ms)
        aside = [workspace for workspace, one in zip(workspaces, waiting, strict=True) if one.unreadable]
        found = Behind(
            sum(one.entries for one in waiting),
            max(0.0, now_ms - oldest_ms) / 1000,
            sum(one.unreadable for one in waiting),
            aside,
        )
        BACKLOG.set(found.entries)
        LAG.set(found.seconds)
        UNREADABLE.set(found.unreadable)
        return found

    async def _named(self, *, store_away: bool) -> Sequence[WorkspaceId]:
        """Name the workspaces, those that were last named while nobody else can be asked. Raises: StoreAway."""
        if not store_away:
            with suppress(StoreAway):
                async with self._database.reading() as connection:
                    return await records.list_workspaces(connection)
        if not self._workspaces:
            raise StoreAway
        return self._workspaces


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
        self._again: datetime | None = None

    async def some(self) -> None:
        """Read again what was set aside, if it is time to; the first time by one worker's start, not by this.

        Cost: nothing when it is not time; else as `Watcher.look`, and reading what stands aside.
        Raises: StoreAway, CountersAway — what was recorded will not be recorded again.
        """
        now = self._clock()
        if self._again is None:
            self._again = now + REREAD_EVERY
        if now < self._again:
            return
        self._again = now + REREAD_EVERY
        await reread(self._drain, self._watcher)
