"""Captions of SVG prints as a browser sets them: inside the margins in any font, and the code is read."""

import json
from typing import Final

import pytest
import zxingcpp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.qr.draw import PrintStyle, draw_svg
from tests.qr.test_draw import TEXT, logo

from .conftest import Chromium, Serve

CAPTIONS: Final = (
    "扫码进群", "微信扫一扫，加入会员群", "扫码加入春日咖啡会员群，领 20 元优惠券，每天十点开抢", "春日咖啡 · 3 店",
    "长按识别二维码关注我们领取新人大礼包", "Scan to join the group", "Scan with WeChat to talk to our advisers",
    "MMMMMMMM WWWWWWWW", "WILLIAM'S WAFFLES & MORE", "illicit lilliputian", "0123456789 012345 6789",
    "<b>&amp; “quotes” — and “dashes”", "Присоединяйтесь к группе", "Ệ Ể Ổ ÅÉÎÕÜ ǻ", "🎉 扫码领券 🎉",
    "انضم إلى المجموعة",
)  # fmt: skip
# What is there where none of the listed families is: narrow and wide ones, with and without serifs.
FAMILIES: Final = (None, "sans-serif", "serif", "DejaVu Sans", "Verdana, DejaVu Sans")


def served(prints: list[bytes]) -> Starlette:
    """Serve prints as the API does."""

    async def one(request: Request) -> Response:
        headers = {"Content-Security-Policy": "default-src 'none'; img-src data:; frame-ancestors 'none'"}
        return Response(prints[request.path_params["number"]], media_type="image/svg+xml", headers=headers)

    return Starlette(routes=[Route("/{number:int}.svg", one)])


@pytest.mark.parametrize(("border", "margin"), [(0, 0.039), (4, 0.107)])
async def test_a_caption_stays_inside_the_margins_in_every_font(
    chromium: Chromium, serve: Serve, border: int, margin: float
) -> None:
    styles = [PrintStyle(caption=caption, border=border, dark="#1a2b3c") for caption in CAPTIONS]
    origin = await serve(served([draw_svg(TEXT, style) for style in styles]))
    async with chromium.page((1100, 1500), "desktop", scale=1) as page:
        for number, caption in enumerate(CAPTIONS):
            await page.go(f"{origin}/{number}.svg")
            for family in FAMILIES:
                boxes = await page.evaluate(
                    f"(() => {{ const family = {json.dumps(family)}; const svg = document.documentElement;"
                    "const all = [...svg.querySelectorAll('text')];"
                    "if (family) all.forEach(one => one.setAttribute('font-family', family));"
                    "return all.map(one => { const box = one.getBBox(); const side = svg.viewBox.baseVal.width;"
                    "const end = svg.viewBox.baseVal.height;"
                    "return [box.x / side, (box.x + box.width) / side, (box.y + box.height) / end]; }); })()"
                )
                assert boxes
                for left, right, bottom in boxes:
                    assert left > margin, (caption, family)
                    assert right < 1 - margin, (caption, family)
                    assert bottom <= 1, (caption, family)
        assert page.complaints == []
        assert {url.rpartition("/")[0] for url in page.requests} == {origin}


@pytest.mark.parametrize("picture", [None, logo()], ids=["plain", "logo"])
async def test_a_print_with_a_caption_is_read_from_the_screen(
    chromium: Chromium, serve: Serve, picture: bytes | None
) -> None:
    styles = [PrintStyle(caption=caption, size=400, logo=picture) for caption in CAPTIONS]
    origin = await serve(served([draw_svg(TEXT, style) for style in styles]))
    async with chromium.page((500, 700), "desktop", scale=2) as page:
        for number, caption in enumerate(CAPTIONS):
            screen = await (await page.go(f"{origin}/{number}.svg")).screenshot()
            assert [code.text for code in zxingcpp.read_barcodes(screen.convert("L"))] == [TEXT], caption
            below = screen.convert("L").crop((0, 800, 800, 1100))
            assert min(below.tobytes()) < 100, caption
