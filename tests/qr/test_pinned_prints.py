"""The bytes of prints are a promise: what was drawn before an upgrade is drawn again after it.

The figures were taken from version 1 of the drawing. PNG is compared by its pixels, since another zlib packs them
differently; SVG byte by byte.
"""

import hashlib
import re
from typing import Any

import pytest

from app.qr.draw import PrintStyle, draw_png, draw_svg
from tests.qr.test_draw import GROUP, TEXT, embedded, logo, opened


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


@pytest.mark.parametrize(
    ("text", "style", "pixels", "svg"),
    [
        (TEXT, {}, "09765769b36c458548c2a4922945f0cc", "e15389bdb39c3a74f7d526d2cd822286"),
        (
            TEXT,
            {"size": 333, "border": 0, "ec": "L"},
            "eafb57c42bcacfbf2b732300659b8d27",
            "06c1e39da1bdfb42c4cdb5a21c1aa50c",
        ),
        (
            TEXT,
            {"size": 777, "border": 16, "ec": "Q", "dark": "#07c160", "light": "#fffdf5"},
            "7bb9619c033fed48251ff0e2ccc46229",
            "c904ccb4fe58a9d51fa3607272b31a70",
        ),
        (
            GROUP,
            {"size": 2048, "border": 2, "ec": "H", "dark": "#1a2b3c"},
            "aab946bdc6989ad9cc866d0d1035a19d",
            "ec1c8d285a48afbcdfcf10ceed2b9a1b",
        ),
    ],
)
def test_a_print_without_a_caption_is_drawn_as_it_always_was(
    text: str, style: dict[str, Any], pixels: str, svg: str
) -> None:
    data = draw_png(text, PrintStyle(**style))
    png = opened(data)
    size = style.get("size", 1024)
    assert (png.mode, png.size, len(png.getpalette() or [])) == ("P", (size, size), 6)
    # One bit a pixel, by a palette.
    assert data[24:26] == b"\x01\x03"
    assert digest(png.convert("RGB").tobytes()) == pixels
    assert digest(draw_svg(text, PrintStyle(**style))) == svg


def test_a_print_with_a_logo_is_drawn_as_it_always_was() -> None:
    style = PrintStyle(size=800, dark="#222222", logo=logo())
    png, svg = opened(draw_png(TEXT, style)), draw_svg(TEXT, style)
    assert (png.mode, png.size) == ("RGB", (800, 800))
    assert digest(png.tobytes()) == "5dcef9163885d3d25a088c897bf416a9"
    assert digest(re.sub(rb'xlink:href="[^"]*"', b"", svg)) == "0438d883e2fac2561b81ac81c84a0ce3"
    assert digest(opened(embedded(svg)).tobytes()) == "b64a6a8cb7aa8319240ab617d94d6aa1"
