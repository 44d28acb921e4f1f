"""Where visitors go when nobody has room: somewhere, and never in a circle."""

import asyncio
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from app.domain import limits
from app.domain.code import CodeId, Fallback
from app.store import snapshots
from app.store.database import Database
from app.store.tables import codes
from tests.web.api.steps import blocked, done, make_code, refused
from tests.web.api.test_strangers import NOWHERE

EMPTY = {"code_id": None, "url": None, "payload": None, "message": None}


async def fall(api: httpx.AsyncClient, code: dict[str, Any], goal: dict[str, Any]) -> httpx.Response:
    return await api.patch(f"/codes/{code['id']}", json={"fallback": {"code_id": goal["id"]}})


async def chain(api: httpx.AsyncClient, links: int) -> list[dict[str, Any]]:
    """Make codes that fall back to each other, the first to the second and so on."""
    made = [await make_code(api)]
    for _ in range(links):
        made.insert(0, await make_code(api, fallback={"code_id": made[0]["id"]}))
    return made


async def test_a_fallback_is_a_code_a_link_or_a_qr_with_a_message(api: httpx.AsyncClient, database: Database) -> None:
    goal, qr = await make_code(api, kind="menu"), "https://u.wechat.com/M56zaWR7PAmpBFXlNPHcSke"
    for said, kept in (
        ({"code_id": goal["id"]}, Fallback(code=CodeId(goal["id"]))),
        ({"url": "https://商店.example"}, Fallback(url="https://xn--czrs0t.example")),
        ({"payload": qr}, Fallback(payload=qr)),
        ({"payload": qr, "message": "加我\r\n进群"}, Fallback(payload=qr, message="加我\n进群")),
        (None, None),
    ):
        made = await make_code(api, fallback=said)
        changed = done(await api.patch(f"/codes/{(await make_code(api))['id']}", json={"fallback": said}))
        shown = kept and EMPTY | {
            "code_id": kept.code, "url": kept.url, "payload": kept.payload, "message": kept.message,
        }  # fmt: skip
        assert made["fallback"] == changed["fallback"] == shown
        assert done(await api.get(f"/codes/{changed['id']}")) == changed
        for one in (made, changed):
            async with database.writing() as tx:
                assert (await snapshots.read_code(tx, CodeId(one["id"]))).fallback == kept


async def test_a_fallback_as_it_is_shown_can_be_sent_back_and_taken_away(api: httpx.AsyncClient) -> None:
    code = await make_code(api, fallback={"url": "https://shop.example/"})
    same = done(await api.patch(f"/codes/{code['id']}", json={"fallback": code["fallback"]}))
    assert same["fallback"] == code["fallback"]
    done(await api.patch(f"/codes/{code['id']}", json={"name": "anders"}))
    assert done(await api.get(f"/codes/{code['id']}"))["fallback"] == code["fallback"]
    assert done(await api.patch(f"/codes/{code['id']}", json={"fallback": None}))["fallback"] is None


@pytest.mark.parametrize(
    ("fallback", "code", "where"),
    [
        ({}, "invalid", "fallback"),
        ("https://shop.example", "invalid", "fallback"),
        ({"url": "https://shop.example", "code_id": NOWHERE}, "invalid", "fallback"),
        ({"url": "https://shop.example", "message": "m"}, "invalid", "fallback"),
        ({"message": "m"}, "invalid", "fallback"),
        ({"payload": "https://weixin.qq.com/g/ab", "message": "x" * 501}, "invalid", "fallback.message"),
        ({"payload": "x" * 1025}, "invalid", "fallback.payload"),
        ({"html": "x"}, "invalid", "fallback.html"),
        ({"code_id": "x"}, "invalid", "fallback.code_id"),
        ({"code_id": NOWHERE}, "unknown_code", "fallback.code_id"),
        ({"url": "javascript:alert(1)"}, "bad_link", "fallback.url"),
        ({"url": "https://shop.example/\u202e"}, "invalid", "fallback.url"),
        ({"url": "https://qr.example/abc"}, "own_address", "fallback.url"),
        ({"url": "http://QR.example.:80"}, "own_address", "fallback.url"),
        ({"url": "https://weixin.qq.com/g/ab"}, "needs_qr", "fallback.url"),
        ({"url": "http://U.wechat.com:80/kExample"}, "needs_qr", "fallback.url"),
        ({"url": "https://work.weixin.qq.com/ca/cawcde01"}, "needs_qr", "fallback.url"),
        ({"payload": "https://shop.example"}, "unsupported_qr_kind", "fallback.payload"),
        ({"payload": "wxp://f2f0abc"}, "unsupported_qr_kind", "fallback.payload"),
        # A group's QR would be dead in a week, and nobody would notice.
        ({"payload": "https://weixin.qq.com/g/ab"}, "unsupported_qr_kind", "fallback.payload"),
    ],
)
async def test_a_fallback_that_cannot_be_is_refused_and_changes_nothing(
    api: httpx.AsyncClient, fallback: Any, code: str, where: str
) -> None:
    there = await make_code(api, fallback={"url": "https://shop.example/"})
    said = {"name": "anders", "fallback": fallback}
    refused(await api.post("/codes", json=said), 422, code, where)
    refused(await api.patch(f"/codes/{there['id']}", json=said), 422, code, where)
    assert done(await api.get("/codes"))["items"] == [there]


async def test_a_fallback_names_an_open_code_of_ones_own(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient
) -> None:
    code, theirs, closed = await make_code(api), await make_code(stranger_api), await make_code(api)
    await api.delete(f"/codes/{closed['id']}")
    nothing = refused(await fall(api, code, {"id": NOWHERE}), 422, "unknown_code", "fallback.code_id")
    for goal in (theirs, closed):
        assert refused(await fall(api, code, goal), 422, "unknown_code") == nothing
        said = {"name": "n", "fallback": {"code_id": goal["id"]}}
        assert refused(await api.post("/codes", json=said), 422, "unknown_code") == nothing
    assert done(await api.get(f"/codes/{code['id']}")) == code


async def test_a_code_that_others_fall_back_to_can_be_closed(api: httpx.AsyncClient) -> None:
    first, last = await chain(api, 1)
    assert (await api.delete(f"/codes/{last['id']}")).status_code == 204
    # It is not judged again by an edit of something else.
    done(await api.patch(f"/codes/{first['id']}", json={"name": "anders"}))


async def test_codes_never_fall_back_in_a_circle(api: httpx.AsyncClient) -> None:
    made = await chain(api, 2)
    for goal in made:
        refused(await fall(api, made[2], goal), 422, "cyclic_fallback", "fallback.code_id")
    assert done(await api.get(f"/codes/{made[2]['id']}")) == made[2]
    done(await api.patch(f"/codes/{made[0]['id']}", json={"fallback": None}))
    done(await fall(api, made[2], made[0]))


async def test_a_menu_leads_to_none_that_falls_back_to_it(api: httpx.AsyncClient) -> None:
    menu, aside = await make_code(api, kind="menu"), await make_code(api)
    first, last = await chain(api, 1)
    options = {"options": [{"label": "a", "code_id": aside["id"]}, {"label": "b", "code_id": first["id"]}]}
    done(await fall(api, last, menu))
    problem = refused(await api.put(f"/codes/{menu['id']}/options", json=options), 422, "cyclic_fallback")
    assert problem["where"] == "options.1.code_id"
    assert done(await api.get(f"/codes/{menu['id']}/options")) == {"options": []}
    done(await api.patch(f"/codes/{last['id']}", json={"fallback": None}))
    done(await api.put(f"/codes/{menu['id']}/options", json=options))
    refused(await fall(api, last, menu), 422, "cyclic_fallback", "fallback.code_id")
    done(await api.put(f"/codes/{menu['id']}/options", json={"options": []}))
    done(await fall(api, last, menu))


async def test_a_chain_of_fallbacks_has_an_end(api: httpx.AsyncClient) -> None:
    whole = await chain(api, limits.FALLBACK_CHAIN)
    said = {"name": "n", "fallback": {"code_id": whole[0]["id"]}}
    refused(await api.post("/codes", json=said), 422, "fallback_chain_too_long", "fallback.code_id")
    refused(await fall(api, whole[-1], await make_code(api)), 422, "fallback_chain_too_long", "fallback.code_id")
    first, second = await chain(api, 2), await chain(api, 3)
    refused(await fall(api, first[-1], second[0]), 422, "fallback_chain_too_long", "fallback.code_id")
    assert done(await api.get(f"/codes/{first[-1]['id']}")) == first[-1]
    done(await fall(api, first[-1], second[1]))


async def test_two_edits_at_once_close_no_circle(api: httpx.AsyncClient, database: Database) -> None:
    one, other = await make_code(api), await make_code(api)
    async with database.writing() as tx:
        # Each would find the other as it was, if it did not have to wait for it.
        await tx.execute(sa.select(codes.c.id).where(codes.c.id == one["id"]).with_for_update())
        first = asyncio.create_task(fall(api, one, other))
        await blocked(database, 1, first)
        second = asyncio.create_task(fall(api, other, one))
        await blocked(database, 2, second)
    done(await first)
    refused(await second, 422, "cyclic_fallback", "fallback.code_id")
    assert done(await api.get(f"/codes/{other['id']}")) == other


async def test_a_menu_and_a_fallback_at_once_close_no_circle(api: httpx.AsyncClient, database: Database) -> None:
    menu, goal = await make_code(api, kind="menu"), await make_code(api)
    async with database.writing() as tx:
        await tx.execute(sa.select(codes.c.id).where(codes.c.id == menu["id"]).with_for_update())
        options = {"options": [{"label": "a", "code_id": goal["id"]}]}
        first = asyncio.create_task(api.put(f"/codes/{menu['id']}/options", json=options))
        await blocked(database, 1, first)
        second = asyncio.create_task(fall(api, goal, menu))
        await blocked(database, 2, second)
    done(await first)
    refused(await second, 422, "cyclic_fallback", "fallback.code_id")


async def test_codes_that_are_made_at_once_share_no_chain_that_is_too_long(
    api: httpx.AsyncClient, database: Database
) -> None:
    whole = await chain(api, limits.FALLBACK_CHAIN - 1)
    longer = await make_code(api)
    async with database.writing() as tx:
        await tx.execute(sa.select(codes.c.id).where(codes.c.id == whole[-1]["id"]).with_for_update())
        first = asyncio.create_task(fall(api, whole[-1], longer))
        await blocked(database, 1, first)
        said = {"name": "n", "fallback": {"code_id": whole[0]["id"]}}
        second = asyncio.create_task(api.post("/codes", json=said))
        await blocked(database, 2, second)
    done(await first)
    refused(await second, 422, "fallback_chain_too_long", "fallback.code_id")


async def test_a_fallback_is_changed_only_in_the_version_that_was_seen(api: httpx.AsyncClient) -> None:
    code, goal = await make_code(api), await make_code(api)
    said = {"fallback": {"code_id": goal["id"]}}
    url = f"/codes/{code['id']}"
    refused(await api.patch(url, json=said, headers={"If-Match": '"7"'}), 412, "changed_meanwhile")
    assert done(await api.patch(url, json=said, headers={"If-Match": '"1"'}))["version"] > 1


async def test_a_code_with_a_fallback_is_made_once(api: httpx.AsyncClient) -> None:
    said = {"name": "n", "fallback": {"payload": "https://u.wechat.com/MExample"}}
    key = {"Idempotency-Key": "k"}
    first = done(await api.post("/codes", json=said, headers=key), 201)
    assert done(await api.post("/codes", json=said, headers=key), 201) == first
    refused(await api.post("/codes", json={"name": "n"}, headers=key), 422, "idempotency_key_reused")
