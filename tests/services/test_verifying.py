"""Verify names what was counted up wrongly from events."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import audit
from app.domain.event import EventKind
from app.domain.workspace import Workspace
from app.embedded import Servers
from app.services.comparing import Difference
from app.services.reconciling import Reconciler
from app.store.database import Database
from app.store.tables import account_days, stat_hours
from tests.conftest import START, Clock
from tests.scanning import Make, Process
from tests.telling import Teller


async def by_events(process: Process, workspace: Workspace) -> list[Difference]:
    return [one for one in await process.reconciler.verify(workspace.id) if one.teller == "events"]


@pytest.fixture
async def told(database: Database, workspace: Workspace, code: Make) -> Teller:
    made = await code(50)
    teller = Teller(database, workspace.id, made.id)
    given: dict[str, Any] = {"target": made.targets[0], "account": "ann"}
    await teller.tell(
        teller.event(EventKind.TAKEN, START, number=1, **given),
        teller.event(EventKind.TAKEN, START, number=2, client="wecom", **given),
        teller.event(EventKind.PREVIEW, START),
    )
    return teller


async def test_what_the_drain_has_counted_agrees_with_events(
    process: Process, workspace: Workspace, told: Teller
) -> None:
    assert await by_events(process, workspace) == []


async def test_real_scans_are_counted_by_the_hour(process: Process, code: Make) -> None:
    made = await code(1)
    phone = process.phone()
    await phone.visit(made.slug)
    await phone.scan(made.slug)
    await process.phone().scan(made.slug)
    await process.phone("mpcrawler").scan(made.slug)
    assert await process.reconciler.verify(made.workspace) == []


async def test_an_hour_that_was_tampered_with_is_named(
    process: Process, workspace: Workspace, told: Teller, database: Database
) -> None:
    async with database.writing() as tx:
        await tx.execute(
            sa.update(stat_hours)
            .where(stat_hours.c.workspace_id == workspace.id, stat_hours.c.client == "wecom")
            .values(n=7)
        )
    [difference] = await by_events(process, workspace)
    assert str(difference) == (
        f"workspace {workspace.id} code {told.code}: taken by the hour: events say 2, record says 8"
    )


async def test_an_hour_that_is_lost_and_one_that_never_was_are_named(
    process: Process, workspace: Workspace, told: Teller, database: Database
) -> None:
    mine = stat_hours.c.workspace_id == workspace.id
    async with database.writing() as tx:
        await tx.execute(sa.delete(stat_hours).where(mine, stat_hours.c.kind == EventKind.PREVIEW))
        await tx.execute(
            sa.update(stat_hours).where(mine, stat_hours.c.client == "wecom").values(kind=EventKind.CLAIMED)
        )
    found = [(one.what, one.counted, one.recorded) for one in await by_events(process, workspace)]
    assert found == [
        ("claimed by the hour", 0, 1),
        ("preview by the hour", 1, 0),
        ("taken by the hour", 2, 1),
    ]


async def test_adds_that_were_tampered_with_are_named(
    process: Process, workspace: Workspace, told: Teller, database: Database
) -> None:
    mine = account_days.c.workspace_id == workspace.id
    async with database.writing() as tx:
        await tx.execute(sa.update(account_days).where(mine).values(adds=1))
        await tx.execute(sa.insert(account_days).values(workspace_id=workspace.id, account_id="bob", day=1, adds=0))
    [difference] = await by_events(process, workspace)
    assert str(difference) == (
        f"workspace {workspace.id}: adds of account ann on 2026-11-21: events say 2, record says 1"
    )


async def test_counters_may_take_longer_to_ask_than_a_transaction_may_idle(
    servers: Servers, redis: Redis, clock: Clock, process: Process, workspace: Workspace, code: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for _ in range(4):
        await process.phone().scan((await code(5)).slug)
    snapshot = audit.snapshot

    async def slow(*arguments: Any) -> Any:
        await asyncio.sleep(0.5)
        return await snapshot(*arguments)

    monkeypatch.setattr(audit, "snapshot", slow)
    strict = Database(servers.database_url, pool_size=2, connect_seconds=5, statement_seconds=20, idle_seconds=1.2)
    try:
        reconciler = Reconciler(strict, redis, process.drain, process.recaller, clock)
        assert await reconciler.verify(workspace.id) == []
    finally:
        await strict.close()
