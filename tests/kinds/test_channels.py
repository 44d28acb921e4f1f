"""Channels (渠道): each its own slug and print, one shared pool, and every event says by which one came."""

from io import BytesIO

import httpx
import zxingcpp
from PIL import Image

from tests.kinds.conftest import MakeLink, Told, group
from tests.scanning import Process
from tests.web.api.steps import done, make_code, make_target


async def test_channels_share_the_places_and_every_event_tells_the_channel(
    process: Process, api: httpx.AsyncClient, told: Told
) -> None:
    code = await group(api, 2)
    poster, card = [
        done(await api.post(f"/codes/{code['id']}/channels", json={"name": name}), 201) for name in ("海报", "卡片")
    ]
    first, second = process.phone(), process.phone()
    assert (await first.visit(poster["slug"])).outcome == "claimed"
    assert (await second.visit(card["slug"])).outcome == "claimed"
    assert (await process.phone().visit(code["slug"])).outcome == "full"
    assert (await first.visit(card["slug"])).outcome == "returned", "one visitor, one place, by any channel"
    assert (await process.phone().client.head(f"/{card['slug']}")).headers["x-huoma-outcome"] == "preview"
    found = [(one.kind.name, one.seat.channel) for one in await told.events(code)]
    assert found == [
        ("CLAIMED", 1), ("SEEN", 1), ("CLAIMED", 2), ("SEEN", 2), ("FULL", 0), ("RETURNED", 1), ("PREVIEW", 2),
    ]  # fmt: skip


async def test_a_new_channel_is_known_to_a_process_that_knows_the_code(
    process: Process, another_process: Process, api: httpx.AsyncClient
) -> None:
    code = await group(api, 9)
    for one in (process, another_process):
        await one.phone().scan(code["slug"])
    channel = done(await api.post(f"/codes/{code['id']}/channels", json={"name": "海报"}), 201)
    for one in (process, another_process):
        assert (await one.phone().scan(channel["slug"])).outcome == "claimed"


async def test_the_print_of_a_removed_channel_says_that_it_is_over(
    process: Process, another_process: Process, api: httpx.AsyncClient, told: Told
) -> None:
    code = await group(api, 9)
    channel = done(await api.post(f"/codes/{code['id']}/channels", json={"name": "海报"}), 201)
    for one in (process, another_process):
        assert (await one.phone().scan(channel["slug"])).outcome == "claimed"
    assert (await api.delete(f"/codes/{code['id']}/channels/{channel['number']}")).status_code == 204
    for one in (process, another_process):
        seen = await one.phone().scan(channel["slug"])
        assert (seen.status, seen.outcome) == (410, "ended")
        assert (await one.phone().scan(code["slug"])).outcome == "claimed"
    assert (await told.kinds(code))["ended channel"] == 2


async def test_a_channel_of_a_menu_stays_with_the_choice(
    process: Process, api: httpx.AsyncClient, link: MakeLink, told: Told
) -> None:
    goal = await link("https://shop.example/")
    menu = done(await api.post("/codes", json={"name": "m", "kind": "menu"}), 201)
    done(await api.put(f"/codes/{menu['id']}/options", json={"options": [{"label": "店", "code_id": goal["id"]}]}))
    channel = done(await api.post(f"/codes/{menu['id']}/channels", json={"name": "海报"}), 201)
    seen = await process.phone().scan(channel["slug"])
    assert f'href="/{channel["slug"]}/1"' in seen.text
    assert (await process.phone().client.get(f"/{channel['slug']}/1")).status_code == 302
    assert [(one.kind.name, one.seat.channel) for one in await told.events(menu)] == [("MENU", 1), ("OPTION", 1)]


async def test_an_acquisition_link_is_a_qr_that_tells_wecom_the_channel(
    process: Process, api: httpx.AsyncClient
) -> None:
    code = await make_code(api, kind="staff")
    link = "https://work.weixin.qq.com/ca/cawcde0123456789ab"
    await make_target(api, code, payload=link)
    channel = done(await api.post(f"/codes/{code['id']}/channels", json={"name": "海报", "state": "poster_a"}), 201)
    for slug, says in ((channel["slug"], f"{link}?customer_channel=poster_a"), (code["slug"], link)):
        phone = process.phone()
        picture = await phone.look(await phone.scan(slug))
        (read,) = zxingcpp.read_barcodes(Image.open(BytesIO(picture.content)))
        assert read.text == says
