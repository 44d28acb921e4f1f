"""Where visitors go when nobody has room (兜底): another code, a URL, or a static QR with a message."""

import io
from typing import Any

import httpx
import zxingcpp
from PIL import Image

from tests.conftest import Clock
from tests.kinds.conftest import MakeLink, Told, group
from tests.scanning import Process
from tests.web.api.steps import done, make_code

CONTACT = "https://u.wechat.com/M56zaWR7PAmpBFXlNPHcSke"


async def test_a_full_code_sends_on_to_a_url(process: Process, api: httpx.AsyncClient, told: Told) -> None:
    code = await group(api, 1, fallback={"url": "https://shop.example/"})
    assert (await process.phone().visit(code["slug"])).outcome == "claimed"
    answer = await process.phone().client.get(f"/{code['slug']}")
    assert (answer.status_code, answer.headers["location"]) == (302, "https://shop.example/")
    assert answer.headers["x-huoma-outcome"] == "fallback"
    assert "no-store" in answer.headers["cache-control"]
    assert await told.kinds(code) == {"claimed": 1, "seen": 1, "fallback full": 1}


async def test_a_full_code_shows_a_static_qr_with_its_message(process: Process, api: httpx.AsyncClient) -> None:
    code = await group(api, 0, fallback={"payload": CONTACT, "message": "群满了 <b>加我</b>"})
    phone = process.phone()
    seen = await phone.scan(code["slug"])
    assert (seen.status, seen.outcome) == (200, "fallback")
    assert "群满了 &lt;b&gt;加我&lt;/b&gt;" in seen.text
    assert seen.image == f"/{code['slug']}/fallback.png"
    picture = await phone.look(seen)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    assert zxingcpp.read_barcodes(_image(picture.content))[0].text == CONTACT


async def test_there_is_no_picture_of_a_fallback_that_there_is_not(process: Process, api: httpx.AsyncClient) -> None:
    code = await group(api, 1)
    for slug in (code["slug"], "nobody", "no such slug"):
        answer = await process.phone().client.get(f"/{slug}/fallback.png")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "image/png")


async def test_a_full_code_sends_on_along_the_chain_and_each_records_it(
    process: Process, api: httpx.AsyncClient, told: Told
) -> None:
    last = await group(api, 5)
    middle = await group(api, 0, fallback={"code_id": last["id"]})
    first = await group(api, 0, fallback={"code_id": middle["id"]})
    phone = process.phone()
    seen = await phone.visit(first["slug"])
    assert (seen.outcome, seen.target) == ("fallback", last["targets"][0]["id"])
    assert seen.image
    assert seen.image.startswith(f"/{last['slug']}/")
    assert await told.kinds(first) == await told.kinds(middle) == {"fallback full": 1}
    assert await told.kinds(last) == {"claimed": 1, "seen": 1}


async def test_who_was_sent_on_comes_back_to_the_same_place_even_when_there_is_room_again(
    process: Process, api: httpx.AsyncClient, told: Told
) -> None:
    last = await group(api, 5)
    first = await group(api, 0, fallback={"code_id": last["id"]})
    phone = process.phone()
    await phone.visit(first["slug"])
    done(await api.patch(f"/targets/{first['targets'][0]['id']}", json={"member_limit": 5}))
    again = await phone.visit(first["slug"])
    assert (again.outcome, again.target) == ("fallback", last["targets"][0]["id"])
    assert (await process.phone().visit(first["slug"])).outcome == "claimed"
    assert await told.kinds(first) == {"fallback full": 1, "fallback returned": 1, "claimed": 1, "seen": 1}


async def test_a_chain_that_ends_full_says_so(process: Process, api: httpx.AsyncClient) -> None:
    last = await group(api, 0)
    first = await group(api, 0, fallback={"code_id": last["id"]})
    seen = await process.phone().scan(first["slug"])
    assert (seen.status, seen.outcome) == (503, "full")


async def test_a_chain_to_a_code_that_was_closed_says_full(process: Process, api: httpx.AsyncClient) -> None:
    last = await group(api, 5)
    first = await group(api, 0, fallback={"code_id": last["id"]})
    assert (await process.phone().scan(first["slug"])).outcome == "fallback"
    assert (await api.delete(f"/codes/{last['id']}")).status_code == 204
    assert (await process.phone().scan(first["slug"])).outcome == "full"


async def test_a_menu_may_be_a_fallback(process: Process, api: httpx.AsyncClient, link: MakeLink) -> None:
    menu = await make_code(api, kind="menu")
    goal = await link("https://shop.example/")
    done(await api.put(f"/codes/{menu['id']}/options", json={"options": [{"label": "店", "code_id": goal["id"]}]}))
    code = await group(api, 0, fallback={"code_id": menu["id"]})
    seen = await process.phone().scan(code["slug"])
    assert (seen.status, seen.outcome) == (200, "fallback")
    assert f'href="/{menu["slug"]}/1"' in seen.text


async def test_the_next_scan_of_every_process_knows_a_new_fallback(
    process: Process, another_process: Process, api: httpx.AsyncClient
) -> None:
    code = await group(api, 0)
    for one in (process, another_process):
        assert (await one.phone().scan(code["slug"])).outcome == "full"
    done(await api.patch(f"/codes/{code['id']}", json={"fallback": {"url": "https://shop.example/"}}))
    for one in (another_process, process):
        assert (await one.phone().scan(code["slug"])).outcome == "fallback"


async def test_a_group_that_expired_is_the_reason(
    process: Process, api: httpx.AsyncClient, clock: Clock, told: Told
) -> None:
    code = await group(api, 5, fallback={"url": "https://shop.example/"})
    clock.forward(days=8)
    assert (await process.phone().scan(code["slug"])).outcome == "fallback"
    assert await told.kinds(code) == {"fallback expired": 1}


def _image(data: bytes) -> Any:
    return Image.open(io.BytesIO(data))
