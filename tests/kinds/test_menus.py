"""Menu codes (分组活码): a page of options, each a link that can itself be printed."""

import re
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from app.counters import scripts
from tests.kinds.conftest import MakeLink, Told, group
from tests.scanning import Process
from tests.web.api.steps import done, make_code

GOAL = "https://shop.example/"


@pytest.fixture
async def menu(api: httpx.AsyncClient, link: MakeLink) -> dict[str, Any]:
    """Make a menu of a group (1) and a link (2)."""
    code = await make_code(api, kind="menu", name="选一个")
    code["group"], code["link"] = await group(api, 2), await link(GOAL)
    options = [
        {"label": "进群", "hint": "每天都有", "code_id": code["group"]["id"]},
        {"label": "商店", "code_id": code["link"]["id"]},
    ]
    done(await api.put(f"/codes/{code['id']}/options", json={"options": options}))
    return code


async def test_a_menu_shows_its_options_in_order_each_a_link(
    process: Process, menu: dict[str, Any], told: Told
) -> None:
    seen = await process.phone().scan(menu["slug"])
    assert (seen.status, seen.outcome) == (200, "menu")
    assert re.findall(rf'href="(/{menu["slug"]}/\d+)"', seen.text) == [f"/{menu['slug']}/1", f"/{menu['slug']}/2"]
    assert seen.text.index("进群") < seen.text.index("商店")
    assert await told.kinds() == {"menu": 1}


async def test_an_option_gives_what_its_code_gives_and_both_are_counted(
    process: Process, menu: dict[str, Any], told: Told
) -> None:
    phone = process.phone()
    seen = await phone.visit(f"{menu['slug']}/1")
    assert (seen.outcome, seen.target) == ("claimed", menu["group"]["targets"][0]["id"])
    assert (await phone.visit(f"{menu['slug']}/1")).outcome == "returned"
    assert (await phone.visit(menu["group"]["slug"])).outcome == "returned", "one visitor, one place, by any way"
    answer = await phone.client.get(f"/{menu['slug']}/2")
    assert (answer.status_code, answer.headers["location"]) == (302, GOAL)
    assert await told.kinds(menu) == {"option 1": 2, "option 2": 1}
    assert await told.kinds(menu["group"]) == {"claimed": 1, "seen": 1, "returned": 2}


async def test_a_choice_costs_one_round_trip(
    process: Process, menu: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await process.phone().scan(f"{menu['slug']}/1")
    trips = 0
    run = scripts.CLAIM.run

    async def counted(*args: Any) -> Any:
        nonlocal trips
        trips += 1
        return await run(*args)

    monkeypatch.setattr(scripts.CLAIM, "run", counted)
    await process.phone().scan(f"{menu['slug']}/1")
    assert trips == 1


async def test_a_printed_option_that_is_gone_shows_the_menu(
    process: Process, menu: dict[str, Any], api: httpx.AsyncClient
) -> None:
    assert (await process.phone().scan(f"{menu['slug']}/1")).outcome == "claimed"
    options = [{"label": "商店", "code_id": menu["link"]["id"]}]
    done(await api.put(f"/codes/{menu['id']}/options", json={"options": options}))
    seen = await process.phone().scan(f"{menu['slug']}/1")
    assert (seen.status, seen.outcome) == (200, "menu")
    assert "进群" not in seen.text


async def test_an_option_that_leads_elsewhere_now_is_known_by_the_next_scan_of_every_process(
    process: Process, another_process: Process, menu: dict[str, Any], api: httpx.AsyncClient
) -> None:
    for one in (process, another_process):
        assert (await one.phone().scan(f"{menu['slug']}/2")).status == 302
    options = [{"number": 2, "label": "进群", "code_id": menu["group"]["id"]}]
    done(await api.put(f"/codes/{menu['id']}/options", json={"options": options}))
    for one in (process, another_process):
        assert (await one.phone().scan(f"{menu['slug']}/2")).target == menu["group"]["targets"][0]["id"]


async def test_a_menu_with_nothing_to_choose_is_no_dead_end(
    process: Process, api: httpx.AsyncClient, told: Told
) -> None:
    empty = await make_code(api, kind="menu")
    seen = await process.phone().scan(empty["slug"])
    assert (seen.status, seen.outcome) == (503, "full")
    assert await told.kinds(empty) == {"full no_options": 1}


async def test_a_preview_of_an_option_takes_nothing(process: Process, menu: dict[str, Any], told: Told) -> None:
    answer = await process.phone().client.head(f"/{menu['slug']}/1")
    assert answer.headers["x-huoma-outcome"] == "preview"
    assert await told.kinds() == {"preview": 1}


async def test_mini_programs_get_the_options_as_json(process: Process, menu: dict[str, Any]) -> None:
    body = (await process.phone().client.get(f"/{menu['slug']}", headers={"Accept": "application/json"})).json()
    assert body["outcome"] == "menu"
    assert [option["label"] for option in body["options"]] == ["进群", "商店"]
    assert body["options"][0] == {"label": "进群", "hint": "每天都有", "url": f"https://qr.example/{menu['slug']}/1"}


async def test_a_menu_is_shown_even_without_redis(
    process: Process, menu: dict[str, Any], away_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await process.phone().scan(menu["slug"])
    monkeypatch.setattr(process.batcher, "_redis", away_redis)
    monkeypatch.setattr(process.recaller, "_redis", away_redis)
    assert (await process.phone().scan(menu["slug"])).outcome == "menu"
    assert (await process.phone().scan(f"{menu['slug']}/1")).outcome == "unavailable"
