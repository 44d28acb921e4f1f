"""Outside WeChat on a phone: codes whose QR only WeChat reads take no place and say how to get there."""

import re
from io import BytesIO

import httpx
import pytest
import zxingcpp
from PIL import Image
from redis.asyncio import Redis

from tests.kinds.conftest import MakeLink, Told, group
from tests.kinds.test_staff import adviser, staff
from tests.scanning import PUBLIC_URL, Make, Process
from tests.web.api.steps import done, make_code

SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1"
ALIPAY = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148 AliApp(AP/10.5.36.6000) AlipayClient/10.5"
)
COMPUTER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)
DESKTOP_WECHAT = "Mozilla/5.0 (Windows NT 10.0) MicroMessenger/7.0.20 WindowsWechat(0x63090a13)"
WECOM = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148 wxwork/4.1.30 MicroMessenger/7.0.1"
MINI = "Mozilla/5.0 (Linux; Android 10) Mobile Safari/537.36 MicroMessenger/8.0.21 MiniProgramEnv/android"


@pytest.mark.parametrize("agent", [SAFARI, ALIPAY, COMPUTER, DESKTOP_WECHAT])
async def test_groups_take_no_place_outside_wechat_on_a_phone(
    process: Process, code: Make, redis: Redis, agent: str
) -> None:
    made = await code(5)
    seen = await process.phone(agent).scan(made.slug)

    assert (seen.status, seen.outcome, seen.image) == (200, "outside_wechat", f"/{made.slug}/print.png")
    assert not re.search("长按识别|按住", seen.text)
    assert await made.places(redis) == [(0, 0)]


@pytest.mark.parametrize("agent", [WECOM, MINI])
async def test_wecom_and_mini_programs_are_inside(process: Process, code: Make, agent: str) -> None:
    assert (await process.phone(agent).scan((await code(5)).slug)).outcome == "claimed"


async def test_staff_codes_are_for_wechat_and_links_are_for_all(
    process: Process, api: httpx.AsyncClient, link: MakeLink
) -> None:
    slugs = [(await staff(api, await adviser(api, "Ann", 9)))["slug"], (await link("https://a.example/"))["slug"]]
    assert [(await process.phone(SAFARI).scan(slug)).outcome for slug in slugs] == ["outside_wechat", "claimed"]


async def test_the_page_on_a_phone_says_three_ways_into_wechat(process: Process, code: Make) -> None:
    made = await code(5)
    phone = process.phone(SAFARI)
    seen = await phone.scan(made.slug)
    picture = await phone.look(seen)

    [read] = zxingcpp.read_barcodes(Image.open(BytesIO(picture.content)))
    assert read.text == f"{PUBLIC_URL}/{made.slug}", "what is saved is the print"
    assert "扫印刷的二维码" in seen.text
    assert "从相册选图片" in seen.text
    assert f'<p class="link" dir="ltr">{PUBLIC_URL}/{made.slug}</p>' in seen.text
    assert "<button" in seen.text


async def test_a_computer_shows_the_print_for_the_phone(process: Process, code: Make) -> None:
    seen = await process.phone(COMPUTER).scan((await code(5)).slug)
    assert "打开手机微信，扫一扫" in seen.text
    assert "<button" not in seen.text


async def test_a_code_that_is_said_to_be_for_all_says_what_works(process: Process, code: Make, redis: Redis) -> None:
    made = await code(5, wechat_only=False)
    seen = await process.phone(SAFARI).scan(made.slug)

    assert seen.outcome == "claimed"
    assert "保存图片，用微信扫码加入群聊" in seen.text
    assert "长按识别" not in seen.text
    assert await made.places(redis) == [(1, 1)]


async def test_a_client_that_asks_for_json_is_no_browser(process: Process, code: Make) -> None:
    made = await code(5)
    for agent in (SAFARI, "okhttp/4.12.0"):
        answer = await process.phone(agent, Accept="application/json").client.get(f"/{made.slug}")
        assert answer.json()["outcome"] == "claimed"
    only = await code(5, wechat_only=True)
    answer = await process.phone(SAFARI, Accept="application/json").client.get(f"/{only.slug}")
    assert answer.json()["outcome"] == "outside_wechat", "what was said applies to all"


async def test_the_choice_is_kept_and_can_be_taken_back(process: Process, api: httpx.AsyncClient) -> None:
    code = await group(api, 9)
    told = []
    for said in (False, True, None):
        changed = done(await api.patch(f"/codes/{code['id']}", json={"wechat_only": said}))
        told.append((changed["wechat_only"], (await process.phone(SAFARI).scan(code["slug"])).outcome))
    assert code["wechat_only"] is None
    assert told == [(False, "claimed"), (True, "outside_wechat"), (None, "outside_wechat")]


async def test_the_print_of_what_is_not_there_is_not_drawn(process: Process, code: Make, told: Told) -> None:
    made = await code(5)
    phone = process.phone(SAFARI)
    unknown = await phone.client.get("/never-made/print.png")
    known = await phone.client.get(f"/{made.slug}/3/print.png")
    assert (unknown.status_code, zxingcpp.read_barcodes(Image.open(BytesIO(unknown.content)))) == (404, [])
    assert zxingcpp.read_barcodes(Image.open(BytesIO(known.content)))[0].text == f"{PUBLIC_URL}/{made.slug}/3"
    assert not await told.kinds(), "a picture alone is no scan"


async def test_an_option_of_a_menu_leads_outside_with_its_own_address(process: Process, api: httpx.AsyncClient) -> None:
    there = await group(api, 9)
    menu = await make_code(api, kind="menu")
    done(await api.put(f"/codes/{menu['id']}/options", json={"options": [{"label": "上海", "code_id": there["id"]}]}))
    seen = await process.phone(SAFARI).scan(f"{menu['slug']}/1")
    assert (seen.outcome, seen.image) == ("outside_wechat", f"/{menu['slug']}/1/print.png")
