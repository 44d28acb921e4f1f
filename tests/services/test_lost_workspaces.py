"""A workspace that PostgreSQL has lost is over in every process, and its events stand aside, counted and named."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app import worker
from app.counters import activity, keys
from app.domain.code import CodeId
from app.domain.workspace import Workspace
from app.parts import Parts
from app.services.rounds import QUIET_AFTER
from app.services.watching import Watcher
from app.store.database import Database
from app.store.tables import events, metadata
from tests.conftest import Clock
from tests.ghosts import lose_workspace
from tests.scanning import Made, Make, Process
from tests.services.test_setting_aside import NOW, aside


@pytest.fixture
async def parts(process: Process, database: Database, redis: Redis, clock: Clock) -> AsyncIterator[Parts]:
    await redis.delete(keys.ACTIVE, keys.LACKING)
    yield process.parts(database, redis, clock)
    await redis.delete(keys.ACTIVE, keys.LACKING)


@pytest.fixture
async def lost(
    parts: Parts, process: Process, another_process: Process, code: Make, database: Database, redis: Redis
) -> AsyncIterator[Made]:
    """Have a code that two processes show, of a workspace that the record lacks; one entry of it waits."""
    made = await code(50)
    for one in (process, another_process):
        await one.phone().scan(made.slug)
    await process.drain.all_of(made.workspace)
    await lose_workspace(database, made.workspace)
    assert (await process.phone().visit(made.slug)).outcome == "claimed", "from memory"
    await activity.note(redis, [made.workspace])
    yield made
    names = [name async for name in redis.scan_iter(f"huoma:{{{made.workspace}}}:*")]
    await redis.delete(*names)


async def look(parts: Parts, crew: worker.Crew) -> None:
    await crew.begin()
    await crew.finish()


async def test_a_lost_workspace_is_over_in_every_process_and_its_events_stand_aside(
    parts: Parts, process: Process, another_process: Process, redis: Redis, clock: Clock, lost: Made,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    crew = worker.Crew(parts)
    await look(parts, crew)
    assert await redis.xlen(keys.events(lost.workspace)) == 0
    assert await aside(redis, lost.workspace) == 2, "a place given and one seen"
    for one in (process, another_process):
        assert (await one.phone().scan(lost.slug)).outcome == "closed"
    assert await redis.xlen(keys.events(lost.workspace)) == 0, "what is over is not counted"

    clock.forward(seconds=91)
    await look(parts, crew)
    await look(parts, crew)
    assert await redis.zcard(keys.code_keys(lost.workspace, CodeId(lost.id))[2]) == 0, "its holds end"
    assert await redis.exists(keys.due(lost.workspace)) == 0
    for _ in range(2):
        clock.forward(seconds=QUIET_AFTER.total_seconds() + 2)
        await look(parts, crew)
    assert lost.workspace not in await activity.noted(redis), "and no worker looks at it any more"
    assert "workspace_left_out" not in {one.getMessage() for one in caplog.records}


async def test_what_stands_aside_of_a_lost_workspace_is_counted_and_named(
    parts: Parts, process: Process, database: Database, redis: Redis, clock: Clock, lost: Made
) -> None:
    nothing = await Watcher(database, redis, clock).look()
    found = {str(one) async for one in process.reconciler.verifier.strays() if one.workspace == lost.workspace}
    assert [one for one in found if "entries that wait in a workspace" in one] != []
    await look(parts, worker.Crew(parts))
    await redis.delete(keys.ACTIVE)
    for behind in (await Watcher(database, redis, clock).look(), await Watcher(database, redis, clock).behind()):
        assert behind.unreadable == nothing.unreadable + 2
        assert lost.workspace in behind.with_unreadable
    found = {str(one) async for one in process.reconciler.verifier.strays() if one.workspace == lost.workspace}
    assert [one for one in found if "entries set aside of a workspace" in one and "say 2" in one] != []
    await worker.reread(parts)
    assert await aside(redis, lost.workspace) == 2


async def test_a_server_that_needs_memory_sets_aside_what_a_lost_workspace_left(
    parts: Parts, process: Process, redis: Redis, lost: Made
) -> None:
    used: Any = await redis.info("memory")
    await redis.config_set("maxmemory", used["used_memory"] // 2)
    try:
        await process.drain.all_of(lost.workspace)
        assert (await process.phone().scan(lost.slug)).outcome == "closed"
    finally:
        await redis.config_set("maxmemory", 0)
    assert await aside(redis, lost.workspace) == 2


async def test_an_entry_that_is_no_text_keeps_none_behind_it_in_a_lost_workspace(
    process: Process, redis: Redis, lost: Made
) -> None:
    fields: Any = {"now": NOW, "events": b"\xff\xfe"}
    await redis.xadd(keys.events(lost.workspace), fields)
    await process.phone().scan(lost.slug)
    assert await process.drain.once(lost.workspace) == 4
    assert await redis.xlen(keys.events(lost.workspace)) == 0
    assert (await process.phone().scan(lost.slug)).outcome == "closed"


async def test_what_stands_aside_is_recorded_when_the_workspace_is_back(
    parts: Parts, process: Process, code: Make, database: Database, redis: Redis, workspace: Workspace
) -> None:
    made = await code(50)
    await process.phone().scan(made.slug)
    kept: list[tuple[sa.Table, dict[str, object]]] = []
    async with database.reading() as connection:
        for table in metadata.sorted_tables:
            owner = table.c.id if table.name == "workspaces" else table.c.get("workspace_id")
            if owner is not None and table is not events:
                rows = await connection.execute(sa.select(table).where(owner == workspace.id))
                kept += [(table, dict(row._mapping)) for row in rows]
    await lose_workspace(database, made.workspace)
    await process.drain.all_of(made.workspace)
    assert made.workspace in await activity.lacking(redis)
    async with database.writing() as tx:
        for table, row in kept:
            await tx.execute(sa.insert(table).values(row))
    await worker.reread(parts)
    assert await aside(redis, made.workspace) == 0
    assert made.workspace not in await activity.lacking(redis)
    assert [one.what for one in await process.reconciler.verify(made.workspace)] == []
