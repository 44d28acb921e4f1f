"""PostgreSQL loses its last commit (a standby that was behind takes over), while Redis and the processes live on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from app.domain.cap_days import ERA, CapDays
from app.domain.code import CodeId
from app.domain.workspace import Workspace
from app.services.showing import Pictures
from app.store import tables
from app.store.database import Database
from tests.conftest import START, Clock
from tests.scanning import Make, Process
from tests.web.api.steps import done, make_account, make_code, make_target, refused


@asynccontextmanager
async def losing(database: Database, workspace: Workspace, *names: str) -> AsyncIterator[None]:
    """Lose what is written to the rows of some tables within the block: afterwards they are as they were."""
    before: dict[sa.Table, list[dict[str, Any]]] = {}
    async with database.reading() as connection:
        for table in (tables.metadata.tables[name] for name in names):
            owner = table.c.id if table is tables.workspaces else table.c.workspace_id
            found = await connection.execute(sa.select(table).where(owner == workspace.id))
            before[table] = [dict(row) for row in found.mappings()]
    yield
    async with database.writing() as tx:
        for table, rows in before.items():
            for row in rows:
                await tx.execute(sa.update(table).where(table.c.id == row["id"]).values(**row))


async def test_an_edit_after_a_lost_commit_is_seen_by_processes_that_remember_the_lost_one(
    process: Process,
    another_process: Process,
    code: Make,
    api: httpx.AsyncClient,
    database: Database,
    workspace: Workspace,
) -> None:
    made = await code(1000, 1000, strategy="fill")
    each = (process, another_process)

    async def shown() -> set[str | None]:
        return {(await one.phone().scan(made.slug)).target for one in each for _ in range(4)}

    async with losing(database, workspace, "codes", "targets"):
        done(await api.patch(f"/codes/{made.id}", json={"name": "an edit that will be lost"}))
        assert await shown() == {made.targets[0]}
    done(await api.patch(f"/targets/{made.targets[0]}", json={"status": "paused"}))
    assert await shown() == {made.targets[1]}


async def test_an_account_that_goes_away_after_a_lost_commit_is_in_no_code(
    process: Process, another_process: Process, api: httpx.AsyncClient, database: Database, workspace: Workspace
) -> None:
    account = await make_account(api)
    code = await make_code(api, kind="staff")
    await make_target(api, code, account_id=account["id"])
    each = (process, another_process)

    async def outcomes() -> set[str]:
        return {(await one.phone().scan(code["slug"])).outcome for one in each}

    async with losing(database, workspace, "codes", "accounts"):
        done(await api.patch(f"/accounts/{account['id']}", json={"name": "an edit that will be lost"}))
        assert await outcomes() == {"claimed"}
    done(await api.put(f"/accounts/{account['id']}/availability", json={"available": False}))
    assert await outcomes() == {"full"}


async def test_a_zone_after_a_lost_commit_is_in_force_in_every_process(
    process: Process,
    another_process: Process,
    code: Make,
    api: httpx.AsyncClient,
    database: Database,
    workspace: Workspace,
) -> None:
    made = await code(1000)
    each = (process, another_process)

    async def zones() -> set[str]:
        for one in each:
            await one.phone().scan(made.slug)
        return {(await one.recaller.entry(CodeId(made.id))).code.time_zone for one in each}

    async with losing(database, workspace, "codes", "workspaces"):
        done(await api.patch("/workspace", json={"time_zone": "America/New_York"}))
        assert await zones() == {"America/New_York"}
    done(await api.patch("/workspace", json={"time_zone": "Asia/Tokyo"}))
    assert await zones() == {"Asia/Tokyo"}


async def test_a_caller_who_has_seen_a_lost_version_does_not_overwrite_another_edit(
    api: httpx.AsyncClient, database: Database, workspace: Workspace
) -> None:
    account = await make_account(api)
    code = await make_code(api)
    target = await make_target(api, code)
    urls = (f"/codes/{code['id']}", f"/targets/{target['id']}", f"/accounts/{account['id']}", "/workspace")
    lost = {}
    async with losing(database, workspace, "codes", "targets", "accounts", "workspaces"):
        for url in urls:
            lost[url] = (await api.patch(url, json={"name": "lost"})).raise_for_status().headers["etag"]
    for url in urls:
        done(await api.patch(url, json={"name": "kept"}))
        stale = await api.patch(
            url, json={"name": "by a caller who has seen the lost edit"}, headers={"If-Match": lost[url]}
        )
        refused(stale, 412, "changed_meanwhile")


async def test_versions_differ_also_when_the_version_before_is_ahead_of_the_clock(database: Database) -> None:
    ahead = sa.literal(2**52, sa.BigInteger)
    async with database.reading() as connection:
        rows = [await connection.execute(sa.select(tables.next_version(ahead))) for _ in range(20)]
    given = {int(row.scalar_one()) for row in rows}
    assert len(given) == 20
    assert min(given) > 2**52
    assert max(given) < 2**53


async def test_the_picture_of_a_revision_that_was_lost_is_not_shown_for_the_next(
    process: Process, code: Make, database: Database
) -> None:
    made = await code(10)
    await process.phone().scan(made.slug)
    (target,) = (await process.recaller.entry(CodeId(made.id))).code.targets
    pictures, revisions = Pictures(database), tables.qr_revisions
    for payload in ("lost", "kept"):
        async with database.writing() as tx:
            of_target = sa.update(revisions).where(revisions.c.target_id == target.id)
            await tx.execute(of_target.values(picture=payload.encode(), picture_media_type="image/png"))
        uploaded = replace(target, payload=payload, display="original")
        assert (await pictures.of(uploaded, payload)).data == payload.encode()


@pytest.mark.parametrize("then", ["edit", "zone", "restart"])
async def test_a_cap_is_given_once_though_the_change_of_the_zone_was_lost(
    process: Process, another_process: Process, api: httpx.AsyncClient, database: Database, workspace: Workspace,
    clock: Clock, then: str,
) -> None:  # fmt: skip
    account = await make_account(api, daily_cap=3)
    codes = [await make_code(api, kind="staff", new_seats_per_minute=0) for _ in range(2)]
    for n, code in enumerate(codes):
        await make_target(api, code, account_id=account["id"], payload=f"https://u.wechat.com/invented{n:012}")

    async def given() -> int:
        scans = [one.phone().visit(code["slug"]) for one in (process, another_process) for code in codes * 2]
        return [(await one).outcome for one in scans].count("claimed")

    async with losing(database, workspace, "codes", "workspaces"):
        done(await api.patch("/workspace", json={"time_zone": "America/New_York"}))
        assert await given() == 3
        await process.drain.all_of(workspace.id)
    clock.forward(minutes=5)
    found = [one.what for one in await process.reconciler.verify(workspace.id)]
    assert "changes of the time zone that the record does not have" in found
    assert await given() == 0
    if then == "edit":
        done(await api.patch(f"/codes/{codes[0]['id']}", json={"name": "edited"}))
    elif then == "zone":
        done(await api.patch("/workspace", json={"time_zone": "Asia/Tokyo"}))
    else:
        await process.rester.rest([(workspace.id, CodeId(code["id"])) for code in codes])
    assert await given() == 0
    for _ in range(20):
        clock.forward(minutes=15)
        assert await given() == 0
    await process.drain.all_of(workspace.id)
    assert await process.reconciler.verify(workspace.id) == []
    clock.forward(days=3)
    assert await given() == 3


def test_an_era_that_was_lost_is_not_given_again() -> None:
    days = CapDays("Asia/Shanghai")
    begun = {days.moved("Asia/Tokyo", START + timedelta(seconds=20 * n)).era for n in range(15_000)}
    assert len(begun) == 15_000, "within three and a half days; adds are kept for three"
    assert 0 not in begun
    for _ in range(5):
        days = days.moved("Asia/Tokyo" if days.time_zone == "Asia/Shanghai" else "Asia/Shanghai", START)
    assert len(days.eras) == 6
    assert ERA * (max(begun) + 1) < 2**31
