"""Every format that phones, scanners and desktops write: read, measured before it is decoded, and bare of notes."""

import math
import re
import struct
from array import array
from collections.abc import Callable
from datetime import date
from io import BytesIO
from typing import Any, Final

import pillow_heif
import pytest
from PIL import Image, ImageDraw, ImageOps

from app.domain.errors import Refusal, UploadRefusal
from app.domain.payload import TargetKind
from app.qr.draw import PrintStyle
from app.qr.read import Screenshot, read_codes, read_screenshot
from app.qr.reader import Reader
from app.qr.rounds import is_round_code

from .cards import ZH, Look, card, code, saved

pillow_heif.register_heif_opener()
DAY: Final = date(2026, 11, 25)
LAST: Final = date(2026, 11, 30)
KINDS: Final = ("AVIF", "BMP", "GIF", "HEIF", "TIFF")


def picture() -> Image.Image:
    return card("旧书交换角", ZH.format(month=11, day=30), Look())


def outcome(data: bytes) -> Screenshot | str:
    try:
        return read_screenshot(data, DAY)
    except UploadRefusal as refusal:
        return refusal.code


def understood(data: bytes) -> Screenshot:
    answer = outcome(data)
    assert isinstance(answer, Screenshot), answer
    return answer


@pytest.mark.parametrize("kind", KINDS)
async def test_a_child_reads_every_format_as_it_reads_a_screenshot(kind: str) -> None:
    reader = Reader()
    seen = await reader.read(saved(picture(), kind), DAY)
    await reader.close()
    assert (seen.kind, seen.name, seen.expires_on) == (TargetKind.WECHAT_GROUP, "旧书交换角", LAST)
    assert seen.picture_media_type == ("image/jpeg" if kind in {"AVIF", "HEIF"} else "image/png")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg", "tiff_deflate", "packbits", "group4"])
def test_a_scan_is_read_however_it_is_packed(compression: str) -> None:
    page = picture().convert("1") if compression == "group4" else picture()
    assert understood(saved(page, "TIFF", compression=compression)).kind is TargetKind.WECHAT_GROUP


@pytest.mark.parametrize(
    ("mode", "white"),
    [
        *(("F", white) for white in (1.0, 255.0, 65_535.0, 1_000_000.0)),
        *(("I", white) for white in (255.0, 65_535.0, 1_000_000.0)),
        *(("I;16", white) for white in (255.0, 65_535.0)),
    ],
)
def test_numbers_beyond_a_byte_are_read_by_the_largest_there_is(mode: str, white: float) -> None:
    grey = ImageOps.expand(picture(), 40, "white").convert("L")
    # Paper and ink that are far from white and black, as scanners see them.
    values = [(0.2 + 0.75 * value / 255) * white for value in grey.tobytes()]
    kind = {"F": "f", "I": "i", "I;16": "H"}[mode]
    page = Image.frombytes(mode, grey.size, array(kind, values if kind == "f" else map(int, values)).tobytes())
    assert understood(saved(page, "TIFF")).kind is TargetKind.WECHAT_GROUP


@pytest.mark.parametrize("kind", ["AVIF", "GIF", "TIFF"])
def test_several_pictures_are_refused(kind: str) -> None:
    frames = [picture(), ImageOps.invert(picture())]
    assert outcome(saved(frames[0], kind, save_all=True, append_images=frames[1:])) == "unreadable_image"


def exif() -> bytes:
    notes = Image.Exif()
    notes[0x010F] = "SecretPhoneMaker"
    notes.get_ifd(0x8825)[2] = (22.0, 33.0, 44.0)
    return notes.tobytes()


@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "TIFF"])
def test_no_note_of_a_photo_is_kept(kind: str) -> None:
    data = saved(picture(), kind, exif=exif())
    assert b"SecretPhoneMaker" in data
    seen = understood(data)
    assert b"SecretPhoneMaker" not in seen.picture
    assert not Image.open(BytesIO(seen.picture)).getexif()


def test_a_photo_that_lies_on_its_side_is_kept_upright() -> None:
    notes = Image.Exif()
    notes[0x0112] = 6
    sideways = picture().transpose(Image.Transpose.ROTATE_90)
    for kind in ("HEIF", "AVIF"):
        seen = understood(saved(sideways, kind, exif=notes.tobytes()))
        assert read_codes(Image.open(BytesIO(seen.picture)).convert("RGB"))[0].orientation == 0
        assert seen.name == "旧书交换角"


def sized(kind: str, width: int, height: int) -> bytes:
    """Let a small picture say that it is large."""
    data = bytearray(saved(Image.new("RGB", (64, 64), "red"), kind))
    if kind == "GIF":
        data[6:10] = struct.pack("<HH", width, height)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    elif kind == "TIFF":
        for tag, size in ((256, width), (257, height)):
            # Pillow writes either width of number here.
            found = re.search(re.escape(struct.pack("<H", tag)) + rb"[\x03\x04]\x00\x01\x00\x00\x00", data)
            assert found
            data[found.start() + 2 : found.end() + 4] = struct.pack("<HII", 4, 1, size)
    else:
        for found in re.finditer(rb"ispe\0{4}", bytes(data)):
            data[found.end() : found.end() + 8] = struct.pack(">II", width, height)
    return bytes(data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (8000, 6300)])
def test_a_bomb_of_every_format_is_refused_by_its_header(kind: str, width: int, height: int) -> None:
    assert outcome(sized(kind, width, height)) == "image_too_large"


def test_a_header_that_says_less_than_its_stream_is_refused() -> None:
    assert outcome(sized("HEIF", 16, 16)) == "unreadable_image"


@pytest.mark.parametrize("head", [b"BM", b"BM" + bytes(40), b"GIF89", b"\0\0\0\x18ftypmp42", b"%PDF-1.7", b"II*"])
def test_what_only_begins_like_a_picture_is_none(head: bytes) -> None:
    with pytest.raises(UploadRefusal, match="HEIC") as refusal:
        read_screenshot(head + b"x" * 9, DAY)
    assert refusal.value.code == "unsupported_media_type"


@pytest.mark.parametrize("kind", [*KINDS, "PPM", "ICO"])
def test_a_logo_is_of_the_plain_formats_only(kind: str) -> None:
    # A logo is decoded where connections and secrets are.
    with pytest.raises(Refusal, match="JPEG, PNG or WebP"):
        PrintStyle(logo=saved(Image.new("RGB", (64, 64), "red"), kind))


def light_on_nothing(ink: str) -> Image.Image:
    drawn = ImageOps.expand(code("https://weixin.qq.com/g/light", 330, dots=False).convert("L"), 24, 255)
    page = Image.new("RGBA", drawn.size, (0, 0, 0, 0))
    page.paste(Image.new("RGBA", drawn.size, ink), mask=ImageOps.invert(drawn))
    return page


@pytest.mark.parametrize("ink", ["#ffffff", "#f0e8d0", "#101010"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_code_on_nothing_is_read_whatever_its_ink(ink: str, kind: str) -> None:
    seen = understood(saved(light_on_nothing(ink), kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert seen.payload == "https://weixin.qq.com/g/light"
    kept = Image.open(BytesIO(seen.picture)).convert("RGB")
    assert read_codes(kept, inverted=False)[0].text == seen.payload, "phones read dark on light"


def round_code(side: int = 600, *, ink: str = "#000000", paper: str = "#ffffff") -> Image.Image:
    """Draw a code of a mini program: strokes that lead away from a middle, three eyes, a sign."""
    page = Image.new("RGB", (side, side), paper)
    pen = ImageDraw.Draw(page)
    middle, far = side / 2, side * 0.42
    for ray in range(72):
        turn = ray * math.tau / 72
        for step in range(12):
            if (ray * 7 + step * 5) % 11 < 5:
                near, end = (0.5 + step * 0.042) * side / 2, (0.5 + step * 0.042 + 0.038) * side / 2
                ends = [(middle + math.cos(turn) * r, middle + math.sin(turn) * r) for r in (near, end)]
                pen.line([*ends[0], *ends[1]], fill=ink, width=max(2, side // 90))
    for x, y in ((-1, -1), (1, -1), (-1, 1)):
        at = middle + x * far * 0.707, middle + y * far * 0.707
        for radius, colour in ((0.075, paper), (0.06, ink), (0.042, paper), (0.024, ink)):
            r = radius * side
            pen.ellipse((at[0] - r, at[1] - r, at[0] + r, at[1] + r), fill=colour)
    return page


@pytest.mark.parametrize(
    "draw",
    [
        round_code,
        lambda: round_code(220),
        lambda: round_code(ink="#07c160"),
        lambda: round_code().rotate(8, Image.Resampling.BICUBIC, fillcolor="white"),
        lambda: ImageOps.pad(round_code(420), (1170, 2532), color="#ededed"),
    ],
    ids=["plain", "small", "green", "turned", "on a screen"],
)
def test_a_round_code_is_refused_as_what_it_is(draw: Callable[[], Image.Image]) -> None:
    with pytest.raises(UploadRefusal, match="a mini program code, which no group or contact has") as refusal:
        read_screenshot(saved(draw(), "JPEG", quality=85), DAY)
    assert refusal.value.code == "unsupported_qr_kind"


def no_code(kind: str) -> Image.Image:
    page = Image.new("RGB", (600, 600), "white")
    pen = ImageDraw.Draw(page)
    for number in range(20):
        x, y = number % 5 * 110 + 40, number // 5 * 110 + 40
        if kind == "rings":
            for r, colour in ((40, "black"), (28, "white"), (14, "black")):
                pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
        elif kind == "text":
            pen.text((x, y), "no code", fill="black")
        else:
            pen.line((300, 300, 300 + 290 * math.cos(number), 300 + 290 * math.sin(number)), fill="black", width=5)
    return page


@pytest.mark.parametrize("kind", ["rings", "text", "rays"])
def test_what_is_no_round_code_is_not_taken_for_one(kind: str) -> None:
    assert outcome(saved(no_code(kind))) == "no_qr_code"


def test_no_square_code_is_taken_for_a_round_one() -> None:
    for blur in (1, 4, 8, 16):
        card_of = picture().reduce(blur).resize(picture().size)
        assert not is_round_code(card_of)


def test_a_random_tail_of_a_heif_is_read_or_refused() -> None:
    data = saved(picture(), "HEIF")
    answers: set[Any] = set()
    for at in range(12, len(data), len(data) // 40):
        answer = outcome(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        answers.add(answer if isinstance(answer, str) else "read")
    assert answers <= {"read", "unreadable_image", "no_qr_code", "image_too_large", "unsupported_media_type"}
