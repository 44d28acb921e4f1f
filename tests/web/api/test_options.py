"""Options of menus: their numbers may be printed, and so never change their meaning by themselves."""

from io import BytesIO
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import zxingcpp
from PIL import Image

from app.domain.code import CodeId, Option
from app.store import snapshots
from app.store.database import Database
from app.store.tables import options
from tests.conftest import PUBLIC_URL
from tests.web.api.steps import done, make_code, refused
from tests.web.api.test_strangers import NOWHERE


async def arrange(api: httpx.AsyncClient, menu: dict[str, Any], *rows: dict[str, Any]) -> list[dict[str, Any]]:
    body = {"options": [{"label": "o"} | row for row in rows]}
    found = done(await api.put(f"/codes/{menu['id']}/options", json=body))["options"]
    assert isinstance(found, list)
    return found


async def goals(api: httpx.AsyncClient, number: int = 3) -> list[str]:
    kinds = ["group", "staff", "link"]
    return [(await make_code(api, kind=kinds[n % 3]))["id"] for n in range(number)]


def numbers(arranged: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(one["number"], one["code_id"]) for one in arranged]


async def test_a_menu_leads_to_codes_by_links_of_its_own(api: httpx.AsyncClient, database: Database) -> None:
    menu = await make_code(api, kind="menu")
    a, b, _ = await goals(api)
    arranged = await arrange(
        api, menu, {"label": " 华东 ", "hint": "上海", "code_id": a}, {"label": "华南", "code_id": b}
    )
    url = f"{PUBLIC_URL}/{menu['slug']}"
    assert arranged == [
        {"number": 1, "label": "华东", "hint": "上海", "code_id": a, "url": f"{url}/1"},
        {"number": 2, "label": "华南", "hint": None, "code_id": b, "url": f"{url}/2"},
    ]
    listed = await api.get(f"/codes/{menu['id']}/options")
    assert done(listed) == {"options": arranged}
    assert listed.headers["etag"] == (await api.get(f"/codes/{menu['id']}")).headers["etag"]
    async with database.writing() as tx:
        read = (await snapshots.read_code(tx, CodeId(menu["id"]))).options
    assert read == (Option(1, "华东", "上海", CodeId(a)), Option(2, "华南", None, CodeId(b)))


async def test_an_option_keeps_its_number_wherever_it_stands(api: httpx.AsyncClient) -> None:
    menu = await make_code(api, kind="menu")
    a, b, c = await goals(api)
    await arrange(api, menu, {"code_id": a}, {"code_id": b})
    assert numbers(await arrange(api, menu, {"code_id": b}, {"code_id": c}, {"code_id": a})) == [(2, b), (3, c), (1, a)]
    moved = await arrange(api, menu, {"number": 2, "code_id": a, "label": "anders"}, {"code_id": b})
    assert numbers(moved) == [(2, a), (4, b)]
    assert moved[0]["label"] == "anders"


async def test_the_number_of_a_removed_option_is_never_given_again(api: httpx.AsyncClient, database: Database) -> None:
    menu = await make_code(api, kind="menu")
    a, b, _ = await goals(api)
    await arrange(api, menu, {"code_id": a}, {"code_id": b})
    await arrange(api, menu)
    assert done(await api.get(f"/codes/{menu['id']}/options")) == {"options": []}
    assert numbers(await arrange(api, menu, {"code_id": b}, {"code_id": a})) == [(3, b), (4, a)]
    gone = {"options": [{"number": 1, "label": "o", "code_id": a}]}
    refused(await api.put(f"/codes/{menu['id']}/options", json=gone), 422, "unknown_option", "options.0.number")
    async with database.reading() as connection:
        kept = await connection.execute(
            sa.select(options.c.number, options.c.removed_at.is_not(None))
            .where(options.c.code_id == menu["id"])
            .order_by(options.c.number)
        )
        assert [tuple(row) for row in kept] == [(1, True), (2, True), (3, False), (4, False)]


@pytest.mark.parametrize(
    ("rows", "code", "where"),
    [
        ([{"label": ""}], "invalid", "options.0.label"),
        ([{"label": "x" * 101}], "invalid", "options.0.label"),
        ([{"label": None}], "invalid", "options.0.label"),
        ([{"hint": "\u202eo"}], "invalid", "options.0.hint"),
        ([{"number": 0}], "invalid", "options.0.number"),
        ([{"number": 1_000_000}], "invalid", "options.0.number"),
        ([{"number": "1"}], "invalid", "options.0.number"),
        ([{"code_id": "x"}], "invalid", "options.0.code_id"),
        ([{"url": "https://shop.example"}], "invalid", "options.0.url"),
        ([{}] * 51, "invalid", "options"),
        ([{}] * 10_000, "invalid", "options"),
        ([{}, {"number": 9}], "unknown_option", "options.1.number"),
        ([{"number": 1}, {"number": 1}], "repeated_option", "options.0.number"),
        ([{}, {"code_id": NOWHERE}], "unknown_code", "options.1.code_id"),
    ],
)
async def test_options_that_cannot_be_are_refused_and_change_nothing(
    api: httpx.AsyncClient, rows: list[dict[str, Any]], code: str, where: str
) -> None:
    menu = await make_code(api, kind="menu")
    (goal,) = await goals(api, 1)
    arranged = await arrange(api, menu, {"code_id": goal})
    before = done(await api.get(f"/codes/{menu['id']}"))
    body = {"options": [{"label": "o", "code_id": goal} | row for row in rows]}
    refused(await api.put(f"/codes/{menu['id']}/options", json=body), 422, code, where)
    assert done(await api.get(f"/codes/{menu['id']}/options"))["options"] == arranged
    assert done(await api.get(f"/codes/{menu['id']}")) == before


async def test_a_menu_may_have_fifty_options(api: httpx.AsyncClient) -> None:
    menu = await make_code(api, kind="menu")
    (goal,) = await goals(api, 1)
    assert numbers(await arrange(api, menu, *[{"code_id": goal}] * 50)) == [(n, goal) for n in range(1, 51)]


async def test_an_option_leads_to_an_open_code_of_ones_own_that_is_no_menu(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient
) -> None:
    menu, theirs, closed = await make_code(api, kind="menu"), await make_code(stranger_api), await make_code(api)
    await api.delete(f"/codes/{closed['id']}")
    url = f"/codes/{menu['id']}/options"

    async def lead(goal: str) -> httpx.Response:
        return await api.put(url, json={"options": [{"label": "o", "code_id": goal}]})

    nothing = refused(await lead(NOWHERE), 422, "unknown_code", "options.0.code_id")
    for goal in (theirs, closed):
        assert refused(await lead(goal["id"]), 422, "unknown_code") == nothing
    for goal in (menu, await make_code(api, kind="menu")):
        refused(await lead(goal["id"]), 422, "menu_of_menus", "options.0.code_id")
    assert done(await api.get(url)) == {"options": []}


async def test_a_code_that_is_an_option_can_be_closed(api: httpx.AsyncClient) -> None:
    menu = await make_code(api, kind="menu")
    a, b = await goals(api, 2)
    arranged = await arrange(api, menu, {"code_id": a}, {"code_id": b})
    assert (await api.delete(f"/codes/{a}")).status_code == 204
    assert done(await api.get(f"/codes/{menu['id']}/options"))["options"] == arranged


@pytest.mark.parametrize("kind", ["group", "staff", "link"])
async def test_only_menus_have_options(api: httpx.AsyncClient, kind: str) -> None:
    code = await make_code(api, kind=kind)
    url = f"/codes/{code['id']}/options"
    refused(await api.get(url), 422, "not_a_menu")
    refused(await api.put(url, json={"options": []}), 422, "not_a_menu")
    refused(await api.get(f"{url}/1/qr.png"), 404, "not_found")
    assert done(await api.get(f"/codes/{code['id']}"))["version"] == 1


async def test_options_are_set_only_in_the_version_that_was_seen(api: httpx.AsyncClient) -> None:
    menu = await make_code(api, kind="menu")
    (goal,) = await goals(api, 1)
    url, body = f"/codes/{menu['id']}/options", {"options": [{"label": "o", "code_id": goal}]}
    refused(await api.put(url, json=body, headers={"If-Match": '"2"'}), 412, "changed_meanwhile")
    assert done(await api.get(url)) == {"options": []}
    response = await api.put(url, json=body, headers={"If-Match": '"1"'})
    done(response)
    assert response.headers["etag"] == (await api.get(url)).headers["etag"] != '"1"'


async def test_the_link_to_an_option_can_be_printed(api: httpx.AsyncClient) -> None:
    menu = await make_code(api, kind="menu")
    a, b = await goals(api, 2)
    await arrange(api, menu, {"code_id": a}, {"code_id": b})
    url = f"/codes/{menu['id']}/options"
    drawn = await api.get(f"{url}/2/qr.png?size=600&dark=000080")
    (found,) = zxingcpp.read_barcodes(Image.open(BytesIO(drawn.content)))
    assert found.text == f"{PUBLIC_URL}/{menu['slug']}/2"
    before = await api.get(f"{url}/2/qr.svg")
    assert before.headers["content-type"] == "image/svg+xml"
    known = {"If-None-Match": before.headers["etag"]}
    assert (await api.get(f"{url}/2/qr.svg", headers=known)).status_code == 304
    await arrange(api, menu, {"number": 2, "code_id": a, "label": "anders"})
    assert (await api.get(f"{url}/2/qr.svg")).content == before.content
    refused(await api.get(f"{url}/2/qr.png?dark=red"), 422, "bad_style", "dark")
    for number in ("1", "3", "0", "x", "9999999999"):
        refused(await api.get(f"{url}/{number}/qr.png"), 404, "not_found")
