"""The landing pages as a phone shows them: the code can be read, all fits, and nothing that a marketer typed runs."""

import asyncio
import io
from typing import Any, Final

import pytest
import qrcode
import zxingcpp
from PIL import Image
from starlette.types import ASGIApp, Receive, Scope, Send

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
            status, headers, content = 200, list(pages.HEADERS[language]), body
        elif scope["path"] == "/code.png" and image is not None:
            status, headers, content = 200, [(b"content-type", b"image/png")], image
        elif scope["path"] == "/favicon.ico":
            status = 204
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


def qr_page(**changes: Any) -> bytes:
    usual: dict[str, Any] = {
        "code_name": "夏日读书会",
        "title": "夏日读书会 · 新朋友请进",
        "notice": "进群后请把昵称改成“城市 + 名字”。",
        "target_name": "读书会 3 群",
        "kind": TargetKind.WECHAT_GROUP,
        "image_url": "/code.png",
        "language": Language.ZH,
        "desktop": False,
    }
    return pages.qr_page(**usual | changes)


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
async def test_the_code_can_be_read_from_the_screen_and_all_fits_without_scrolling(
    chromium: Chromium, serve: Serve, size: Size, language: Language, *, dark: bool
) -> None:
    origin = await serve(site(qr_page(language=language), language, picture()))

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
async def test_the_longest_texts_do_not_push_the_code_or_the_call_off_the_screen(
    chromium: Chromium, serve: Serve, size: Size
) -> None:
    texts = {"title": "很长的标题" * 100, "notice": WORST_NOTICE, "target_name": "W" * 100}
    origin = await serve(site(qr_page(**texts), image=picture()))

    async with chromium.page(size) as page:
        await page.go(origin)
        screen = await page.screenshot()
        call_ends = await page.evaluate("document.querySelector('.call').getBoundingClientRect().bottom")
        sideways = await page.evaluate("document.documentElement.scrollWidth - innerWidth")

    assert read(screen) == [PAYLOAD]
    assert call_ends <= size[1]
    assert sideways == 0


async def test_a_phone_held_sideways_still_shows_the_whole_code(chromium: Chromium, serve: Serve) -> None:
    origin = await serve(site(qr_page(), image=picture()))

    async with chromium.page((667, 331)) as page:
        image = await picture_on_screen(await page.go(origin))

    assert min(image["top"], image["bottom"]) >= 0


async def test_a_computer_shows_a_code_for_the_phone(chromium: Chromium, serve: Serve) -> None:
    origin = await serve(site(qr_page(desktop=True), image=picture()))

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
async def test_every_other_page_fits_the_smallest_phone_in_silence(
    chromium: Chromium, serve: Serve, language: Language
) -> None:
    texts: dict[str, Any] = {"code_name": "c", "title": "夏日读书会 W" + "W" * 90, "language": language}
    url = "https://huoma.example/" + "k" * 40
    bodies = [
        pages.full_page(**texts),
        pages.preview_page(**texts),
        pages.outside_wechat_page(**texts, url=url, desktop=False),
        pages.outside_wechat_page(**texts, url=url, desktop=True),
        pages.limited_page(seconds=60, language=language),
        pages.unavailable_page(seconds=60, language=language),
        pages.unknown_page(language=language),
        pages.closed_page(language=language),
    ]
    origins = await asyncio.gather(*(serve(site(body, language)) for body in bodies))

    async with chromium.page(SMALL_PHONE) as page:
        for origin in origins:
            await page.go(origin)
            assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
            assert await page.evaluate("document.documentElement.scrollHeight - innerHeight") == 0
            assert await page.evaluate("document.querySelectorAll('h1').length") == 1

    assert page.complaints == []
