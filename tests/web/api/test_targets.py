"""Targets over the API: what they are, where they stand, how they change."""

import asyncio

import httpx
import pytest
import sqlalchemy as sa

from app.domain import limits
from app.domain.workspace import Workspace
from app.store.database import Database
from app.store.tables import targets
from tests.conftest import START
from tests.web.api.steps import done, make_code, make_target, payload, refused

GROUP = "https://weixin.qq.com/g/ab"


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
async def test_every_kind_that_is_shown_as_a_qr_has_its_own_limit(
    api: httpx.AsyncClient, text: str, kind: str, places: int | None
) -> None:
    code = await make_code(api, kind="staff" if places is None else "group")
    target = await make_target(api, code, payload=text)
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
        ({"url": "https://example.com"}, 422, "qr_expected", "url"),
        ({"payload": "https://example.com"}, 422, "unsupported_qr_kind", "payload"),
        ({"payload": "wxp://f2f0abc"}, 422, "unsupported_qr_kind", "payload"),
        ({"payload": "x" * 1025}, 422, "invalid", "payload"),
        ({"payload": "https://weixin.qq.com/g/a\x00b"}, 422, "invalid", "payload"),
        ({}, 422, "invalid", None),
        ({"payload": GROUP, "url": "https://example.com"}, 422, "invalid", None),
        ({"payload": GROUP, "display": "original"}, 422, "no_picture", "display"),
        ({"payload": GROUP, "expires_at": "2026-11-21T10:00:00Z"}, 422, "already_expired", "expires_at"),
        ({"payload": GROUP, "expires_at": "2036-11-30T10:00:00Z"}, 422, "expires_too_late", "expires_at"),
        ({"payload": GROUP, "expires_at": "2026-12-01T10:00:00"}, 422, "invalid", "expires_at"),
        ({"payload": GROUP, "expires_at": "2026-12-01"}, 422, "invalid", "expires_at"),
        ({"payload": GROUP, "expires_at": 1795000000}, 422, "invalid", "expires_at"),
        ({"payload": GROUP, "expires_at": "1795000000"}, 422, "invalid", "expires_at"),
        ({"payload": GROUP, "expires_at": "0001-01-01T00:00:00+23:59"}, 422, "invalid", "expires_at"),
        ({"payload": GROUP, "member_limit": -1}, 422, "invalid", "member_limit"),
        ({"payload": GROUP, "member_limit": 10**9 + 1}, 422, "invalid", "member_limit"),
        ({"payload": GROUP, "members": -1}, 422, "invalid", "members"),
        ({"payload": GROUP, "members": "5"}, 422, "invalid", "members"),
        ({"payload": GROUP, "weight": 0}, 422, "invalid", "weight"),
        ({"payload": GROUP, "weight": 10_001}, 422, "invalid", "weight"),
        ({"payload": GROUP, "position": -1}, 422, "invalid", "position"),
        ({"payload": GROUP, "position": 10**9 + 1}, 422, "invalid", "position"),
        ({"payload": GROUP, "display": "svg"}, 422, "invalid", "display"),
        ({"payload": GROUP, "status": "paused"}, 422, "invalid", "status"),
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
    listed: list[str] = []
    cursor = None
    while not listed or cursor:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = done(await api.get(f"/codes/{code['id']}/targets", params=params))
        listed += [one["id"] for one in page["items"]]
        cursor = page["next"]
    assert listed == sorted(made)


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
    assert done(await api.get(f"/codes/{code['id']}"))["version"] > 1


@pytest.mark.parametrize("weight", ["0", "-1", "NaN", "Infinity", "1.5", "10001", '"3"', "null", "true"])
async def test_a_weight_is_a_whole_number_from_one(api: httpx.AsyncClient, weight: str) -> None:
    code = await make_code(api)
    content = f'{{"payload": "{payload()}", "weight": {weight}}}'
    headers = {"Content-Type": "application/json"}
    answer = await api.post(f"/codes/{code['id']}/targets", content=content, headers=headers)
    assert answer.json()["code"] in ("invalid", "malformed_body")
    assert answer.status_code in (400, 422)
    assert done(await api.get(f"/codes/{code['id']}/targets"))["items"] == []
