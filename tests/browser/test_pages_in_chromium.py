"""The landing pages as a phone shows them: the code can be read, all fits, and nothing that a marketer typed runs."""

import asyncio
import io
from collections.abc import Callable
from typing import Any, Final

import pytest
import qrcode
import zxingcpp
from PIL import Image
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.code import CodeKind
from app.domain.openings import Shortage
from app.domain.payload import TargetKind
from app.web import pages
from app.web.pages import Language

from .conftest import LARGE_PHONE, SMALL_PHONE, WECHAT_IOS, Chromium, Page, Serve, Size

PAYLOAD: Final = "https://weixin.qq.com/g/AwYAA" + "Zx9_-" * 11 + "qqqq"
# An iPhone SE as WeChat leaves it: the navigation bar is WeChat's own.
SMALL_PHONE_IN_WECHAT: Final = (320, 504)
WINDOWS_WECHAT: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36 "
    "NetType/WIFI MicroMessenger/7.0.20.1781(0x6700143B) WindowsWechat(0x63090a13) XWEB/16467 Flue"
)
WORST_NOTICE: Final = ("每天只进一次\n" * 40 + "W" * 220)[:500]


NAMED: Final[dict[str, Any]] = {
    "code_name": "夏日读书会",
    "title": "夏日读书会 · 新朋友请进",
    "language": Language.ZH,
}


def picture() -> bytes:
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_M, box_size=12, border=4)
    code.add_data(PAYLOAD)
    file = io.BytesIO()
    code.make_image().save(file, "PNG")
    return file.getvalue()


def site(body: bytes, language: Language = Language.ZH, image: bytes | None = None) -> ASGIApp:
    """Answer `/` with one page, under the headers of all pages, and `/code.png` with a picture."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        status, headers, content = 404, [(b"content-type", b"text/plain")], b""
        if scope["path"] == "/":
            status, headers, content = 200, list(pages.HEADERS), body
        elif scope["path"] == "/code.png" and image is not None:
            status, headers, content = 200, [(b"content-type", b"image/png")], image
        elif scope["path"] == "/favicon.ico":
            status = 204
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


def qr_page(**changes: Any) -> bytes:
    usual: dict[str, Any] = {
        **NAMED,
        "notice": "进群后请把昵称改成“城市 + 名字”。",
        "target_name": "读书会 3 群",
        "kind": TargetKind.WECHAT_GROUP,
        "image_url": "/code.png",
        "place": "phone",
    }
    return pages.qr_page(**usual | changes)


def static_page(**changes: Any) -> bytes:
    usual: dict[str, Any] = {
        **NAMED,
        "message": "今天的群都满了，先加店长微信，她会拉你进下一个群。",
        "image_url": "/code.png",
        "kind": TargetKind.WECHAT_PERSONAL,
        "place": "phone",
    }
    return pages.static_page(**usual | changes)


def menu_page(**changes: Any) -> bytes:
    options = [(f"{i} 号门店", "周末有活动" if i % 2 else None, f"/menu/{i}") for i in range(1, 9)]
    usual: dict[str, Any] = {**NAMED, "notice": None, "options": options}
    return pages.menu_page(**usual | changes)


def tap_page(**changes: Any) -> bytes:
    usual: dict[str, Any] = {**NAMED, "notice": None, "url": "/mini", "desktop": False}
    return pages.tap_page(**usual | changes)


async def tap(page: Page, selector: str) -> None:
    """Put a finger on the middle of an element; unlike a click of a script, this works on pages without scripts."""
    document = await page.call("DOM.getDocument")
    node = await page.call("DOM.querySelector", nodeId=document["root"]["nodeId"], selector=selector)
    corners = (await page.call("DOM.getBoxModel", nodeId=node["nodeId"]))["model"]["border"]
    point = {"x": (corners[0] + corners[4]) / 2, "y": (corners[1] + corners[5]) / 2}
    for kind in ("mousePressed", "mouseReleased"):
        await page.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **point)


def read(screen: Image.Image) -> list[str]:
    return [code.text for code in zxingcpp.read_barcodes(screen, try_invert=False)]


def brightness(screen: Image.Image, left: float, top: float) -> int:
    """Look at one point of the screen, given in CSS pixels at the usual scale of two: 0 is black, 255 is white."""
    return screen.convert("L").crop((int(left * 2), int(top * 2), int(left * 2) + 1, int(top * 2) + 1)).tobytes()[0]


async def picture_on_screen(page: Page) -> dict[str, float]:
    """Measure the one picture, and count the points of it at which something else lies on top."""
    found: dict[str, float] = await page.evaluate("""(() => {
        const [image, ...others] = document.images, box = image.getBoundingClientRect();
        const at = (i, of, start) => start + of * (0.02 + 0.12 * i);
        let covered = 0;
        for (let i = 0; i < 9; i++) for (let j = 0; j < 9; j++)
            covered += document.elementFromPoint(at(i, box.width, box.left), at(j, box.height, box.top)) !== image;
        return {others: others.length, covered, width: box.width, height: box.height, left: box.left, top: box.top,
                right: innerWidth - box.right, bottom: innerHeight - box.bottom};
    })()""")
    return found


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [SMALL_PHONE, LARGE_PHONE], ids=["320x568", "412x915"])
@pytest.mark.parametrize("write", [qr_page, static_page])
async def test_the_code_can_be_read_from_the_screen_and_all_fits_without_scrolling(
    chromium: Chromium, serve: Serve, write: Callable[..., bytes], size: Size, language: Language, *, dark: bool
) -> None:
    origin = await serve(site(write(language=language), language, picture()))

    async with chromium.page(size, WECHAT_IOS, dark=dark) as page:
        await page.go(origin)
        screen = await page.screenshot()
        image = await picture_on_screen(page)
        overflow = await page.evaluate(
            "[document.documentElement.scrollHeight - innerHeight, document.documentElement.scrollWidth - innerWidth]"
        )

    assert read(screen) == [PAYLOAD]
    assert (brightness(screen, 1, 1) < 64) is dark
    # The quiet zone and the card around it stay white in the dark, or phones would not find the code.
    assert brightness(screen, image["left"] - 2, image["top"] + 20) == 255
    assert brightness(screen, image["left"] + 2, image["top"] + 2) == 255
    assert image["width"] >= 240
    assert image["width"] == image["height"]
    assert (image["others"], image["covered"]) == (0, 0)
    assert overflow == [0, 0]
    assert page.complaints == []
    assert page.requests[:2] == [f"{origin}/", f"{origin}/code.png"]


@pytest.mark.parametrize("size", [SMALL_PHONE_IN_WECHAT, SMALL_PHONE, LARGE_PHONE], ids=str)
@pytest.mark.parametrize(
    ("write", "texts"),
    [
        (qr_page, {"notice": WORST_NOTICE, "target_name": "W" * 100}),
        (static_page, {"message": WORST_NOTICE}),
        (static_page, {"message": "先" * 80}),
    ],
    ids=["qr", "static-folded", "static-unfolded"],
)
async def test_the_longest_texts_do_not_push_the_code_or_the_call_off_the_screen(
    chromium: Chromium, serve: Serve, write: Callable[..., bytes], texts: dict[str, str], size: Size
) -> None:
    origin = await serve(site(write(title="很长的标题" * 100, **texts), image=picture()))

    async with chromium.page(size) as page:
        await page.go(origin)
        screen = await page.screenshot()
        call_ends = await page.evaluate("document.querySelector('.call').getBoundingClientRect().bottom")
        sideways = await page.evaluate("document.documentElement.scrollWidth - innerWidth")

    assert read(screen) == [PAYLOAD]
    assert call_ends <= size[1]
    assert sideways == 0


@pytest.mark.parametrize("write", [qr_page, static_page])
async def test_a_phone_held_sideways_still_shows_the_whole_code(
    chromium: Chromium, serve: Serve, write: Callable[..., bytes]
) -> None:
    origin = await serve(site(write(), image=picture()))

    async with chromium.page((667, 331)) as page:
        image = await picture_on_screen(await page.go(origin))
        call_ends = await page.evaluate("document.querySelector('.call').getBoundingClientRect().bottom")

    assert min(image["top"], image["bottom"]) >= 0
    assert call_ends <= 331


async def test_a_computer_shows_a_code_for_the_phone(chromium: Chromium, serve: Serve) -> None:
    origin = await serve(site(qr_page(place="computer"), image=picture()))

    async with chromium.page((1280, 800), WINDOWS_WECHAT, scale=1) as page:
        await page.go(origin)
        screen, text = await page.screenshot(), await page.evaluate("document.body.innerText")

    assert read(screen) == [PAYLOAD]
    assert "用手机微信扫码" in text
    assert "长按" not in text


async def test_what_a_marketer_typed_never_runs(chromium: Chromium, serve: Serve) -> None:
    attack = (
        "\"'></title></h1></p><script>ran = 1</script><img src=/x onerror='ran = 1'><svg onload='ran = 1'>"
        "<a href='javascript:ran = 1'>{{ 7 * 7 }}</a><style>img{display:none}</style><hole>"
    )
    texts = dict.fromkeys(("code_name", "title", "notice", "target_name"), attack)
    origin = await serve(site(qr_page(**texts), image=picture()))

    async with chromium.page() as page:
        await page.go(origin)
        ran, text = await page.evaluate("[typeof ran, document.body.innerText]")
        links = await page.evaluate("[...document.links].map(link => link.getAttribute('href'))")
        image = await picture_on_screen(page)

    assert ran == "undefined"
    assert text.count(attack) == 3
    assert links == [""]
    assert image["others"] == 0
    assert page.complaints == []
    assert {url.removeprefix(origin) for url in page.requests} <= {"/", "/code.png", "/favicon.ico"}


async def test_what_a_marketer_typed_never_runs_on_a_page_of_links(chromium: Chromium, serve: Serve) -> None:
    attack = "</a></b></summary></title><script>ran = 1</script><img src=/x onerror='ran = 1'>\" onclick=\"ran = 1"
    texts = {"title": attack, "notice": attack * 4}
    menu = await serve(site(menu_page(**texts, options=[(attack, attack, f"/menu/{attack}")])))
    mini = await serve(site(tap_page(**texts, url="javascript:document.title=ran=1")))

    async with chromium.page() as page:
        shown = []
        for origin in (menu, mini):
            await page.go(origin)
            await tap(page, "h1")
            shown.append(await page.evaluate("[typeof ran, document.images.length, document.links.length]"))
        before = list(page.complaints)
        await tap(page, ".button")
        ran = await page.evaluate("typeof ran")

    assert shown == [["undefined", 0, 1]] * 2
    assert before == []
    assert ran == "undefined"
    assert [words for words in page.complaints if "Content Security Policy" in words] == page.complaints != []


@pytest.mark.parametrize("size", [SMALL_PHONE, LARGE_PHONE], ids=["320x568", "412x915"])
async def test_every_option_of_a_menu_is_wide_and_high_enough_for_a_thumb(
    chromium: Chromium, serve: Serve, size: Size
) -> None:
    options = [("上海", None, "/menu/1"), ("W" * 100, "W" * 100, "/menu/2"), ("تقنية", "选" * 100, "/menu/3")] * 16
    origin = await serve(site(menu_page(title="W" * 100, notice=WORST_NOTICE, options=options)))

    async with chromium.page(size) as page:
        await page.go(origin)
        boxes = await page.evaluate("""[...document.links].map(link => {
            const box = link.getBoundingClientRect(), texts = [...link.children];
            return [box.width, box.height, Math.max(...texts.map(text => text.scrollWidth - text.clientWidth))];
        })""")
        first = await page.evaluate("document.links[0].getBoundingClientRect().bottom")
        sideways = await page.evaluate("document.documentElement.scrollWidth - innerWidth")

    assert len(boxes) == 48
    assert all(width >= 288 and height >= 48 and cut == 0 for width, height, cut in boxes)
    assert first <= size[1]
    assert sideways == 0
    assert page.complaints == []


async def test_without_javascript_an_option_a_mini_program_and_a_folded_text_open_by_a_tap(
    chromium: Chromium, serve: Serve
) -> None:
    menu, mini = await serve(site(menu_page())), await serve(site(tap_page()))
    folded = await serve(site(static_page(message=WORST_NOTICE), image=picture()))

    async with chromium.page(scripts=False) as page:
        await page.go(menu)
        await tap(page, "li:nth-child(3) a")
        await page.loaded()
        await page.go(mini)
        await tap(page, ".button")
        await page.loaded()
        await page.go(folded)
        closed = await page.call("Page.getLayoutMetrics")
        await tap(page, "summary")
        opened = await page.call("Page.getLayoutMetrics")

    assert {f"{menu}/menu/3", f"{mini}/mini"} <= set(page.requests)
    assert closed["cssContentSize"]["height"] == LARGE_PHONE[1]
    assert opened["cssContentSize"]["height"] > 1.5 * LARGE_PHONE[1]


async def test_a_computer_is_asked_to_open_the_mini_program_on_the_phone(chromium: Chromium, serve: Serve) -> None:
    origin = await serve(site(tap_page(desktop=True)))

    async with chromium.page((1280, 800), WINDOWS_WECHAT, scale=1) as page:
        await page.go(origin)
        text, buttons = await page.evaluate("[document.body.innerText, document.querySelectorAll('.button').length]")

    assert "小程序要在手机上打开" in text
    assert buttons == 0


async def test_the_policy_stops_what_escaping_would_let_through(chromium: Chromium, serve: Serve) -> None:
    body = qr_page().replace(b"</main>", b"<script>ran = 1</script><img src='https://host.invalid/x.png'></main>")
    origin = await serve(site(body, image=picture()))

    async with chromium.page() as page:
        await page.go(origin)
        ran = await page.evaluate("typeof ran")

    assert ran == "undefined"
    assert len([words for words in page.complaints if "Content Security Policy" in words]) == 2


async def test_without_javascript_the_code_shows_and_a_busy_page_comes_back_by_itself(
    chromium: Chromium, serve: Serve
) -> None:
    shown = await serve(site(qr_page(), image=picture()))
    busy = await serve(site(pages.limited_page(seconds=1, language=Language.ZH)))

    async with chromium.page(scripts=False) as page:
        screen = await (await page.go(shown)).screenshot()
        await page.go(busy)
        await page.loaded()

    assert read(screen) == [PAYLOAD]
    assert page.requests.count(f"{busy}/") == 2


async def test_a_page_out_of_the_back_forward_cache_reloads(chromium: Chromium, serve: Serve) -> None:
    origin = await serve(site(qr_page(), image=picture()))

    async with chromium.page() as page:
        await page.go(origin)
        await page.evaluate("void dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
        await page.loaded()

    assert page.requests.count(f"{origin}/") == 2


async def test_a_picture_that_does_not_come_leaves_words_and_a_way_to_reload(chromium: Chromium, serve: Serve) -> None:
    origin = await serve(site(qr_page(), image=None))

    async with chromium.page(SMALL_PHONE) as page:
        await page.go(origin)
        alternative = await page.evaluate("document.images[0].alt")
        link_ends = await page.evaluate("document.links[0].getBoundingClientRect().bottom")
        await page.evaluate("document.links[0].click()")
        await page.loaded()

    assert "刷新页面" in alternative
    assert link_ends <= SMALL_PHONE[1]
    assert page.requests.count(f"{origin}/") == 2


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("desktop", [False, True], ids=["phone", "computer"])
async def test_outside_wechat_the_print_and_what_to_do_with_it_fit_the_smallest_phone(
    chromium: Chromium, serve: Serve, language: Language, *, desktop: bool
) -> None:
    texts: dict[str, Any] = {"code_name": "c", "title": "夏日读书会 W" + "W" * 90, "language": language}
    url = "https://huoma.example/" + "k" * 40
    body = pages.outside_wechat_page(**texts, url=url, image_url="/code.png", desktop=desktop)
    origin = await serve(site(body, language, picture()))

    async with chromium.page(SMALL_PHONE) as page:
        await page.go(origin)
        screen = await page.screenshot()
        call_ends = await page.evaluate("document.querySelector('.call').getBoundingClientRect().bottom")
        sideways = await page.evaluate("document.documentElement.scrollWidth - innerWidth")

    assert read(screen) == [PAYLOAD]
    assert call_ends <= SMALL_PHONE[1]
    assert sideways == 0
    assert page.complaints == []


@pytest.mark.parametrize("language", Language)
async def test_every_other_page_fits_the_smallest_phone_in_silence(
    chromium: Chromium, serve: Serve, language: Language
) -> None:
    texts: dict[str, Any] = {"code_name": "c", "title": "夏日读书会 W" + "W" * 90, "language": language}
    bodies = [
        pages.shortage_page(**texts, why=Shortage.FULL, kind=CodeKind.GROUP),
        pages.preview_page(**texts),
        pages.limited_page(seconds=60, language=language),
        pages.unavailable_page(seconds=60, language=language),
        pages.unknown_page(language=language),
        pages.closed_page(language=language),
        pages.disabled_page(**texts),
        pages.not_open_page(**texts, opens_at="2026-12-01 10:00"),
        pages.ended_page(**texts),
        pages.tap_page(**texts, notice=None, url="weixin://dl/business/?t=x", desktop=False),
        pages.tap_page(**texts, notice=None, url="weixin://dl/business/?t=x", desktop=True),
        pages.menu_page(**texts, notice=None, options=[("上海", None, "/menu/1"), ("W" * 60, "W" * 90, "/menu/2")]),
    ]
    origins = await asyncio.gather(*(serve(site(body, language)) for body in bodies))

    async with chromium.page(SMALL_PHONE) as page:
        for origin in origins:
            await page.go(origin)
            assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
            assert await page.evaluate("document.documentElement.scrollHeight - innerHeight") == 0
            assert await page.evaluate("document.querySelectorAll('h1').length") == 1

    assert page.complaints == []
