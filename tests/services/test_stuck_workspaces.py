"""A worker that cannot record one workspace records the others, erases their visitors and does its chores."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app import worker
from app.counters import keys
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway
from app.domain.workspace import Scope, Workspace
from app.embedded import Servers
from app.parts import Parts
from app.qr.reader import Reader
from app.services.keeping_workspaces import create_workspace
from app.services.recalling import Recaller
from app.services.rounds import PAUSE_MAX
from app.store.database import Database
from app.store.tables import target_totals
from app.web.api import ApiContext
from tests.conftest import PUBLIC_URL, Clock, client, key_to
from tests.scanning import Made, Process, make
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
