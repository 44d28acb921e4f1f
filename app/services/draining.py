"""Bring events from the stream into the record, exactly once (落库)."""

import logging
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from redis.asyncio import Redis

from app.counters import activity, stream
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway
from app.domain.event import Unreadable
from app.domain.pseudonym import Pseudonyms
from app.domain.tally import Tally
from app.services.dead_letters import DeadLetters
from app.store import erasures, partitions, records
from app.store.database import Database, Writing, bound_locks
from app.store.snapshots import read_zone
from app.telemetry import DRAINED, say

# Stream entries read, and dropped, at a time; an entry holds the events of one round trip, at most a batch and its
# releases. Redis serves nobody meanwhile: about a millisecond, when entries hold 64 events.
ENTRIES: Final = 256
# Once it has recorded so many, a transaction reads no further.
EVENTS: Final = 400_000
_NO_LIMIT: Final = sys.maxsize


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


class _Stuck(Unreadable):
    """Say after which position something could not be recorded, and what came first there."""

    def __init__(self, at: records.Position, first: str | None, error: Unreadable) -> None:
        super().__init__(str(error))
        self.where = at, first
        self.at = at


class Drain:
    """Record what happened.

    Events, totals, hours and the stream's position move in one transaction; only then is the stream shortened. A crash
    anywhere repeats the batch, and the position says that it was done. Hours are those of the workspace's zone as it is
    then; visitors are named as `pseudonyms` does, and not at all when they were erased.
    What Redis may lose in a failover is not recorded, where replicas are waited for. What cannot be recorded is looked
    for by halves, and set aside in a stream of its own, so that it keeps nothing else waiting; nothing of it is lost.
    Metrics: `huoma_drained_events_total`.
    """

    def __init__(self, database: Database, redis: Redis, pseudonyms: Pseudonyms | None = None) -> None:
        self._database = database
        self._redis = redis
        self._pseudonyms = pseudonyms or Pseudonyms(tuple)
        self._dead_letters = DeadLetters(database, redis, self._pseudonyms)
        # Entries that a transaction takes at most, where some could not be recorded.
        self._limits: dict[WorkspaceId, int] = {}

    async def once(self, workspace: WorkspaceId, *, wait: bool = False) -> int:
        """Record one batch; answer with the stream entries recorded. Several processes may try: one does it.

        Cost: one Redis command when nothing waits. Memory for `ENTRIES`, and for the rows of totals and hours that a
        transaction moves.
        What waits in a workspace that the record does not have is set aside.
        Raises: StoreAway, CountersAway — nothing is lost, and what was recorded will not be recorded again;
        WorkspaceLackingError — nothing could be set aside either.
        """
        while True:
            waiting = await stream.backlog(self._redis, workspace)
            if not waiting:
                return 0
            try:
                return await self._once(workspace, waiting, wait=wait)
            except records.DayMissingError as missing:
                # In a transaction of its own, so that what waits for a lock holds none.
                await partitions.make(self._database, missing.day)
            except records.DayDroppedError:
                continue
            except records.WorkspaceLackingError:
                done = await self._dead_letters.set_all_aside(workspace)
                if not done:
                    raise
                return done
            except _Stuck as stuck:
                await self._narrow_down(workspace, waiting, stuck)

    async def _once(self, workspace: WorkspaceId, waiting: int, *, wait: bool) -> int:
        limit = self._limits.get(workspace, _NO_LIMIT)
        async with self._database.writing() as connection:
            if not wait:
                # A worker has other workspaces to record, and comes back to this one.
                await bound_locks(connection)
            at = await records.lock_position(connection, workspace, wait=wait)
            if at is None:
                return 0
            batch = await self._record(connection, workspace, at, limit)
        if 2 * limit < EVENTS:
            self._limits[workspace] = 2 * limit
        else:
            self._limits.pop(workspace, None)
        # A stream without an epoch is nobody's yet: publishing a code begins it.
        if batch is None:
            return 0
        DRAINED.inc(batch.tally.events)
        for entry in batch.ends or [batch.at.entry]:
            if entry != stream.START:
                await stream.forget(self._redis, workspace, batch.at.epoch, entry)
        return batch.entries if batch.more else waiting

    async def _record(
        self, connection: Writing, workspace: WorkspaceId, at: records.Position, limit: int
    ) -> _Batch | None:
        """Record what comes after a position. Raises: _Stuck — something of it cannot be."""
        asked = min(ENTRIES, limit)
        try:
            read = await stream.read_after(self._redis, workspace, at.epoch, at.entry, asked)
            if not read.known:
                at = await self._common(connection, workspace, at.epoch)
                read = await stream.read_after(self._redis, workspace, at.epoch, at.entry, asked)
            return await self._record_slices(connection, workspace, at, read, limit) if read.epoch else None
        except Unreadable as error:
            raise _Stuck(at, await self._first(workspace, at), error) from error

    async def _record_slices(
        self, connection: Writing, workspace: WorkspaceId, at: records.Position, read: stream.Reading, limit: int
    ) -> _Batch:
        asked = min(ENTRIES, limit)
        batch = _Batch(at, Tally(await read_zone(connection, workspace)))
        # Asked with the position locked: who has been erased since waits for it before he looks at what is recorded.
        name = self._pseudonyms.namer(workspace, await erasures.tombstones(connection, workspace))
        while read.entries:
            batch.at = records.Position(read.epoch, read.entries[-1].entry)
            batch.ends.append(batch.at.entry)
            batch.entries += len(read.entries)
            await records.append(connection, workspace, read.entries, batch.tally, name)
            batch.more = len(read.entries) == asked
            if not batch.more or batch.tally.events >= EVENTS or batch.entries >= limit:
                break
            asked = min(ENTRIES, limit - batch.entries)
            read = await stream.read_after(self._redis, workspace, batch.at.epoch, batch.at.entry, asked)
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

        Redis has lost what it had counted last, because a replica took over that had not heard of it, or because it was
        not on disk. What it counts since may stand under ids that the record has passed.
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

    async def _resumed(self, connection: Writing, workspace: WorkspaceId, at: records.Position) -> records.Position:
        """Tell after which entry the stream goes on: the position, unless the record has more than the stream."""
        try:
            read = await stream.read_after(self._redis, workspace, at.epoch, at.entry, 1)
        except Unreadable:
            # To be set aside first: then it can be told.
            return at
        return at if read.known else await self._common(connection, workspace, at.epoch)

    async def _set_lacking_aside(self, workspace: WorkspaceId) -> bool:
        """Set aside what names codes or targets that the record lacks; record what else those entries hold.

        False when there was nothing of the kind.
        """
        async with self._database.writing() as connection:
            at = await records.lock_position(connection, workspace, wait=True)
            assert at is not None
            at = await self._resumed(connection, workspace, at)
            try:
                names = await self._dead_letters.set_aside_lacking(connection, workspace, at)
            except Unreadable:
                return False
        if names:
            say("entries_set_aside", level=logging.ERROR, workspace=workspace, entries=len(names))
            await self._dead_letters.read_again(workspace, start=names[0])
        return bool(names)

    async def _narrow_down(self, workspace: WorkspaceId, waiting: int, stuck: _Stuck) -> None:
        """Set aside what names what the record lacks; else let the next transaction take half as much.

        An entry that cannot be recorded by itself is set aside, and its lines that can be are recorded.
        Raises: Unreadable — there is nothing to set aside.
        """
        if isinstance(stuck.__cause__, records.LackingError) and await self._set_lacking_aside(workspace):
            return
        limit = self._limits.get(workspace)
        if limit != 1:
            self._limits[workspace] = max(1, min(waiting, limit or waiting) // 2)
            return
        async with self._database.writing() as connection:
            # Nobody else may record what follows meanwhile; who was quicker has seen to it.
            at = await records.lock_position(connection, workspace, wait=True)
            assert at is not None
            at = await self._resumed(connection, workspace, at)
            if (at, await self._first(workspace, at)) != stuck.where:
                return
            names = await stream.set_aside(self._redis, workspace, stuck.at.epoch, stuck.at.entry)
        if not names:
            raise stuck
        say("entry_set_aside", level=logging.ERROR, workspace=workspace, entry=names[0], why=str(stuck))
        # Its other lines can be recorded.
        await self._dead_letters.read_again(workspace, start=names[0])

    async def _first(self, workspace: WorkspaceId, at: records.Position) -> str | None:
        """Name what comes first after a position; None when it cannot be named."""
        try:
            read = await stream.read_after(self._redis, workspace, at.epoch, at.entry, 1)
        except Unreadable:
            return None
        return read.entries[0].entry if read.entries else ""

    async def reread(self, workspace: WorkspaceId) -> int:
        """Record what was set aside and can be recorded now; answer with the entries of which nothing is left.

        Raises: StoreAway, CountersAway — what was recorded will not be recorded again.
        """
        try:
            done = await self._dead_letters.read_again(workspace)
        except records.WorkspaceLackingError:
            return 0
        # Listed again, it is watched without the note.
        with suppress(CountersAway):
            await activity.note_found(self._redis, workspace)
        return done

    async def all_of(self, workspace: WorkspaceId, *, wait: bool = True) -> None:
        """Record everything that has happened so far; without `wait` leave to another process what it records now."""
        waiting = await stream.backlog(self._redis, workspace)
        while waiting > 0:
            done = await self.once(workspace, wait=wait)
            if not done:
                return
            waiting -= done

    async def workspaces(self) -> list[WorkspaceId]:
        """Name every workspace there is to drain."""
        async with self._database.reading() as connection:
            return await records.list_workspaces(connection)
