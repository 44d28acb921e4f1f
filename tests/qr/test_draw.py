"""Drawings: each is read back by a decoder here too, from its bytes alone."""

import base64
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, ImageOps, PngImagePlugin

from app.domain.errors import Refusal
from app.qr.draw import PrintStyle, _prove, draw_png, draw_svg, placeholder_png, target_png, terminal

TEXT = "https://go.example.com/aB3xY9"
GROUP = "https://weixin.qq.com/g/AwYAAExampleExampleExampleExampleExampleExampleExampleExample_AB"
SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"


def logo(kind: str = "PNG", mode: str = "RGBA", **options: Any) -> bytes:
    image = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((20, 10, 280, 190), fill="#e63946")
    out = BytesIO()
    image.convert(mode).save(out, kind, **options)
    return out.getvalue()


def opened(png: bytes) -> Image.Image:
    return Image.open(BytesIO(png))


def seen(image: Image.Image) -> list[str]:
    return [code.text for code in zxingcpp.read_barcodes(image.convert("L"), try_invert=False)]


def rasterised(svg: bytes, unit: int = 6) -> Image.Image:
    """Draw our few kinds of element with code that shares nothing with the drawing's."""
    root = ET.fromstring(svg)
    _, _, width, height = map(int, root.attrib["viewBox"].split())
    image = Image.new("RGB", (width * unit, height * unit), "#808080")
    pen = ImageDraw.Draw(image)
    for element in root:
        at = {name: float(element.get(name, 0)) * unit for name in ("x", "y", "width", "height")}
        if element.tag == SVG + "rect":
            box = (at["x"], at["y"], at["x"] + at["width"] - 1, at["y"] + at["height"] - 1)
            pen.rectangle(box, fill=element.attrib["fill"])
        elif element.tag == SVG + "path":
            for x, y, run in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", element.attrib["d"]):
                left, top = int(x) * unit, int(y) * unit
                box = (left, top, left + int(run) * unit - 1, top + unit - 1)
                pen.rectangle(box, fill=element.attrib["fill"])
        else:
            assert element.tag == SVG + "image"
            picture = opened(embedded(svg)).convert("RGB")
            image.paste(ImageOps.contain(picture, (int(at["width"]), int(at["height"]))), (int(at["x"]), int(at["y"])))
    return image


def embedded(svg: bytes) -> bytes:
    image = ET.fromstring(svg).find(SVG + "image")
    assert image is not None
    return base64.b64decode(image.attrib[HREF].removeprefix("data:image/png;base64,"))


def refusal_of(text: str = TEXT, **style: Any) -> tuple[str, str | None]:
    with pytest.raises(Refusal) as refused:
        draw_png(text, PrintStyle(**style))
    return refused.value.code, refused.value.where


colours = st.integers(0, 0xFFFFFF).map("#{:06x}".format)
dark_colours = st.tuples(*[st.integers(0, 100)] * 3).map(lambda rgb: "#{:02x}{:02x}{:02x}".format(*rgb))
styles: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "size": st.integers(200, 900),
        "border": st.integers(0, 16),
        "ec": st.sampled_from("LMQH"),
        "dark": st.one_of(dark_colours, colours),
        "light": st.one_of(st.just("#ffffff"), colours),
        "logo": st.sampled_from([None, logo(), logo("JPEG", "RGB"), logo("WEBP")]),
    }
)
texts = st.one_of(
    st.just(TEXT),
    st.just(GROUP),
    st.from_regex(r"https://[a-z]{1,20}\.example/[A-Za-z0-9_-]{4,120}", fullmatch=True),
)


@settings(max_examples=100)
@given(texts, styles)
def test_every_style_is_refused_or_can_be_scanned(text: str, style: dict[str, Any]) -> None:
    try:
        chosen = PrintStyle(**style)
        png, svg = draw_png(text, chosen), draw_svg(text, chosen)
    except Refusal as refusal:
        assert refusal.code == "unreadable_style"  # noqa: PT017  # the other half of the property
        return
    assert opened(png).size == (chosen.size, chosen.size)
    assert seen(opened(png)) == [text]
    assert seen(rasterised(svg)) == [text]


@pytest.mark.parametrize("size", [200, 333, 1024, 4096])
@pytest.mark.parametrize("border", [0, 1, 4, 16])
def test_plain_prints_of_every_size_and_border_are_drawn(size: int, border: int) -> None:
    png = draw_png(TEXT, PrintStyle(size=size, border=border))
    assert opened(png).size == (size, size)
    assert seen(opened(png)) == [TEXT]


def test_colours_are_exactly_those_asked_for() -> None:
    style = PrintStyle(dark="#07c160", light="#fffdf5")
    expected = {(0x07, 0xC1, 0x60), (0xFF, 0xFD, 0xF5)}
    for image in (opened(draw_png(TEXT, style)).convert("RGB"), rasterised(draw_svg(TEXT, style))):
        assert {colour for _, colour in image.getcolors(16) or []} == expected


@pytest.mark.parametrize(
    ("style", "answer"),
    [
        ({"size": 199}, ("bad_style", "size")),
        ({"size": 4097}, ("bad_style", "size")),
        ({"border": -1}, ("bad_style", "border")),
        ({"border": 17}, ("bad_style", "border")),
        ({"ec": "X"}, ("bad_style", "ec")),
        ({"dark": "black"}, ("bad_style", "dark")),
        ({"light": "#fff"}, ("bad_style", "light")),
        ({"light": '#ffffff"/>'}, ("bad_style", "light")),
        ({"light": "#ffffff\n"}, ("bad_style", "light")),
        ({"logo": b"<svg onload='x'/>"}, ("bad_style", "logo")),
        ({"logo": logo()[:200]}, ("bad_style", "logo")),
        ({"logo": b"\0" * 3_000_000}, ("bad_style", "logo")),
        ({"dark": "#ffffff", "light": "#000000"}, ("unreadable_style", "dark")),
        ({"dark": "#cccccc"}, ("unreadable_style", "dark")),
        ({"dark": "#336699", "light": "#336699"}, ("unreadable_style", "dark")),
    ],
)
def test_a_style_that_cannot_be_is_refused_by_name(style: dict[str, Any], answer: tuple[str, str]) -> None:
    assert refusal_of(**style) == answer


def test_text_that_does_not_fit_is_refused() -> None:
    assert refusal_of("x" * 3000) == ("unreadable_style", "text")
    assert refusal_of("x" * 1000, size=200) == ("unreadable_style", "size")
    with pytest.raises(Refusal):
        draw_svg("x" * 3000, PrintStyle())


def test_a_drawing_that_cannot_be_read_back_never_leaves() -> None:
    drawn = opened(draw_png(TEXT, PrintStyle(size=400))).convert("L")
    spoiled = drawn.copy()
    spoiled.paste(255, (0, 0, 200, 200))
    _prove(drawn, 10, TEXT)
    for image, text in ((spoiled, TEXT), (ImageOps.invert(drawn), TEXT), (drawn, TEXT + "x")):
        with pytest.raises(Refusal) as refused:
            _prove(image, 10, text)
        assert refused.value.code == "unreadable_style"


def test_a_print_is_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    script = (
        "import sys, hashlib; from app.qr.draw import *; from pathlib import Path;"
        "style = PrintStyle(logo=Path(sys.argv[1]).read_bytes(), dark='#112233');"
        f"print(hashlib.sha256(draw_svg('{TEXT}', style) + draw_png('{TEXT}', style)).hexdigest())"
    )
    picture = tmp_path / "logo.png"
    picture.write_bytes(logo())
    told = {
        subprocess.run(
            [sys.executable, "-c", script, str(picture)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def test_a_logo_is_drawn_anew_and_nothing_it_carried_is_in_the_print() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Author", "secret")
    data = logo(pnginfo=notes)
    assert b"secret" in data
    svg = draw_svg(TEXT, PrintStyle(logo=data))
    assert b"secret" not in embedded(svg)
    assert b"secret" not in draw_png(TEXT, PrintStyle(logo=data))
    red, green, _ = rasterised(svg).split()
    reddish = ImageChops.darker(
        red.point(lambda value: value > 200 and 255), green.point(lambda value: value < 100 and 255)
    )
    assert reddish.histogram()[255] > 300


def test_a_logo_raises_error_correction_to_the_highest() -> None:
    with_logo = draw_svg(TEXT, PrintStyle(ec="L", logo=logo()))
    highest = draw_svg(TEXT, PrintStyle(ec="H"))
    assert re.findall(rb'viewBox="[^"]*"', with_logo) == re.findall(rb'viewBox="[^"]*"', highest)


def test_an_svg_is_whole_modules_and_reaches_for_nothing_outside() -> None:
    svg = draw_svg(TEXT, PrintStyle(logo=logo())).decode()
    assert re.fullmatch(r"(M\d+ \d+h\d+v1h-\d+z)+", re.findall(r' d="([^"]+)"', svg)[0])
    assert set(re.findall(r"https?://[^\"]+", svg)) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


@pytest.mark.parametrize(
    "payload", [GROUP, "https://u.wechat.com/kExampleExample-Example?s=2", "https://weixin.qq.com/g/A"]
)
def test_a_target_is_one_bit_crisp_and_has_its_quiet_zone(payload: str) -> None:
    image = opened(target_png(payload))
    ink = ImageOps.invert(image.convert("L")).getbbox()
    assert ink is not None
    (code,) = zxingcpp.read_barcodes(image.convert("L"))
    # The upper left eye is seven modules wide, and light to its right.
    unit = image.crop((ink[0], ink[1], ink[2], ink[1] + 1)).convert("L").tobytes().index(b"\xff") // 7
    modules = (ink[2] - ink[0]) // unit
    assert (code.text, code.ec_level, modules % 4) == (payload, "M", 1)
    assert image.mode == "1"
    assert ink == (4 * unit, 4 * unit, image.width - 4 * unit, image.height - 4 * unit)
    assert 600 <= image.width == image.height
    small = image.convert("L").resize((modules + 8, modules + 8), Image.Resampling.NEAREST)
    assert small.resize(image.size, Image.Resampling.NEAREST).tobytes() == image.convert("L").tobytes()


def test_a_payload_that_no_code_can_hold_is_refused() -> None:
    with pytest.raises(Refusal):
        target_png("x" * 3000)


def test_the_placeholder_says_something_and_is_no_code() -> None:
    image = opened(placeholder_png()).convert("L")
    assert not zxingcpp.read_barcodes(image)
    assert image.size == (640, 640)
    for part in ((200, 60, 440, 340), (100, 380, 540, 460), (100, 470, 540, 545)):
        shades = image.crop(part).histogram()
        assert sum(shades[:110]) > 500
        assert sum(shades[230:]) > 500


def test_placeholder_lines_without_a_font_are_left_out() -> None:
    assert placeholder_png(("请稍后", "Please reload")) == placeholder_png(("Please reload",))
    assert placeholder_png(("面页",)) != placeholder_png(("页面",)) != placeholder_png(())


def test_a_terminal_shows_a_code_black_on_white() -> None:
    drawing = terminal(TEXT)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", drawing).splitlines()
    image = Image.new("L", (len(lines[0]), 2 * len(lines)))
    for y, line in enumerate(lines):
        for x, glyph in enumerate(line):
            image.putpixel((x, 2 * y), 255 if glyph in "█▀" else 0)
            image.putpixel((x, 2 * y + 1), 255 if glyph in "█▄" else 0)
    assert seen(image.resize((image.width * 6, image.height * 6), Image.Resampling.NEAREST)) == [TEXT]
    assert drawing.count("\x1b[38;5;231;48;5;16m") == drawing.count("\x1b[0m\n") == len(lines)
