"""Bring events from the stream into the record, exactly once (落库)."""

import logging
from dataclasses import dataclass, field
from typing import Final

from redis.asyncio import Redis

from app.counters import stream
from app.domain.code import WorkspaceId
from app.domain.pseudonym import Pseudonyms
from app.domain.tally import Tally
from app.store import erasures, records
from app.store.database import Database, Writing
from app.store.snapshots import read_zone
from app.telemetry import BACKLOG, DRAINED, say

# Stream entries read, and dropped, at a time; an entry holds the events of one round trip, at most a batch and its
# releases. Redis serves nobody meanwhile: about a millisecond, when entries hold 64 events.
ENTRIES: Final = 256
# Once it has recorded so many, a transaction reads no further.
EVENTS: Final = 400_000


@dataclass
class _Batch:
    """Tell what one transaction has recorded.

    Shapes: `ends` has the last entry of each slice; `more` when it stopped though the stream goes on.
    """

    at: records.Position
    tally: Tally
    entries: int = 0
    ends: list[str] = field(default_factory=list)
    more: bool = False


class Drain:
    """Record what happened.

    Events, totals, hours and the stream's position move in one transaction; only then is the stream shortened. A crash
    anywhere repeats the batch, and the position says that it was done. Hours are those of the workspace's zone as it is
    then; visitors are named as `pseudonyms` does, and not at all when they were erased.
    What Redis may lose in a failover is not recorded, where replicas are waited for.
    Metrics: `huoma_drained_events_total`, `huoma_stream_backlog`.
    """

    def __init__(self, database: Database, redis: Redis, pseudonyms: Pseudonyms | None = None) -> None:
        self._database = database
        self._redis = redis
        self._pseudonyms = pseudonyms or Pseudonyms(tuple)

    async def once(self, workspace: WorkspaceId, *, wait: bool = False) -> int:
        """Record one batch; answer with the stream entries recorded. Several processes may try: one does it.

        Cost: one Redis command when nothing waits. Memory for `ENTRIES`, and for the rows of totals and hours that a
        transaction moves.
        Raises: StoreAway, CountersAway — nothing is lost, and what was recorded will not be recorded again.
        """
        waiting = await stream.backlog(self._redis, workspace)
        BACKLOG.set(waiting)
        if not waiting:
            return 0
        try:
            locked, batch = await self._try(workspace, wait=wait)
        except records.DayDroppedError:
            locked, batch = await self._try(workspace, wait=wait)
        if not locked:
            return 0
        BACKLOG.set(0 if batch and not batch.more else waiting)
        # A stream without an epoch is nobody's yet: publishing a code begins it.
        if batch is None:
            return 0
        DRAINED.inc(batch.tally.events)
        for entry in batch.ends or [batch.at.entry]:
            if entry != stream.START:
                await stream.forget(self._redis, workspace, batch.at.epoch, entry)
        return batch.entries if batch.more else waiting

    async def _try(self, workspace: WorkspaceId, *, wait: bool) -> tuple[bool, _Batch | None]:
        async with self._database.writing() as connection:
            at = await records.lock_position(connection, workspace, wait=wait)
            return at is not None, None if at is None else await self._record(connection, workspace, at)

    async def _record(self, connection: Writing, workspace: WorkspaceId, at: records.Position) -> _Batch | None:
        """Record what comes after a position, slice by slice."""
        read = await stream.read_after(self._redis, workspace, at.epoch, at.entry, ENTRIES)
        if not read.epoch:
            return None
        if not read.known:
            at = await self._common(connection, workspace, at.epoch)
            read = await stream.read_after(self._redis, workspace, at.epoch, at.entry, ENTRIES)
        batch = _Batch(at, Tally(await read_zone(connection, workspace)))
        # Asked with the position locked: who has been erased since waits for it before he looks at what is recorded.
        name = self._pseudonyms.namer(workspace, await erasures.tombstones(connection, workspace))
        while read.entries:
            batch.at = records.Position(read.epoch, read.entries[-1].entry)
            batch.ends.append(batch.at.entry)
            batch.entries += len(read.entries)
            await records.append(connection, workspace, read.entries, batch.tally, name)
            batch.more = len(read.entries) == ENTRIES
            if not batch.more or batch.tally.events >= EVENTS:
                break
            read = await stream.read_after(self._redis, workspace, batch.at.epoch, batch.at.entry, ENTRIES)
            # Next time: another life of the stream from its start, a day without a partition, and a master that has not
            # heard of what was just read.
            if read.epoch != batch.at.epoch or not (read.known and records.prepared(read.entries)):
                break
        if batch.ends:
            await records.settle(connection, workspace, batch.tally, batch.at)
            # What the next master may not have must not be on record: its places would be given again.
            await stream.keep(self._redis, workspace, batch.at.epoch, at.entry, batch.at.entry)
        return batch

    async def _common(self, connection: Writing, workspace: WorkspaceId, epoch: str) -> records.Position:
        """Find the last entry that stream and record have in common, when the record has more than the stream.

        Redis has lost what it had counted last: a replica took over that had not heard of it, or it was not on disk.
        What it counts since may stand under ids that the record has passed.
        """
        say("record_is_ahead_of_redis", level=logging.WARNING, workspace=workspace)
        common = stream.START
        while True:
            read = await stream.read_after(self._redis, workspace, epoch, common, ENTRIES)
            known = await records.recorded(connection, workspace, read.entries)
            if known:
                common = read.entries[known - 1].entry
            if known < ENTRIES:
                return records.Position(epoch, common)

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
