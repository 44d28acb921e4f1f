"""Captions below prints: outside the quiet zone, inside the margins, and never a box where a letter should be."""

from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageOps

from app.domain.errors import Refusal
from app.qr.draw import PrintStyle, _prove, draw_png, draw_svg
from app.qr.lettering import CaptionFont, draw_lines, find_font, lay_out
from tests.qr.fonts import chinese, latin, letters_of
from tests.qr.test_draw import SVG, TEXT, logo, opened, seen

PLAIN = CaptionFont()


def captioned(caption: str, font: CaptionFont = PLAIN, **style: Any) -> Image.Image:
    return opened(draw_png(TEXT, PrintStyle(caption=caption, **style), font))


def ink(image: Image.Image, top: int) -> tuple[int, int, int, int]:
    """Find what is drawn from a row on, as a box in pixels of the whole print."""
    grey = image.convert("L")
    light = Image.new("L", grey.size, grey.getpixel((0, grey.height - 1)))
    box = ImageChops.difference(grey, light).crop((0, top, grey.width, grey.height)).getbbox()
    assert box is not None
    return box[0], box[1] + top, box[2], box[3] + top


def refusal_of(caption: str, font: CaptionFont = PLAIN, **style: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        draw_png(TEXT, PrintStyle(caption=caption, **style), font)
    return refused.value


captions = st.one_of(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
    st.from_regex(r"\A[A-Za-z]{1,9}( [A-Za-z0-9]{1,9}){0,5}\Z"),
    st.text("扫码进群，领券！「」春日 aW1", min_size=1, max_size=40),
).filter(lambda text: len(text) <= 40)


@settings(max_examples=100, deadline=None)
@given(
    captions,
    st.fixed_dictionaries(
        {
            "size": st.integers(200, 900),
            "border": st.integers(0, 16),
            "dark": st.sampled_from(["#000000", "#1a2b3c", "#07c160"]),
            "logo": st.sampled_from([None, logo()]),
        }
    ),
)
def test_every_caption_is_refused_or_its_print_can_be_scanned(caption: str, style: dict[str, Any]) -> None:
    font = find_font()
    try:
        chosen = PrintStyle(caption=caption, **style)
        png = opened(draw_png(TEXT, chosen, font))
    except Refusal as refusal:
        assert refusal.code in {"bad_style", "unreadable_style", "no_font"}  # noqa: PT017  # the other half
        return
    assert png.width == style["size"] < png.height
    assert seen(png) == [TEXT]


@pytest.mark.parametrize("picture", [None, logo()], ids=["plain", "logo"])
@pytest.mark.parametrize("border", [0, 2, 4, 16])
def test_a_caption_changes_nothing_above_it_and_keeps_off_the_quiet_zone(border: int, picture: bytes | None) -> None:
    style: dict[str, Any] = {"size": 640, "border": border, "dark": "#1a2b3c", "light": "#fffdf5", "logo": picture}
    with_caption = captioned("Ready to scan", **style)
    without = opened(draw_png(TEXT, PrintStyle(**style)))
    assert with_caption.width == 640
    square = with_caption.convert("RGB").crop((0, 0, 640, 640))
    assert ImageChops.difference(square, without.convert("RGB")).getbbox() is None
    code = ImageOps.invert(without.convert("L")).point(lambda value: 255 * (value > 128)).getbbox()
    assert code is not None
    modules = 29 if picture is None else 33
    clear = code[3] + 4 * (code[2] - code[0]) // modules
    left, top, right, bottom = ink(with_caption, code[3] + 1)
    assert clear <= top
    assert abs(left - (640 - right)) <= 4
    assert left >= 0.04 * 640
    assert bottom <= with_caption.height - 0.03 * 640


def test_a_print_is_read_back_in_its_own_shape() -> None:
    # Squeezed to a square, so high a print could not be read.
    square = opened(draw_png(TEXT, PrintStyle(size=370))).convert("L")
    tall = Image.new("L", (370, 370 * 8), 255)
    tall.paste(square)
    _prove(tall, 10, TEXT)


def test_a_caption_has_the_dark_colour_and_smooth_edges() -> None:
    image = captioned("Scan me", dark="#07c160", light="#fffdf5")
    below = image.convert("RGB").crop((0, 1024, 1024, image.height))
    shades = {colour for _, colour in below.getcolors(256) or []}
    assert {(0x07, 0xC1, 0x60), (0xFF, 0xFD, 0xF5)} < shades
    assert image.mode == "P"
    assert len(shades) <= 16


@pytest.mark.parametrize(
    ("caption", "lines"),
    [
        ("扫码进群", ("扫码进群",)),
        ("Scan to join the group", ("Scan to join the group",)),
        ("微信扫一扫，加入会员群", ("微信扫一扫，加入会员群",)),
        ("扫码加入春日咖啡会员群，领 20 元优惠券", ("扫码加入春日咖啡会员群，", "领 20 元优惠券")),
        ("Scan with WeChat to talk to our advisers", ("Scan with WeChat to", "talk to our advisers")),
        ("长按识别二维码关注我们领取新人大礼包", ("长按识别二维码关注", "我们领取新人大礼包")),
        # No line begins with a mark that ends a phrase, and none ends with a bracket that opens.
        ("春日咖啡会员群开放！！每周上新货", ("春日咖啡会员群开放！！", "每周上新货")),
        ("春日咖啡会员每周三下午（仅限本店）上新", ("春日咖啡会员每周三下午", "（仅限本店）上新")),
    ],
)
def test_a_long_caption_breaks_where_a_reader_pauses(caption: str, lines: tuple[str, ...]) -> None:
    assert lay_out(caption, 0.12).lines == lines


def test_letters_shrink_before_they_break() -> None:
    sizes = [lay_out("群" * count, 0.12).em for count in (4, 9, 13)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert len(lay_out("群" * 13, 0.12).lines) == 1
    assert len(lay_out("群" * 14, 0.12).lines) == 2


def test_what_two_lines_do_not_hold_is_refused() -> None:
    for caption in ("群" * 40, "W" * 40):
        refusal = refusal_of(caption)
        assert (refusal.code, refusal.where) == ("bad_style", "caption")
        assert "two lines" in refusal.detail
        with pytest.raises(Refusal):
            draw_svg(TEXT, PrintStyle(caption=caption))
    assert refusal_of("SCAN WITH WECHAT TO TALK TO OUR ADVISERS", size=200).detail.endswith("larger size.")


@pytest.mark.parametrize(
    "caption", ["a" * 41, "a\nb", "a\tb", "\x07", "\ud800", "\ufffe", "\ue000", "\u200b", " a", "\U0001ffff", "\u2028"]
)
def test_a_caption_that_is_no_line_is_refused(caption: str) -> None:
    refusal = refusal_of(caption)
    assert (refusal.code, refusal.where) == ("bad_style", "caption")


def test_letters_without_a_font_are_named_and_never_drawn_as_boxes(tmp_path: Path) -> None:
    for font in (PLAIN, find_font(str(latin(tmp_path)))):
        refusal = refusal_of("Scan 扫码!", font)
        assert (refusal.code, refusal.where) == ("no_font", "caption")
        assert "cannot draw 扫 码 in" in refusal.detail
        assert "fonts-noto-cjk" in refusal.detail
        assert "SVG" in refusal.detail


def test_what_a_font_has_is_what_its_table_says() -> None:
    font = chinese()
    there = letters_of(font)
    asked = "群进码扫０，。！龍龘𠮷Aé€①℃♥🎉🧋𓀀ฮกⴰꙮ"
    assert font.missing(asked) == [letter for letter in asked if ord(letter) not in there]
    assert {"🎉", "🧋"} <= set(font.missing(asked))


def test_letters_that_stack_are_left_to_the_svg() -> None:
    # The font has the accent, which is drawn beside its letter.
    font = chinese()
    assert 0x301 in letters_of(font)
    assert font.missing("A\u0301") == ["\u0301"]
    assert font.missing("\u00c1") == []


def test_joiners_and_selectors_are_no_boxes() -> None:
    image, plain = captioned("Sc\u200ban\ufe0f me"), captioned("Scan me")
    assert image.tobytes() == plain.tobytes()


def test_chinese_letters_are_drawn_where_a_font_has_them() -> None:
    font = chinese()
    image = captioned("扫码进群", font)
    assert seen(image) == [TEXT]
    left, top, right, bottom = ink(image, 1024)
    # Four letters, each about as wide as high.
    assert 3.5 < (right - left) / (bottom - top) < 4.5


def test_a_font_wider_than_any_common_one_still_fits() -> None:
    setting = lay_out("iiii llll iiii llll", 0.12)
    wide = setting._replace(em=0.5)
    box = draw_lines(wide, 600, PLAIN).getbbox()
    assert box is not None
    assert box[0] >= 0.03 * 600
    assert box[2] <= 0.97 * 600


@pytest.mark.parametrize("picture", [None, logo()], ids=["plain", "logo"])
def test_an_svg_holds_the_caption_as_text_below_the_code(picture: bytes | None) -> None:
    style = PrintStyle(caption='<b>&"扫码"', dark="#1a2b3c", logo=picture)
    svg = draw_svg(TEXT, style)
    root = ET.fromstring(svg)
    (text,) = root.iter(SVG + "text")
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    code_ends = width - 4
    assert text.text == '<b>&"扫码"'
    assert (text.get("fill"), text.get("text-anchor"), float(text.attrib["x"])) == ("#1a2b3c", "middle", width / 2)
    em = float(text.attrib["font-size"])
    assert code_ends + 4 <= float(text.attrib["y"]) - 0.9 * em
    assert float(text.attrib["y"]) + 0.25 * em < height
    assert float(root.attrib["height"]) == pytest.approx(float(root.attrib["width"]) * height / width, abs=0.01)
    assert b"http" not in svg.replace(b"http://www.w3.org/2000/svg", b"").replace(b"http://www.w3.org/1999/xlink", b"")


def test_an_svg_is_the_same_whatever_fonts_a_machine_has() -> None:
    style = PrintStyle(caption="扫码进群 🎉 scan")
    assert draw_svg(TEXT, style, PLAIN) == draw_svg(TEXT, style, find_font())


def test_png_and_svg_break_at_the_same_place() -> None:
    caption = "Scan with WeChat to talk to our advisers"
    lines = [text.text for text in ET.fromstring(draw_svg(TEXT, PrintStyle(caption=caption))).iter(SVG + "text")]
    assert lines == ["Scan with WeChat to", "talk to our advisers"]
    image = captioned(caption)
    _, rows = ImageOps.invert(image.convert("L").crop((0, 1024, 1024, image.height))).getprojection()
    assert sum(1 for above, below in pairwise(rows) if below and not above) == 2


def test_a_file_that_is_no_font_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "font.ttf"
    path.write_bytes(b"\0\1\0\0 no font")
    for one in (path, tmp_path / "absent.ttf"):
        with pytest.raises(ValueError, match="HUOMA_CAPTION_FONT"):
            find_font(str(one))


def test_a_face_is_taken_from_the_first_place_that_has_one(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"broken")
    there = latin(tmp_path)
    assert find_font("", (tmp_path / "absent.ttf", tmp_path / "broken.ttf", there)) == CaptionFont(there)
    assert find_font("", (tmp_path / "absent.ttf",)) == CaptionFont()
