"""Targets over the API: what they are, where they stand, how they change."""

import asyncio
from datetime import datetime

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import counts, versions
from app.domain import limits
from app.domain.code import CodeId, TargetId
from app.domain.workspace import Scope, Workspace
from app.qr.read import Reader
from app.services.draining import Drain
from app.services.recalling import Recaller
from app.store.database import Database
from app.store.tables import targets
from app.web.api import ApiContext
from tests.conftest import PUBLIC_URL, START, Clock, client, key_to
from tests.web.api.steps import done, make_code, make_target, payload, refused

SOON = "2026-11-21T12:00:00+00:00"


async def test_a_group_lives_seven_days_less_the_margin_and_has_two_hundred_places(api: httpx.AsyncClient) -> None:
    target = await make_target(api, await make_code(api))
    assert target["expires_at"] == "2026-11-28T09:00:00Z"
    assert (target["member_limit"], target["kind"]) == (200, "wechat_group")
    assert (target["status"], target["state"], target["taken"]) == ("live", "live", 0)
    assert (target["name"], target["position"], target["weight"], target["display"]) == ("#1", 1024, 1, "drawn")


@pytest.mark.parametrize(
    ("text", "kind", "places"),
    [
        ("https://u.wechat.com/M56zaWR7PAmpBFXlNPHcSke", "wechat_personal", None),
        ("https://work.weixin.qq.com/gm/647b5aa666347428c3dd46c036bb3a62", "wecom_group", 200),
        ("https://work.weixin.qq.com/ct/wcdeff4adfa36d0840164709ab7f3f386d0c", "wecom_contact", None),
        ("https://work.weixin.qq.com/ca/cawcde36559314e23a", "wecom_acquisition", None),
    ],
)
async def test_every_kind_that_is_shown_as_a_qr_may_stand_in_a_group_code(
    api: httpx.AsyncClient, text: str, kind: str, places: int | None
) -> None:
    target = await make_target(api, await make_code(api), payload=text)
    assert (target["kind"], target["member_limit"], target["expires_at"]) == (kind, places, None)


async def test_an_explicit_expiry_and_limit_win(api: httpx.AsyncClient) -> None:
    target = await make_target(
        api, await make_code(api), expires_at="2026-12-25T08:00:00+08:00", member_limit=150, members=30, weight=5
    )
    assert (target["expires_at"], target["member_limit"]) == ("2026-12-25T00:00:00Z", 150)
    assert (target["members"], target["taken"], target["weight"]) == (30, 30, 5)


@pytest.mark.parametrize(
    ("fields", "status", "code", "where"),
    [
        ({"url": "https://example.com"}, 422, "url_not_for_group", "url"),
        ({"payload": "https://example.com"}, 422, "unsupported_qr_kind", "payload"),
        ({"payload": "wxp://f2f0abc"}, 422, "unsupported_qr_kind", "payload"),
        ({"payload": "x" * 1025}, 422, "invalid", "payload"),
        ({"payload": "https://weixin.qq.com/g/a\x00b"}, 422, "invalid", "payload"),
        ({}, 422, "invalid", None),
        ({"payload": "https://weixin.qq.com/g/ab", "url": "https://example.com"}, 422, "invalid", None),
        ({"payload": "https://weixin.qq.com/g/ab", "display": "original"}, 422, "no_picture", "display"),
        ({"payload": "https://weixin.qq.com/g/ab", "expires_at": "2026-11-21T10:00:00Z"}, 422, "already_expired", "expires_at"),
        ({"payload": "https://weixin.qq.com/g/ab", "expires_at": "2036-11-30T10:00:00Z"}, 422, "expires_too_late", "expires_at"),
        ({"payload": "https://weixin.qq.com/g/ab", "expires_at": "2026-12-01T10:00:00"}, 422, "invalid", "expires_at"),
        ({"payload": "https://weixin.qq.com/g/ab", "expires_at": "2026-12-01"}, 422, "invalid", "expires_at"),
        ({"payload": "https://weixin.qq.com/g/ab", "expires_at": 1795000000}, 422, "invalid", "expires_at"),
        ({"payload": "https://weixin.qq.com/g/ab", "expires_at": "1795000000"}, 422, "invalid", "expires_at"),
        ({"payload": "https://weixin.qq.com/g/ab", "expires_at": "0001-01-01T00:00:00+23:59"}, 422, "invalid", "expires_at"),
        ({"payload": "https://weixin.qq.com/g/ab", "member_limit": -1}, 422, "invalid", "member_limit"),
        ({"payload": "https://weixin.qq.com/g/ab", "member_limit": 10**9 + 1}, 422, "invalid", "member_limit"),
        ({"payload": "https://weixin.qq.com/g/ab", "members": -1}, 422, "invalid", "members"),
        ({"payload": "https://weixin.qq.com/g/ab", "members": "5"}, 422, "invalid", "members"),
        ({"payload": "https://weixin.qq.com/g/ab", "weight": 0}, 422, "invalid", "weight"),
        ({"payload": "https://weixin.qq.com/g/ab", "weight": 10_001}, 422, "invalid", "weight"),
        ({"payload": "https://weixin.qq.com/g/ab", "position": -1}, 422, "invalid", "position"),
        ({"payload": "https://weixin.qq.com/g/ab", "position": 10**9 + 1}, 422, "invalid", "position"),
        ({"payload": "https://weixin.qq.com/g/ab", "display": "svg"}, 422, "invalid", "display"),
        ({"payload": "https://weixin.qq.com/g/ab", "status": "paused"}, 422, "invalid", "status"),
    ],
)  # fmt: skip
async def test_a_target_that_cannot_be_is_refused_and_nothing_is_saved(
    api: httpx.AsyncClient, fields: dict[str, object], status: int, code: str, where: str | None
) -> None:
    live = await make_code(api)
    refused(await api.post(f"/codes/{live['id']}/targets", json=fields), status, code, where)
    assert done(await api.get(f"/codes/{live['id']}/targets")) == {"items": [], "next": None}
    assert done(await api.get(f"/codes/{live['id']}"))["version"] == 1


async def test_targets_stand_where_they_are_put(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    first = await make_target(api, code, name="first")
    last = await make_target(api, code, name="last")
    between = await make_target(api, code, name="between", position=(first["position"] + last["position"]) // 2)
    names = [one["name"] for one in done(await api.get(f"/codes/{code['id']}/targets"))["items"]]
    assert names == ["first", "between", "last"]
    done(await api.patch(f"/targets/{between['id']}", json={"position": 0}))
    assert done(await api.get(f"/codes/{code['id']}/targets"))["items"][0]["name"] == "between"


async def test_targets_are_listed_in_pages_even_when_they_share_a_position(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    made = {(await make_target(api, code, position=7))["id"] for _ in range(5)}
    listed, cursor = [], None
    while not listed or cursor:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = done(await api.get(f"/codes/{code['id']}/targets", params=params))
        listed += [one["id"] for one in page["items"]]
        cursor = page["next"]
    assert listed == sorted(made)


async def test_every_edit_of_a_target_is_an_edit_of_its_code(
    api: httpx.AsyncClient, redis: Redis, workspace: Workspace
) -> None:
    code = await make_code(api)
    target = await make_target(api, code)
    await api.patch(f"/targets/{target['id']}", json={"status": "paused"})
    await api.put(f"/targets/{target['id']}/qr", json={"payload": payload()})
    await api.delete(f"/targets/{target['id']}")
    assert done(await api.get(f"/codes/{code['id']}"))["version"] == 5
    assert (await versions.in_force(redis, workspace.id, CodeId(code["id"]))).state == "5"


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
    assert (renewed["revision"], renewed["payload"], renewed["version"]) == (2, fresh, 2)
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
    done(await api.post(f"/codes/{(await make_code(api))['id']}/targets", json=same), 201)
    await api.delete(f"/targets/{one['id']}")
    done(await api.post(f"/codes/{code['id']}/targets", json=same), 201)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"payload": "https://u.wechat.com/M56zaWR7PAmpBFXlNPHcSke"}, "other_kind"),
        ({"payload": "https://example.com"}, "unsupported_qr_kind"),
        ({"url": "https://example.com"}, "url_not_for_group"),
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
    assert (done(changed)["name"], changed.headers["etag"]) == ("n", '"2"')


async def test_a_head_count_becomes_the_base_and_holds_stay_on_top(
    api: httpx.AsyncClient, redis: Redis, database: Database, workspace: Workspace, recaller: Recaller
) -> None:
    code = await make_code(api)
    target = await make_target(api, code)
    counted = done(await api.post(f"/targets/{target['id']}/members", json={"count": 150}))
    assert [counted[field] for field in ("members", "held", "seen", "taken", "counts")] == [150, 0, 0, 150, "live"]
    places = await counts.read(redis, workspace.id, CodeId(code["id"]), [TargetId(target["id"])])
    assert places[TargetId(target["id"])].taken == 150
    await Drain(database, redis).all_of(workspace.id)
    read = done(await api.get(f"/targets/{target['id']}"))
    assert [read[field] for field in ("members", "seen", "taken")] == [150, 0, 150]


async def test_a_head_count_is_set_even_when_redis_knows_nothing_of_the_code(
    api: httpx.AsyncClient, redis: Redis, workspace: Workspace
) -> None:
    code = await make_code(api)
    target = await make_target(api, code)
    async for key in redis.scan_iter(f"huoma:{{{workspace.id}}}:*"):
        await redis.delete(key)
    assert done(await api.post(f"/targets/{target['id']}/members", json={"count": 7}))["taken"] == 7


@pytest.mark.parametrize("count", [-1, 10**9 + 1, "5", None, 1.5, True])
async def test_a_head_count_has_bounds(api: httpx.AsyncClient, count: object) -> None:
    target = await make_target(api, await make_code(api))
    refused(await api.post(f"/targets/{target['id']}/members", json={"count": count}), 422, "invalid", "count")


async def test_counts_are_those_of_the_record_while_redis_is_away(
    api: httpx.AsyncClient, database: Database, away_redis: Redis, recaller: Recaller, reader: Reader, clock: Clock,
    workspace: Workspace,
) -> None:  # fmt: skip
    target = await make_target(api, await make_code(api), members=20)
    assert done(await api.get(f"/targets/{target['id']}"))["counts"] == "live"
    context = ApiContext.of(
        database=database, redis=away_redis, publisher=recaller, reader=reader, public_url=PUBLIC_URL, clock=clock
    )
    async with client(context, await key_to(context, workspace, Scope.READ)) as blind:
        seen = done(await blind.get(f"/targets/{target['id']}"))
        assert (seen["counts"], seen["members"], seen["taken"], seen["state"]) == ("recorded", 20, 20, "live")


async def test_a_code_has_at_most_fifty_thousand_targets(
    api: httpx.AsyncClient, database: Database, workspace: Workspace
) -> None:
    code = await make_code(api)
    row = {
        "workspace_id": workspace.id, "code_id": code["id"], "position": 1, "name": "n", "kind": "wechat_group",
        "status": "live", "member_limit": 1, "weight": 1, "display": "drawn", "created_at": START, "updated_at": START,
    }  # fmt: skip
    rows = [row | {"id": f"{code['id']}-{n}", "payload": str(n)} for n in range(limits.TARGETS_PER_CODE)]
    async with database.writing() as tx:
        await tx.execute(sa.insert(targets), rows)
    refused(await api.post(f"/codes/{code['id']}/targets", json={"payload": payload()}), 409, "too_many_targets")
    async with database.writing() as tx:
        await tx.execute(sa.delete(targets).where(targets.c.id == rows[0]["id"]))
    await make_target(api, code)


async def test_edits_of_one_code_at_the_same_time_all_count(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    await asyncio.gather(*(make_target(api, code) for _ in range(12)))
    found = done(await api.get(f"/codes/{code['id']}/targets"))["items"]
    assert [one["position"] for one in found] == [1024 * n for n in range(1, 13)]
    assert sorted(one["name"] for one in found) == sorted(f"#{n}" for n in range(1, 13))
    assert done(await api.get(f"/codes/{code['id']}"))["version"] == 13
