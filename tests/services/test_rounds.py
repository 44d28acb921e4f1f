"""The worker goes where there is something to do, and rests when little is left."""

import pytest
from redis.asyncio import Redis

from app import worker
from app.counters import keys, stream
from app.domain.code import WorkspaceId
from app.domain.workspace import Workspace
from app.parts import Parts
from app.services import draining
from app.store.database import Database
from tests.conftest import Clock
from tests.scanning import Make, Process
from tests.services.test_draining import told, totals


@pytest.fixture
def parts(process: Process, database: Database, redis: Redis, clock: Clock) -> Parts:
    return process.parts(database, redis, clock)


async def test_only_workspaces_with_something_to_do_are_named(
    process: Process, code: Make, clock: Clock, workspace: Workspace, stranger: Workspace
) -> None:
    async def named() -> set[WorkspaceId]:
        return {workspace.id, stranger.id} & set(await process.reconciler.unsettled())

    assert await named() == set()
    made = await code(5)
    await process.phone().scan(made.slug)
    assert await named() == {workspace.id}, "an event waits"
    await process.drain.all_of(workspace.id)
    assert await named() == set(), "a hold that is open needs nobody"
    clock.forward(seconds=91)
    assert await named() == {workspace.id}, "a hold is late"


async def test_a_workspace_that_cannot_be_asked_about_is_worked_on_like_one_with_something_to_do(
    process: Process, redis: Redis, stranger: Workspace
) -> None:
    await redis.set(keys.events(stranger.id), "no stream")
    assert stranger.id in await process.reconciler.unsettled()
    await redis.delete(keys.events(stranger.id))


async def test_more_workspaces_than_are_asked_about_together_are_all_asked_about(
    process: Process,
    code: Make,
    database: Database,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    workspace: Workspace,
) -> None:
    monkeypatch.setattr("app.counters.audit._ASKED_TOGETHER", 1)
    made = await code(5)
    await process.phone().scan(made.slug)
    found = await process.reconciler.unsettled()
    assert workspace.id in found
    assert len(found) == len(set(found)) < len(await process.drain.workspaces())


async def test_a_round_takes_late_holds_back_and_records_them(
    parts: Parts, process: Process, code: Make, database: Database, clock: Clock
) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    clock.forward(seconds=91)
    await worker.one_round(parts)
    assert await told(database, made.workspace) == ["c", "x"]
    assert await totals(database, made) == [(0, 0, 0)]


async def test_after_a_round_that_left_little_the_worker_rests(
    parts: Parts, process: Process, code: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(5)
    while await worker.one_round(parts):
        pass
    await process.phone().scan(made.slug)
    assert not await worker.one_round(parts)
    assert await told(database, made.workspace) == ["c"]

    for module in (draining, worker):
        monkeypatch.setattr(module, "ENTRIES", 2)
    for _ in range(2):
        await process.phone().scan(made.slug)
    assert await worker.one_round(parts), "there may be more"
    assert await told(database, made.workspace) == ["c"] * 3


async def test_a_round_leaves_nothing_behind(parts: Parts, process: Process, code: Make) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    assert (await parts.watcher.look()).entries >= 1
    while await worker.one_round(parts):
        pass
    assert made.workspace not in await process.reconciler.unsettled()
    assert await stream.backlog(parts.redis, made.workspace) == 0
