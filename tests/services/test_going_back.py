"""A Redis that has less than the record: its last writes were lost, or a replica that had not heard took over."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import keys, stream
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway
from app.services import draining
from app.store import records
from app.store.database import Database
from app.store.tables import events
from tests.scanning import Make, Process


async def told(database: Database, workspace: WorkspaceId) -> list[tuple[str, int]]:
    """Read kind and seat number of all events that are recorded, in the order of seats."""
    async with database.reading() as connection:
        rows = await connection.execute(
            sa.select(events.c.kind, events.c.seat)
            .where(events.c.workspace_id == workspace)
            .order_by(events.c.seat, events.c.kind)
        )
        return [(row[0], row[1]) for row in rows]


class Copy:
    """Be what a replica knows: everything of one workspace, as of a moment."""

    def __init__(self, redis: Redis, workspace: WorkspaceId) -> None:
        self._redis = redis
        self._match = f"huoma:{{{workspace}}}:*"
        self._kept: dict[str, Any] = {}

    async def take(self) -> None:
        names = [name async for name in self._redis.scan_iter(match=self._match, count=1000)]
        self._kept = {name: await self._dump(name) for name in names}

    async def _dump(self, name: str) -> Any:
        # What is dumped is no text.
        return await self._redis.execute_command("DUMP", name, NEVER_DECODE=True)  # type: ignore[no-untyped-call]

    async def take_over(self) -> None:
        """Make what was copied all that is known."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for name in [name async for name in self._redis.scan_iter(match=self._match, count=1000)]:
                pipe.delete(name)
            for name, kept in self._kept.items():
                pipe.restore(name, 0, kept)
            await pipe.execute()


@pytest.fixture
def scan(process: Process) -> Callable[[str, int], Awaitable[None]]:
    async def scan(slug: str, times: int) -> None:
        for _ in range(times):
            assert (await process.phone().scan(slug)).outcome == "claimed"

    return scan


Scan = Callable[[str, int], Awaitable[None]]


async def set_clock_of_redis_ahead(redis: Redis, workspace: WorkspaceId) -> None:
    """Let a stream's next entries be called as if this server's clock were a minute ahead of the next one's."""
    seconds, _ = await redis.time()
    ahead = f"{seconds * 1000 + 60_000}-0"
    await redis.execute_command("XSETID", keys.events(workspace), ahead)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("entries", [2, 256])
async def test_what_a_master_counts_that_lacks_the_last_entries_is_recorded_whatever_its_clock_says(
    process: Process, code: Make, database: Database, redis: Redis, scan: Scan, entries: int,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(draining, "ENTRIES", entries)
    made = await code(50)
    await scan(made.slug, 5)
    replica = Copy(redis, made.workspace)
    await replica.take()
    await set_clock_of_redis_ahead(redis, made.workspace)
    await scan(made.slug, 2)
    await process.drain.all_of(made.workspace)
    before = await told(database, made.workspace)

    await replica.take_over()
    await scan(made.slug, 3)
    await process.drain.all_of(made.workspace)
    await scan(made.slug, 1)
    await process.drain.all_of(made.workspace)

    after = await told(database, made.workspace)
    assert len(before) == 7
    assert len(after) == 11, "each once: none passed over, none doubled"
    assert [seat for _, seat in after].count(before[-1][1]) == 2, "and the replica gave the same seat again"
    assert [record.message for record in caplog.records].count("record_is_ahead_of_redis") == 1
    assert await redis.xlen(keys.events(made.workspace)) == 0
    assert await process.reconciler.verify(made.workspace), "what was lost is named"
    await process.reconciler.rebuild(made.workspace)
    assert await process.reconciler.verify(made.workspace) == []


async def test_a_master_that_lacks_what_was_just_read_keeps_it_off_the_record(
    process: Process, code: Make, database: Database, redis: Redis, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(50)
    await scan(made.slug, 3)
    replica = Copy(redis, made.workspace)
    await replica.take()
    await scan(made.slug, 2)
    settle = records.settle

    async def settle_while_another_takes_over(*args: Any) -> None:
        await settle(*args)
        await replica.take_over()

    with monkeypatch.context() as patch:
        patch.setattr(records, "settle", settle_while_another_takes_over)
        with pytest.raises(CountersAway):
            await process.drain.once(made.workspace)
    assert await told(database, made.workspace) == []
    await process.drain.all_of(made.workspace)
    assert len(await told(database, made.workspace)) == 3
    assert await process.reconciler.verify(made.workspace) == []


async def test_a_master_that_takes_over_between_two_slices_is_read_from_what_it_has(
    process: Process, code: Make, database: Database, redis: Redis, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "ENTRIES", 4)
    made = await code(50)
    await scan(made.slug, 2)
    replica = Copy(redis, made.workspace)
    await replica.take()
    await scan(made.slug, 6)
    read_after, reads = stream.read_after, 0

    async def taken_over_before_the_second(*args: Any) -> stream.Reading:
        nonlocal reads
        reads += 1
        if reads == 2:
            await replica.take_over()
            await scan(made.slug, 4)
        return await read_after(*args)

    with monkeypatch.context() as patch:
        patch.setattr(stream, "read_after", taken_over_before_the_second)
        with pytest.raises(CountersAway):
            await process.drain.once(made.workspace)
    await process.drain.all_of(made.workspace)
    assert len(await told(database, made.workspace)) == 6
    assert await process.reconciler.verify(made.workspace) == []


async def test_a_crash_just_before_the_commit_is_no_loss(
    process: Process, code: Make, database: Database, scan: Scan, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    made = await code(50)
    await scan(made.slug, 3)
    await process.drain.all_of(made.workspace)
    await scan(made.slug, 2)
    keep = stream.keep

    async def crash(*args: Any) -> None:
        await keep(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stream, "keep", crash)
        with pytest.raises(KeyboardInterrupt):
            await process.drain.once(made.workspace)
    await process.drain.all_of(made.workspace)
    assert len(await told(database, made.workspace)) == 5
    assert "record_is_ahead_of_redis" not in [record.message for record in caplog.records]
