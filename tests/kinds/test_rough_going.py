"""What went wrong once, or nearly: edits, losses and crowds at the worst moment."""

import asyncio
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from app.counters import keys, scripts
from app.domain.cap_days import ERA
from app.domain.code import CodeId
from app.domain.shifts import local_day
from app.domain.workspace import Workspace
from app.store import records
from app.store.database import Database
from app.store.snapshots import read_days
from app.telemetry import REREADS
from tests.conftest import Clock
from tests.kinds.conftest import MakeLink, Told, group
from tests.kinds.test_staff import adviser, meet, staff
from tests.scanning import Phone, Process
from tests.web.api.steps import done, make_code

SHOP = "https://shop.example/"


async def menu_of(api: httpx.AsyncClient, goal: dict[str, Any]) -> dict[str, Any]:
    menu = await make_code(api, kind="menu")
    options = {"options": [{"label": "o", "code_id": goal["id"]}]}
    done(await api.put(f"/codes/{menu['id']}/options", json=options))
    return menu


def with_cookies_of(phone: Phone, process: Process) -> Phone:
    """Take the same phone to another process."""
    moved = process.phone()
    moved.client.cookies = phone.client.cookies
    return moved


async def test_a_choice_from_an_outdated_menu_takes_one_place(
    process: Process, another_process: Process, api: httpx.AsyncClient, link: MakeLink, told: Told
) -> None:
    goal = await link({"url": SHOP, "member_limit": 5})
    menu = await menu_of(api, goal)
    assert (await another_process.phone().scan(f"{menu['slug']}/1")).status == 302
    done(await api.patch(f"/codes/{menu['id']}", json={"name": "another name"}))
    assert (await process.phone().scan(menu["slug"])).status == 200
    assert (await another_process.phone().scan(f"{menu['slug']}/1")).status == 302
    assert await told.kinds(goal) == {"taken": 2}
    assert await told.kinds(menu) == {"option 1": 2, "menu": 1}


async def test_who_found_the_fallback_by_himself_still_gets_into_a_code_with_room(
    process: Process, api: httpx.AsyncClient
) -> None:
    other = await group(api, 5)
    code = await group(api, 5, fallback={"code_id": other["id"]})
    phone = process.phone()
    assert (await phone.visit(other["slug"])).outcome == "claimed"
    seen = await phone.visit(code["slug"])
    assert (seen.outcome, seen.target) == ("claimed", code["targets"][0]["id"])


@pytest.mark.parametrize("end", ["closed", "disabled", "over", "not open", "paused", "years ago"])
async def test_nobody_is_sent_on_again_to_where_there_is_nothing_for_him(
    process: Process, another_process: Process, api: httpx.AsyncClient, clock: Clock, end: str
) -> None:
    other = await group(api, 5, sticky_days=1)
    code = await group(api, 0, fallback={"code_id": other["id"]})
    phone = process.phone()
    assert (await phone.visit(code["slug"])).outcome == "fallback"
    done(await api.patch(f"/targets/{code['targets'][0]['id']}", json={"member_limit": 5}))
    changes = {
        "disabled": {"disabled": True},
        "over": {"closes_at": "2026-11-01T00:00:00Z"},
        "not open": {"opens_at": "2026-12-01T00:00:00Z"},
    }
    if end == "closed":
        assert (await api.delete(f"/codes/{other['id']}")).status_code == 204
    elif end == "paused":
        done(await api.patch(f"/targets/{other['targets'][0]['id']}", json={"status": "paused"}))
    elif end == "years ago":
        clock.forward(days=2)
    else:
        done(await api.patch(f"/codes/{other['id']}", json=changes[end]))
    seen = await with_cookies_of(phone, another_process).visit(code["slug"])
    assert (seen.outcome, seen.target) == ("claimed", code["targets"][0]["id"])


async def test_who_was_sent_on_but_has_seen_nothing_yet_gets_into_the_code_he_scans(
    process: Process, api: httpx.AsyncClient
) -> None:
    other = await group(api, 5)
    code = await group(api, 0, fallback={"code_id": other["id"]})
    phone = process.phone()
    assert (await phone.scan(code["slug"])).outcome == "fallback"
    done(await api.patch(f"/targets/{code['targets'][0]['id']}", json={"member_limit": 5}))
    assert (await phone.scan(code["slug"])).outcome == "claimed"


async def test_a_chain_of_five_behind_an_option_is_walked_to_its_end(process: Process, api: httpx.AsyncClient) -> None:
    goal = await group(api, 5)
    for _ in range(5):
        goal = await group(api, 0, fallback={"code_id": goal["id"]})
    menu = await menu_of(api, goal)
    assert (await process.phone().scan(goal["slug"])).outcome == "fallback"
    assert (await process.phone().scan(f"{menu['slug']}/1")).outcome == "fallback"


async def test_who_was_sent_on_keeps_his_place_without_redis(
    process: Process, api: httpx.AsyncClient, away_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await group(api, 5)
    code = await group(api, 0, fallback={"code_id": other["id"]})
    phone = process.phone()
    assert (await phone.visit(code["slug"])).outcome == "fallback"
    monkeypatch.setattr(process.batcher, "_redis", away_redis)
    monkeypatch.setattr(process.recaller, "_redis", away_redis)
    seen = await phone.scan(code["slug"])
    assert (seen.outcome, seen.target) == ("fallback", other["targets"][0]["id"])
    assert (await process.phone().scan(code["slug"])).outcome == "unavailable"


async def test_a_release_elsewhere_makes_nobody_read_a_code_with_many_capped_again(
    process: Process, api: httpx.AsyncClient, clock: Clock
) -> None:
    code = await staff(api, *[await adviser(api, f"A{i}", 1) for i in range(60)], await adviser(api, "last"))
    other = await staff(api, await adviser(api, "X"))
    await meet(process, code, visitors=61)
    before = REREADS._value.get()
    for _ in range(3):
        await process.phone().scan(other["slug"])
        clock.forward(seconds=91)
        await process.phone().visit(other["slug"])
        assert await meet(process, code, visitors=1) == {"last": 1}
    assert REREADS._value.get() == before


async def test_adds_that_come_back_all_the_time_keep_nobody_from_the_fallback(
    process: Process, api: httpx.AsyncClient, redis: Redis, workspace: Workspace, clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    code = await staff(api, await adviser(api, "A", 1), fallback={"url": SHOP})
    await meet(process, code, visitors=1)
    day, run = local_day(clock(), workspace.time_zone), scripts.CLAIM.run

    async def while_adds_come_back(*args: Any) -> Any:
        await redis.hincrby(keys.adds(workspace.id, day), keys.FREED, 1)
        return await run(*args)

    monkeypatch.setattr(scripts.CLAIM, "run", while_adds_come_back)
    assert (await process.phone().scan(code["slug"])).outcome == "fallback"


async def test_a_hundred_caps_of_nothing_are_no_reason_to_try_again(process: Process, api: httpx.AsyncClient) -> None:
    code = await staff(api, *[await adviser(api, f"A{i}", 0) for i in range(100)], fallback={"url": SHOP})
    assert {(await process.phone().scan(code["slug"])).outcome for _ in range(3)} == {"fallback"}


async def test_each_code_of_a_batch_is_counted_on_the_day_of_its_own_zone(
    process: Process, api: httpx.AsyncClient, clock: Clock, redis: Redis, database: Database, workspace: Workspace
) -> None:
    account = await adviser(api, "A", 1)
    code, other = await staff(api, account), await staff(api, await adviser(api, "B"))
    for one in (code, other):
        await process.phone().client.head(f"/{one['slug']}")
    done(await api.patch("/workspace", json={"time_zone": "Pacific/Kiritimati"}))
    # Of this process, one code knows the new zone by now, where it is tomorrow already.
    await process.recaller.publish(CodeId(code["id"]))
    await asyncio.gather(process.phone().visit(other["slug"]), process.phone().visit(code["slug"]))
    async with database.reading() as connection:
        day = (await read_days(connection, workspace.id)).day(clock())
    assert day % ERA == local_day(clock(), "Pacific/Kiritimati"), "tomorrow there"
    assert await redis.hget(keys.adds(workspace.id, day), account["id"]) == "1"
    assert (await process.phone().visit(code["slug"])).outcome == "full"


async def test_adds_that_are_being_recorded_while_redis_is_lost_still_count(
    process: Process, another_process: Process, api: httpx.AsyncClient, redis: Redis, workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    code = await staff(api, await adviser(api, "A", 3))
    assert await meet(process, code, visitors=3) == {"A": 3}
    read, go_on, append = asyncio.Event(), asyncio.Event(), records.append

    async def slow(*args: Any) -> None:
        read.set()
        await go_on.wait()
        await append(*args)

    monkeypatch.setattr(records, "append", slow)
    drain = asyncio.create_task(process.drain.once(workspace.id))
    await read.wait()
    async for key in redis.scan_iter(f"huoma:{{{workspace.id}}}:*"):
        await redis.delete(key)
    coming = asyncio.create_task(meet(another_process, code, visitors=2))
    await asyncio.sleep(0.3)
    go_on.set()
    await drain
    assert await coming == {"nobody": 2}


async def test_a_disabled_code_shows_no_qr_on_a_page_that_was_open(process: Process, api: httpx.AsyncClient) -> None:
    code = await group(api, 5)
    phone = process.phone()
    page = await phone.scan(code["slug"])
    done(await api.patch(f"/codes/{code['id']}", json={"disabled": True}))
    assert (await phone.look(page)).headers["x-huoma-outcome"] == "disabled"


async def test_a_picture_takes_no_place_of_another_code(
    process: Process, api: httpx.AsyncClient, link: MakeLink, clock: Clock, told: Told
) -> None:
    goal = await link(SHOP)
    code = await group(api, 1, fallback={"code_id": goal["id"]})
    slow = process.phone()
    page = await slow.scan(code["slug"])
    clock.forward(seconds=100)
    assert (await process.phone().visit(code["slug"])).outcome == "claimed"
    assert (await slow.look(page)).headers["x-huoma-outcome"] == "full"
    assert await told.kinds(goal) == {}


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1999-12-31T00:00:00Z"])
async def test_the_ends_of_time_are_refused_wherever_an_instant_is_asked_for(api: httpx.AsyncClient, at: str) -> None:
    account = await adviser(api, "A")
    code = await staff(api, account)
    away = {"available": False, "until": at}
    for answer in (
        await api.post("/codes", json={"name": "n", "opens_at": at}),
        await api.patch(f"/codes/{code['id']}", json={"closes_at": at}),
        await api.put(f"/accounts/{account['id']}/availability", json=away),
        await api.get(f"/codes/{code['id']}/explain", params={"at": at}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize("path", ["/{slug}/x", "/{slug}/1/2", "/{slug}/9999999", "/nobody/seat"])
async def test_what_is_cut_or_typed_wrong_gets_a_page_and_no_json(
    process: Process, api: httpx.AsyncClient, path: str
) -> None:
    code = await group(api, 5)
    answer = await process.phone().client.get(path.format(slug=code["slug"]))
    assert (answer.status_code, answer.headers["x-huoma-outcome"]) == (404, "unknown")
    assert answer.headers["content-type"].startswith("text/html")
