"""Read an uploaded screenshot (截图): the QR in it, the caption around it, and a picture that is safe to show.

The only file that opens pictures from outside. The service calls it in a child process, by way of `reader.py`.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from typing import Final

import zxingcpp
from PIL import Image, ImageOps

from app.domain.caption import card_date, card_name
from app.domain.errors import UploadRefusal
from app.domain.payload import TargetKind, classify
from app.qr.card import Card, corners_of, read_card

MAX_BYTES: Final = 10 * 1024 * 1024
MAX_PIXELS: Final = 50_000_000
# A phone takes 12 megapixels; beyond that, more pixels cost time and memory and find no more codes.
_WORKING_PIXELS: Final = 16_000_000
_SHOWN_SIDE_PX: Final = 2048
_LARGE_PNG_BYTES: Final = 1024 * 1024
_WITH_CAPTION: Final = frozenset({TargetKind.WECHAT_GROUP, TargetKind.WECOM_GROUP})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Screenshot:
    """Hold what a screenshot (截图) said.

    Shapes: ``expires_on`` is the last day printed, ``name`` the group's title, None where absent or unreadable;
    ``picture`` is upright, holds the same QR and no metadata, and is at most 2048 px a side if the QR survives that;
    ``picture_media_type`` is ``image/jpeg`` or ``image/png``.
    """

    payload: str
    kind: TargetKind
    expires_on: date | None
    name: str | None
    picture: bytes
    picture_media_type: str


def read_screenshot(data: bytes, uploaded_on: date) -> Screenshot:
    """Read one uploaded picture, trusting nothing that it says about itself.

    Raises: UploadRefusal — every code that one can have.
    Cost: 0.1 s, and 0.4 s with a caption to read (1.5 s the first time, loading the models); at most 1 GiB for 50 MP.
    """
    image = open_picture(data, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS)
    media_type = Image.MIME["JPEG"] if image.format in {"JPEG", "MPO"} else Image.MIME["PNG"]
    image = flatten(image)
    while image.width * image.height > _WORKING_PIXELS:
        image = image.reduce(2)
    code = _only_code(image)
    kind = classify(code.text)
    card = read_card(image, corners_of(code.position)) if kind in _WITH_CAPTION else Card()
    # The join way of a WeCom group has no caption (docs/facts.md §3).
    name = card_name(card.lines, card.pictures, captioned=kind is not TargetKind.WECOM_GROUP)
    expires_on = card_date(card.lines, uploaded_on)
    picture, media_type = _shown(image, media_type, code.text)
    return Screenshot(code.text, kind, expires_on, name, picture, media_type)


def open_picture(data: bytes, *, max_bytes: int, max_pixels: int) -> Image.Image:
    """Decode a JPEG, PNG or WebP picture (图片), told by its content, upright and in its own mode.

    Raises: UploadRefusal — ``image_too_large`` before a pixel is decoded, ``unsupported_media_type``,
    ``unreadable_image``.
    """
    if len(data) > max_bytes:
        raise UploadRefusal("image_too_large", f"The file is too large; upload at most {max_bytes // 1024} kB.")
    kind = _sniff(data)
    # Pillow reserves the canvas of a WebP, eight bytes a pixel, already when it opens one.
    if kind == "WEBP":
        _check_pixels(_webp_size(data), max_pixels)
    with _refusing_damage():
        image: Image.Image = Image.open(BytesIO(data), formats=[kind])
    _check_pixels(image.size, max_pixels)
    # A JPEG with a second picture inside is a phone's depth map or HDR layer; its first picture is the photo.
    if kind != "JPEG" and getattr(image, "is_animated", False):
        raise UploadRefusal("unreadable_image", "The image is animated; upload a still screenshot.")
    with _refusing_damage():
        image.load()
    kept = image.format
    # Broken notes about a picture are no reason to refuse its pixels; it then lies as it was stored.
    with suppress(Exception):
        image = ImageOps.exif_transpose(image)
    image.format = kept
    return image


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    if math.prod(size) > max_pixels:
        raise UploadRefusal("image_too_large", f"The image is too large; upload at most {max_pixels:,} pixels.")


@contextmanager
def _refusing_damage() -> Iterator[None]:
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UploadRefusal("image_too_large", "The image has too many pixels; upload a smaller one.") from error
    # Decoders written in three languages raise what they like at broken files; none of it is a fault of ours.
    except Exception as error:
        raise UploadRefusal("unreadable_image", "The image is damaged or cut short; upload it again.") from error


def _sniff(data: bytes) -> str:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise UploadRefusal("unsupported_media_type", "The file is no JPEG, PNG or WebP picture; upload one of those.")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read width and height from a WebP header; (0, 0) when there is none, which the decoder will refuse.

    Source: RFC 9649, WebP Image Format, sections 2.5 to 2.7 (November 2024).
    """
    chunk, head = data[12:16], data[20:30].ljust(10, b"\0")
    if chunk == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    return 0, 0


def flatten(image: Image.Image, paper: str = "#ffffff") -> Image.Image:
    """Lay a picture of any mode on paper, so that nothing of it is transparent or carried along unseen."""
    if image.mode.startswith("I"):
        image = image.point(lambda value: value / 256).convert("L")
    layer = image.convert("RGBA") if image.has_transparency_data else image.convert("RGB")
    flat = Image.new("RGB", image.size, paper)
    flat.paste(layer, mask=layer if layer.mode == "RGBA" else None)
    return flat


_QR_CODE: Final = zxingcpp.barcode_formats_from_str("QRCode")


def read_codes(image: Image.Image, *, inverted: bool = True) -> list[zxingcpp.Barcode]:
    """Find every QR code in a picture, unless ``inverted`` is off also those drawn light on dark."""
    grey = image.convert("L")
    # Dark and light are told apart by neighbourhood, which survives shadows, or by one threshold, which survives blur.
    for binarizer in (zxingcpp.Binarizer.LocalAverage, zxingcpp.Binarizer.GlobalHistogram):
        found = zxingcpp.read_barcodes(
            grey,
            formats=_QR_CODE,
            text_mode=zxingcpp.TextMode.Plain,
            try_invert=inverted,
            binarizer=binarizer,
        )
        if found:
            return list(found)
    return []


def _only_code(image: Image.Image) -> zxingcpp.Barcode:
    codes = read_codes(image)
    if not codes:
        raise UploadRefusal("no_qr_code", "No QR code can be read in the image; upload a sharp screenshot of the code.")
    if len({code.text for code in codes}) > 1:
        raise UploadRefusal("several_qr_codes", "The image holds several QR codes; crop it to the one that is meant.")
    return codes[0]


def _shown(image: Image.Image, media_type: str, payload: str) -> tuple[bytes, str]:
    """Encode the picture anew, from its pixels alone, no larger than a phone can use unless the QR needs it."""
    small = ImageOps.contain(image, (_SHOWN_SIDE_PX, _SHOWN_SIDE_PX), Image.Resampling.LANCZOS)
    if max(image.size) > _SHOWN_SIDE_PX and [code.text for code in read_codes(small)][:1] == [payload]:
        image = small
    if media_type == Image.MIME["PNG"]:
        out = BytesIO()
        image.save(out, "PNG", compress_level=6)
        if out.tell() <= _LARGE_PNG_BYTES:
            return out.getvalue(), media_type
    out = BytesIO()
    image.save(out, "JPEG", quality=90, subsampling=0)
    return out.getvalue(), Image.MIME["JPEG"]
