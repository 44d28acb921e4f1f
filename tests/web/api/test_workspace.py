"""The workspace that a key belongs to."""

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import versions
from app.domain.code import CodeId
from app.domain.workspace import Workspace
from app.services.recalling import Recaller
from app.store.database import Database
from app.store.tables import workspaces
from tests.web.api.steps import done, make_account, make_code, make_target, refused


async def test_a_workspace_reads_as_it_was_made(api: httpx.AsyncClient, workspace: Workspace) -> None:
    response = await api.get("/workspace")
    assert done(response) == {
        "id": workspace.id,
        "name": "春日",
        "time_zone": "Asia/Shanghai",
        "defaults": {"expiry_margin_seconds": 3600, "member_limit": 200, "daily_cap": None},
        "version": 1,
        "created_at": "2026-11-21T10:00:00Z",
    }
    assert response.headers["etag"] == '"1"'


async def test_a_default_changes_targets_that_are_yet_to_come_and_no_other(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    before = await make_target(api, code)
    changed = done(await api.patch("/workspace", json={"defaults": {"expiry_margin_seconds": 0}}))
    assert changed["defaults"] == {"expiry_margin_seconds": 0, "member_limit": 200, "daily_cap": None}
    changed = done(await api.patch("/workspace", json={"defaults": {"member_limit": 190}}))
    assert changed["defaults"] == {"expiry_margin_seconds": 0, "member_limit": 190, "daily_cap": None}
    after = await make_target(api, code)
    assert (after["expires_at"], after["member_limit"]) == ("2026-11-28T10:00:00Z", 190)
    assert done(await api.get(f"/targets/{before['id']}"))["expires_at"] == "2026-11-28T09:00:00Z"


async def test_a_default_cap_is_for_accounts_that_say_nothing_of_theirs(api: httpx.AsyncClient) -> None:
    done(await api.patch("/workspace", json={"defaults": {"daily_cap": 80}}))
    made = {
        "silent": await make_account(api),
        "own": await make_account(api, daily_cap=5),
        "none": await make_account(api, daily_cap=None),
    }
    assert {name: one["daily_cap"] for name, one in made.items()} == {"silent": 80, "own": 5, "none": None}
    changed = done(await api.patch("/workspace", json={"defaults": {"daily_cap": None}}))
    assert changed["defaults"]["daily_cap"] is None
    assert (await make_account(api))["daily_cap"] is None
    assert done(await api.get(f"/accounts/{made['silent']['id']}"))["daily_cap"] == 80


async def test_defaults_written_before_there_were_caps_have_none(
    api: httpx.AsyncClient, database: Database, workspace: Workspace
) -> None:
    old = {"expiry_margin_seconds": 60, "member_limit": 150}
    async with database.writing() as tx:
        await tx.execute(sa.update(workspaces).where(workspaces.c.id == workspace.id).values(defaults=old))
    assert done(await api.get("/workspace"))["defaults"] == old | {"daily_cap": None}


async def test_a_new_time_zone_is_an_edit_of_every_open_code(
    api: httpx.AsyncClient, workspace: Workspace, redis: Redis, recaller: Recaller
) -> None:
    code, closed = await make_code(api), await make_code(api)
    await api.delete(f"/codes/{closed['id']}")
    entry = await recaller.entry(CodeId(code["id"]))
    before = done(await api.get(f"/codes/{closed['id']}"))
    assert done(await api.patch("/workspace", json={"time_zone": "America/New_York"}))["version"] > 1
    assert (await versions.in_force(redis, workspace.id, CodeId(code["id"]))).state.startswith("!")
    assert (await recaller.reread(entry)).code.time_zone == "America/New_York"
    assert done(await api.get(f"/codes/{code['id']}"))["version"] > 1
    assert done(await api.get(f"/codes/{closed['id']}")) == before


async def test_a_new_name_or_the_same_zone_is_no_edit_of_any_code(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    done(await api.patch("/workspace", json={"name": "夏日", "time_zone": "Asia/Shanghai"}))
    assert done(await api.get(f"/codes/{code['id']}"))["version"] == 1


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "", "asia/shanghai", "UTC+8", "Asia/Shanghai\x00"])
async def test_a_zone_that_is_none_is_refused(api: httpx.AsyncClient, zone: str) -> None:
    refused(await api.patch("/workspace", json={"time_zone": zone}), 422, "bad_time_zone", "time_zone")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({}, None),
        ({"name": ""}, "name"),
        ({"defaults": {}}, "defaults"),
        ({"defaults": None}, "defaults"),
        ({"defaults": {"expiry_margin_seconds": -1}}, "defaults.expiry_margin_seconds"),
        ({"defaults": {"expiry_margin_seconds": 259_201}}, "defaults.expiry_margin_seconds"),
        ({"defaults": {"member_limit": "5"}}, "defaults.member_limit"),
        ({"defaults": {"daily_cap": -1}}, "defaults.daily_cap"),
        ({"defaults": {"daily_cap": 10**9 + 1}}, "defaults.daily_cap"),
        ({"defaults": {"colour": 5}}, "defaults.colour"),
        ({"id": "x"}, "id"),
    ],
)
async def test_a_change_out_of_bounds_is_refused(
    api: httpx.AsyncClient, change: dict[str, object], where: str | None
) -> None:
    refused(await api.patch("/workspace", json=change), 422, "invalid", where)


async def test_a_workspace_is_changed_only_in_the_version_that_was_seen(api: httpx.AsyncClient) -> None:
    done(await api.patch("/workspace", json={"name": "a"}, headers={"If-Match": '"1"'}))
    stale = await api.patch("/workspace", json={"name": "b"}, headers={"If-Match": '"1"'})
    refused(stale, 412, "changed_meanwhile")
