"""Targets change, get fresh QRs, and go."""

from datetime import datetime

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import versions
from app.domain.code import CodeId
from app.domain.workspace import Workspace
from app.services.recalling import Recaller
from app.store.database import Database
from tests.conftest import Clock
from tests.web.api.steps import done, make_code, make_target, payload, refused

SOON = "2026-11-21T12:00:00+00:00"


async def test_every_edit_of_a_target_is_an_edit_of_its_code(
    api: httpx.AsyncClient, redis: Redis, workspace: Workspace, recaller: Recaller
) -> None:
    code = await make_code(api)
    target = await make_target(api, code)
    versions_met = [done(await api.get(f"/codes/{code['id']}"))["version"]]
    for edit in (
        api.patch(f"/targets/{target['id']}", json={"status": "paused"}),
        api.put(f"/targets/{target['id']}/qr", json={"payload": payload()}),
        api.delete(f"/targets/{target['id']}"),
    ):
        assert (await edit).is_success
        versions_met.append(done(await api.get(f"/codes/{code['id']}"))["version"])
    assert versions_met == sorted(set(versions_met))
    assert (await versions.in_force(redis, workspace.id, CodeId(code["id"]))).state.startswith("!")
    await recaller.publish(CodeId(code["id"]))
    assert (await versions.in_force(redis, workspace.id, CodeId(code["id"]))).state == str(versions_met[-1])


async def test_a_state_is_what_a_scan_would_find(api: httpx.AsyncClient, clock: Clock) -> None:
    target = await make_target(api, await make_code(api), expires_at=SOON, member_limit=10)
    url = f"/targets/{target['id']}"
    assert done(await api.get(url))["state"] == "live"
    assert done(await api.patch(url, json={"status": "paused"}))["state"] == "paused"
    assert done(await api.patch(url, json={"status": "live"}))["state"] == "live"
    assert done(await api.post(f"{url}/members", json={"count": 10}))["state"] == "full"
    clock.now = datetime.fromisoformat(SOON)
    assert done(await api.get(url))["state"] == "expired"


async def test_defaults_come_back_with_null(api: httpx.AsyncClient, clock: Clock) -> None:
    target = await make_target(api, await make_code(api), expires_at=SOON, member_limit=10)
    clock.forward(hours=1)
    changed = done(await api.patch(f"/targets/{target['id']}", json={"expires_at": None, "member_limit": None}))
    assert (changed["expires_at"], changed["member_limit"]) == ("2026-11-28T09:00:00Z", 200)


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        ({}, "invalid", None),
        ({"name": None}, "invalid", "name"),
        ({"status": "full"}, "invalid", "status"),
        ({"payload": "https://weixin.qq.com/g/ab"}, "invalid", "payload"),
        ({"members": 5}, "invalid", "members"),
        ({"display": "original"}, "no_picture", "display"),
        ({"expires_at": "2026-11-21T09:59:59Z"}, "already_expired", "expires_at"),
        ({"expires_at": "2050-01-01T00:00:00Z"}, "expires_too_late", "expires_at"),
    ],
)
async def test_a_change_that_cannot_be_is_refused_and_changes_nothing(
    api: httpx.AsyncClient, change: dict[str, object], code: str, where: str | None
) -> None:
    target = await make_target(api, await make_code(api))
    refused(await api.patch(f"/targets/{target['id']}", json=change), 422, code, where)
    assert done(await api.get(f"/targets/{target['id']}"))["version"] == 1


async def test_a_fresh_qr_is_a_new_revision_of_the_same_target(
    api: httpx.AsyncClient, clock: Clock, database: Database, workspace: Workspace
) -> None:
    target = await make_target(api, await make_code(api), members=50, name="一群")
    clock.forward(days=6)
    fresh = payload()
    renewed = done(await api.put(f"/targets/{target['id']}/qr", json={"payload": fresh}))
    assert (renewed["id"], renewed["name"], renewed["members"]) == (target["id"], "一群", 50)
    assert (renewed["revision"], renewed["payload"], renewed["version"] > target["version"]) == (2, fresh, True)
    assert renewed["expires_at"] == "2026-12-04T09:00:00Z"
    later = await api.put(
        f"/targets/{target['id']}/qr", json={"payload": payload(), "expires_at": "2026-11-28T00:00:00Z"}
    )
    assert (done(later)["revision"], done(later)["expires_at"]) == (3, "2026-11-28T00:00:00Z")
    async with database.reading() as connection:
        kept = await connection.execute(
            sa.text("select number from qr_revisions where target_id = :id order by 1"), {"id": target["id"]}
        )
        assert [row[0] for row in kept] == [1, 2, 3]


async def test_a_qr_that_is_there_already_is_not_fresh(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    one, other = await make_target(api, code), await make_target(api, code)
    same = {"payload": one["payload"]}
    refused(await api.post(f"/codes/{code['id']}/targets", json=same), 409, "same_qr")
    refused(await api.put(f"/targets/{one['id']}/qr", json=same), 409, "same_qr")
    refused(await api.put(f"/targets/{other['id']}/qr", json=same), 409, "same_qr")
    refused(await api.post(f"/codes/{(await make_code(api))['id']}/targets", json=same), 409, "qr_in_use")
    await api.delete(f"/targets/{one['id']}")
    done(await api.post(f"/codes/{code['id']}/targets", json=same), 201)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"payload": "https://u.wechat.com/M56zaWR7PAmpBFXlNPHcSke"}, "other_kind"),
        ({"payload": "https://example.com"}, "unsupported_qr_kind"),
        ({"url": "https://example.com"}, "qr_expected"),
        ({"payload": "https://weixin.qq.com/g/ab", "expires_at": "2026-11-20T00:00:00Z"}, "already_expired"),
        ({"payload": "https://weixin.qq.com/g/ab", "name": "n"}, "invalid"),
        ({}, "invalid"),
    ],
)
async def test_a_fresh_qr_that_cannot_be_is_refused(api: httpx.AsyncClient, body: dict[str, object], code: str) -> None:
    target = await make_target(api, await make_code(api))
    refused(await api.put(f"/targets/{target['id']}/qr", json=body), 422, code)
    assert done(await api.get(f"/targets/{target['id']}"))["revision"] == 1


async def test_a_removed_target_is_gone(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    target = await make_target(api, code)
    assert (await api.delete(f"/targets/{target['id']}")).status_code == 204
    for response in (
        await api.get(f"/targets/{target['id']}"),
        await api.patch(f"/targets/{target['id']}", json={"name": "n"}),
        await api.put(f"/targets/{target['id']}/qr", json={"payload": payload()}),
        await api.post(f"/targets/{target['id']}/members", json={"count": 1}),
        await api.delete(f"/targets/{target['id']}"),
    ):
        refused(response, 404, "not_found")
    assert done(await api.get(f"/codes/{code['id']}/targets"))["items"] == []


async def test_a_target_is_changed_only_in_the_version_that_was_seen(api: httpx.AsyncClient) -> None:
    target = await make_target(api, await make_code(api))
    url, stale = f"/targets/{target['id']}", {"If-Match": '"9"'}
    for response in (
        await api.patch(url, json={"name": "n"}, headers=stale),
        await api.put(f"{url}/qr", json={"payload": payload()}, headers=stale),
        await api.delete(url, headers=stale),
    ):
        refused(response, 412, "changed_meanwhile")
    response = await api.get(url)
    assert response.headers["etag"] == '"1"'
    changed = await api.patch(url, json={"name": "n"}, headers={"If-Match": response.headers["etag"]})
    assert (done(changed)["name"], changed.headers["etag"] != '"1"') == ("n", True)
