"""Bring events from the stream into the record, exactly once (落库)."""

from typing import Final

from redis.asyncio import Redis

from app.counters import stream
from app.domain.code import WorkspaceId
from app.store import records
from app.store.database import Database
from app.store.snapshots import read_zone
from app.telemetry import BACKLOG, DRAINED

# Stream entries a transaction; an entry holds the events of one round trip, at most a batch and its releases.
ENTRIES: Final = 2_000


class Drain:
    """Record what happened.

    Events, totals, hours and the stream's position move in one transaction; only then is the stream shortened. A crash
    anywhere repeats the batch, and the position says that it was done. Hours are those of the workspace's zone as it is
    then.
    Metrics: `huoma_drained_events_total`, `huoma_stream_backlog`.
    """

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    async def once(self, workspace: WorkspaceId, *, wait: bool = False) -> int:
        """Record one batch; answer with the stream entries recorded. Several processes may try: one does it.

        Cost: one Redis command when nothing waits.
        Raises: StoreAway, CountersAway — nothing is lost, and what was recorded will not be recorded again.
        """
        waiting = await stream.backlog(self._redis, workspace)
        BACKLOG.set(waiting)
        if not waiting:
            return 0
        async with self._database.writing() as connection:
            at = await records.lock_position(connection, workspace, wait=wait)
            if at is None:
                return 0
            read = await stream.read_after(self._redis, workspace, at.epoch, at.entry, ENTRIES)
            if read.last is not None:
                at = records.Position(read.epoch, read.last)
                zone = await read_zone(connection, workspace)
                await records.append(connection, workspace, zone, read.events, at)
        DRAINED.inc(len(read.events))
        if at.entry != stream.START:
            await stream.forget(self._redis, workspace, at.epoch, at.entry)
        # A stream without an epoch is nobody's yet: publishing a code begins it.
        return min(waiting, ENTRIES) if read.epoch else 0

    async def all_of(self, workspace: WorkspaceId) -> None:
        """Record everything that has happened so far."""
        waiting = await stream.backlog(self._redis, workspace)
        while waiting > 0:
            done = await self.once(workspace, wait=True)
            if not done:
                return
            waiting -= done

    async def workspaces(self) -> list[WorkspaceId]:
        """Name every workspace there is to drain."""
        async with self._database.reading() as connection:
            return await records.list_workspaces(connection)
