"""Keep entries that cannot be recorded out of the way (搁置, dead letters), and record of them what can be.

Law: a line of an entry is in the stream, set aside or recorded; what is recorded leaves what is set aside afterwards.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from redis.asyncio import Redis

from app.counters import activity, stream, versions
from app.counters.stream import Aside
from app.domain.code import CodeId, WorkspaceId
from app.domain.errors import CountersAway
from app.domain.event import Packed, Unreadable
from app.domain.pseudonym import Pseudonyms
from app.domain.tally import Tally
from app.store import dead_letters, erasures, partitions, records
from app.store.database import Database, Writing, bound_locks
from app.store.snapshots import read_zone
from app.telemetry import DRAINED, say

# Entries looked at together.
_PAGE: Final = 256
# Codes that a line of the log names.
_NAMED: Final = 10


class DeadLetters:
    """Set entries aside that name what the record lacks, and read again what was set aside."""

    def __init__(self, database: Database, redis: Redis, pseudonyms: Pseudonyms) -> None:
        self._database = database
        self._redis = redis
        self._pseudonyms = pseudonyms

    async def set_aside_lacking(self, connection: Writing, workspace: WorkspaceId, at: records.Position) -> list[str]:
        """Set aside every entry after a position that names a code or a target which the record does not have.

        PostgreSQL was restored from an older dump, or has lost its last commits in a failover. Processes remember what
        is gone, so the codes concerned are marked: the next scan reads them anew and shows what the record has.
        Shapes: answers with the names under which they stand aside. The position must be locked.
        Cost: two queries for each 256 entries that wait.
        Raises: StoreAway, CountersAway; Unreadable — what stands before must be set aside first.
        """
        names: list[str] = []
        while True:
            read = await stream.read_after(self._redis, workspace, at.epoch, at.entry, _PAGE)
            if not read.entries:
                return names
            lacking = await dead_letters.lacking(connection, workspace, dead_letters.readable(read.entries))
            for code in sorted({code for lines in lacking.values() for code in lines.values()}):
                await versions.mark(self._redis, workspace, code)
            if lacking:
                names += await stream.set_aside(self._redis, workspace, read.epoch, at.entry, list(lacking))
                ghosts = sorted({code for lines in lacking.values() for code in lines.values()})
                say("record_lacks_what_is_shown", level=logging.ERROR, workspace=workspace, codes=ghosts[:_NAMED])
            at = records.Position(read.epoch, read.entries[-1].entry)

    async def set_all_aside(self, workspace: WorkspaceId) -> int:
        """Set aside whatever waits in a workspace that the record does not have; return how many entries that were.

        The codes named there are marked: the next scan reads them anew, and they are over. The workspace is noted, so
        that what stands aside is watched though no list of workspaces names it.
        Cost: one round trip for each 256 entries, and as `versions.mark_all`.
        Raises: CountersAway.
        """
        done, limit = 0, _PAGE
        codes: set[CodeId] = set()
        while True:
            try:
                read = await stream.read_after(self._redis, workspace, "", stream.START, limit)
            except Unreadable:
                if limit > 1:
                    limit //= 2
                    continue
                names: list[str] = []
            else:
                if not read.entries:
                    break
                names = [one.entry for one in read.entries]
                readable = dead_letters.readable(read.entries)
                named = {code for one in readable for code, _ in dead_letters.named(one).values() if code}
                await versions.mark_all(self._redis, workspace, sorted(named - codes))
                codes |= named
            # Without names, the first entry: it is no text.
            done += len(await stream.set_aside(self._redis, workspace, "", stream.START, names))
            limit = _PAGE
        if done:
            # A server without memory refuses the note; whatever comes next in the workspace makes it again.
            with suppress(CountersAway):
                await activity.note_lacking(self._redis, workspace)
            say(
                "record_lacks_a_workspace",
                level=logging.ERROR, workspace=workspace, entries=done, codes=sorted(codes)[:_NAMED],
            )  # fmt: skip
        return done

    async def read_again(self, workspace: WorkspaceId, *, start: str = "-") -> int:
        """Record what was set aside and can be recorded now; answer with the entries of which nothing is left.

        Of an entry that cannot be recorded as a whole the lines that can be are, and the others stay.
        Shapes: begins with the entry that stands aside as `start`.
        Raises: StoreAway, CountersAway — what was recorded will not be recorded again.
        """
        done = 0
        while True:
            page = await stream.read_aside(self._redis, workspace, start, _PAGE)
            if not page:
                return done
            done += await self._read_page(workspace, page)
            start = f"({page[-1].name}"

    async def _read_page(self, workspace: WorkspaceId, page: Sequence[Aside]) -> int:
        readable = [
            (one, part) for one in page if one.packed is not None for part in dead_letters.readable([one.packed])
        ]
        try:
            return await self._record(workspace, readable)
        except (Unreadable, records.DayDroppedError, records.AlreadyRecorded):
            done = 0
            # One of them is at fault, and must not keep the others from being recorded.
            for one in readable:
                try:
                    done += await self._record(workspace, [one])
                except (Unreadable, records.DayDroppedError, records.AlreadyRecorded):
                    continue
            return done

    async def _record(self, workspace: WorkspaceId, page: Sequence[tuple[Aside, Packed]]) -> int:
        """Record the lines that can be, then leave only the others aside.

        Shapes: each entry with the part of it that is readable. Raises: as `records.append`, `settle`.
        """
        entries = [part for _, part in page]
        if not entries:
            return 0
        for day in sorted({records.instant_of(entry).date() for entry in entries}):
            if not records.has_day(day):
                await partitions.make(self._database, day)
        async with self._database.writing() as connection:
            # What stands aside of other workspaces is read after this.
            await bound_locks(connection)
            at = await records.lock_position(connection, workspace, wait=True)
            assert at is not None
            lacking = await dead_letters.lacking(connection, workspace, entries)
            recorded = await dead_letters.recorded_lines(connection, workspace, entries)
            parts = []
            for entry in entries:
                numbers = {n for n, _ in entry.numbered()}
                wanted = numbers - lacking.get(entry.entry, {}).keys() - recorded[entry.entry]
                if wanted:
                    parts.append(entry.only(wanted))
            if parts:
                await self._append(connection, workspace, at, parts)
        return await self._leave(workspace, page, lacking)

    async def _append(
        self, connection: Writing, workspace: WorkspaceId, at: records.Position, parts: Sequence[Packed]
    ) -> None:
        tally = Tally(await read_zone(connection, workspace))
        name = self._pseudonyms.namer(workspace, await erasures.tombstones(connection, workspace))
        await records.append(connection, workspace, parts, tally, name)
        await records.settle(connection, workspace, tally, at)
        await dead_letters.retell(connection, workspace, parts)
        DRAINED.inc(tally.events)

    async def _leave(
        self, workspace: WorkspaceId, page: Sequence[tuple[Aside, Packed]], lacking: dict[str, dict[int, CodeId]]
    ) -> int:
        done = 0
        for one, part in page:
            assert one.packed is not None
            recorded = {n for n, _ in part.numbered()} - lacking.get(part.entry, {}).keys()
            left = one.packed.only({line.numbers[0] for line in one.packed.apart()} - recorded)
            if not left.numbers:
                done += 1
                await stream.drop_aside(self._redis, workspace, one.name)
            elif recorded:
                await stream.narrow_aside(self._redis, workspace, one.name, left)
        return done
