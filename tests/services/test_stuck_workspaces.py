"""A worker that cannot record one workspace records the others, erases their visitors and does its chores."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app import worker
from app.counters import keys
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway
from app.domain.pseudonym import Pseudonyms
from app.domain.workspace import Scope, Workspace
from app.embedded import Servers
from app.parts import Parts
from app.qr.reader import Reader
from app.services.erasing import Eraser
from app.services.keeping_workspaces import create_workspace
from app.services.recalling import Recaller
from app.services.rounds import PAUSE_MAX
from app.store import erasures, records
from app.store.database import Database
from app.store.tables import target_totals
from app.web.api import ApiContext
from tests.conftest import PUBLIC_URL, Clock, client, key_to
from tests.scanning import SECRET, Made, Process, make
from tests.services.test_activity import happens
from tests.services.test_draining import told

# Longer than any machine takes for what is waited for here; a mistake waits for ever.
SOON = 30


@pytest.fixture
async def patient(servers: Servers, database: Database) -> AsyncIterator[Database]:
    """Be a pool whose statements wait for longer than a test lasts, and whose transactions may idle as long."""
    del database
    pool = Database(servers.database_url, pool_size=20, connect_seconds=5, statement_seconds=600, idle_seconds=600)
    yield pool
    await pool.close()


@pytest.fixture
def parts(patient: Database, recaller: Recaller, reader: Reader, redis: Redis, clock: Clock) -> Parts:
    own = ApiContext.of(
        database=patient, redis=redis, publisher=recaller, reader=reader, public_url=PUBLIC_URL, clock=clock
    )
    return Process.of(own, redis, clock).parts(patient, redis, clock)


async def scanned(process: Process, context: ApiContext, clock: Clock) -> Made:
    """Make a workspace with a code that has been recorded."""
    workspace, _ = await create_workspace(context.database, "w", "Asia/Shanghai", clock())
    async with client(context, await key_to(context, workspace, Scope.ADMIN)) as api:
        made = await make(api, workspace.id, 50)
    await process.phone().visit(made.slug)
    await process.drain.all_of(workspace.id)
    return made


async def work_until_recorded(crew: worker.Crew, redis: Redis, clock: Clock, workspace: WorkspaceId) -> None:
    async with asyncio.timeout(SOON):
        while await redis.xlen(keys.events(workspace)):
            clock.forward(seconds=worker.IDLE_SECONDS)
            await crew.begin()
            await asyncio.sleep(0.05)


async def test_workspaces_whose_rows_are_locked_keep_no_other_from_being_recorded(
    parts: Parts, patient: Database, process: Process, context: ApiContext, redis: Redis, clock: Clock
) -> None:
    stuck = [await scanned(process, context, clock) for _ in range(worker.HANDS + 1)]
    other = await scanned(process, context, clock)
    crew = worker.Crew(parts)
    rows = target_totals.c.target_id.in_([made.targets[0] for made in stuck])
    async with patient.writing() as tx:
        await tx.execute(sa.select(target_totals).where(rows).with_for_update())
        for made in stuck:
            await process.phone().visit(made.slug)
        await crew.begin()
        await process.phone().visit(other.slug)
        await work_until_recorded(crew, redis, clock, other.workspace)
        assert all([await redis.xlen(keys.events(made.workspace)) for made in stuck]), "they are locked"
    for made in stuck:
        await work_until_recorded(crew, redis, clock, made.workspace)
    await crew.finish()


async def test_workspaces_that_take_long_to_fail_leave_the_hands_to_the_others(
    parts: Parts, patient: Database, redis: Redis, clock: Clock, workspace: Workspace, stranger: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    stuck = [(await create_workspace(patient, "w", "Asia/Shanghai", clock()))[0].id for _ in range(worker.HANDS)]
    failing, release, once = set(stuck), asyncio.Event(), parts.drain.once

    async def slow(which: WorkspaceId, **options: Any) -> int:
        if which in failing:
            failing.discard(which)
            raise CountersAway
        if which in stuck:
            await release.wait()
        return await once(which, **options)

    monkeypatch.setattr(parts.drain, "once", slow)
    monkeypatch.setattr(worker, "SLOW_SECONDS", 0.0)
    crew = worker.Crew(parts)
    for one in stuck:
        await happens(redis, clock, one)
    await crew.begin()
    await crew.finish()
    assert not failing
    clock.forward(seconds=PAUSE_MAX.total_seconds())
    await crew.begin()
    await happens(redis, clock, workspace.id)
    await happens(redis, clock, stranger.id)
    for one in (workspace.id, stranger.id):
        await work_until_recorded(crew, redis, clock, one)
    release.set()
    await crew.finish()
    for one in stuck:
        assert await told(patient, one) == ["p"]


async def test_what_stands_aside_in_a_locked_workspace_keeps_no_other_from_being_recorded(
    parts: Parts, patient: Database, process: Process, context: ApiContext, redis: Redis, clock: Clock
) -> None:
    """A worker starts meanwhile."""
    locked, other = [await scanned(process, context, clock) for _ in range(2)]
    aside: Any = {"now": int(clock().timestamp() * 1000), "events": f"p|{locked.id}|wechat|0...0.0.v|"}
    await redis.xadd(keys.unreadable(locked.workspace), aside)
    await process.phone().visit(other.slug)
    stop = asyncio.Event()
    async with patient.writing() as tx:
        await records.lock_position(tx, locked.workspace, wait=True)
        running = asyncio.create_task(worker.run(parts, stop))
        async with asyncio.timeout(SOON):
            while await redis.xlen(keys.events(other.workspace)):
                await asyncio.sleep(0.05)
    stop.set()
    await running
    await worker.reread(parts)
    assert not await redis.xlen(keys.unreadable(locked.workspace)), "and it is read when the lock is gone"


async def erased_in(database: Database, workspace: WorkspaceId) -> bool:
    async with database.reading() as connection:
        return workspace not in await erasures.open_ones(connection, 1_000)


async def test_a_workspace_whose_visitors_cannot_be_erased_keeps_no_other_waiting(
    patient: Database, redis: Redis, clock: Clock, workspace: Workspace, stranger: Workspace,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    # More of them than are looked at together.
    monkeypatch.setattr("app.services.erasing._TOGETHER", 2)
    eraser = Eraser(patient, redis, Pseudonyms(lambda: [SECRET]))
    for one in (workspace, stranger):
        for n in range(3):
            await eraser.ask(one.id, f"visitor{n}", clock())
    for locked, other in ((workspace, stranger), (stranger, workspace)):
        async with patient.writing() as tx:
            await records.lock_position(tx, locked.id, wait=True)
            async with asyncio.timeout(SOON):
                for _ in range(2):
                    await eraser.some()
            assert await erased_in(patient, other.id)
        if locked is workspace:
            assert not await erased_in(patient, locked.id)
            said: list[Any] = [one for one in caplog.records if one.getMessage() == "visitors_not_erased"]
            assert [one.fields["workspace"] for one in said] == [locked.id], "once"
            await eraser.some()
            assert await erased_in(patient, locked.id)


async def test_a_chore_that_takes_long_keeps_no_other_waiting(parts: Parts) -> None:
    done, forever, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        await forever.wait()

    async def quick() -> None:
        done.set()

    running = asyncio.create_task(worker.run(replace(parts, chores=(slow, quick)), stop))
    async with asyncio.timeout(SOON):
        await done.wait()
    stop.set()
    await running
