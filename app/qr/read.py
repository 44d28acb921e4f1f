"""Read an uploaded screenshot (截图): the QR in it, the caption around it, and a picture that is safe to show.

The service calls it in a child process, by way of `reader.py`.
"""

import logging
from contextlib import suppress
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
from app.qr.crop import crops
from app.qr.opening import ALL, PHOTOGRAPHS, open_picture
from app.qr.rounds import is_round_code

MAX_BYTES: Final = 10 * 1024 * 1024
MAX_PIXELS: Final = 50_000_000
# A phone takes 12 megapixels; beyond that, more pixels cost time and memory and find no more codes.
_WORKING_PIXELS: Final = 16_000_000
_SHOWN_SIDE_PX: Final = 2048
_ROUND: Final = (
    "This is a round code: a mini program code, which no group or contact has, or a reward code. "
    "Upload the square QR code of a group or of a contact instead."
)
_LARGE_PNG_BYTES: Final = 1024 * 1024
_WITH_CAPTION: Final = frozenset({TargetKind.WECHAT_GROUP, TargetKind.WECOM_GROUP})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Screenshot:
    """Hold what a screenshot (截图) said.

    Shapes: ``expires_on`` is the last day printed, ``name`` the group's title, None where absent or unreadable;
    ``picture`` is upright, cut to the card or the QR so that the QR is large, holds the same QR and no metadata, and is
    at most 2048 px a side if the QR survives that;
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
    opened = open_picture(data, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS, kinds=ALL)
    media_type = Image.MIME["JPEG"] if opened.format in PHOTOGRAPHS else Image.MIME["PNG"]
    image, code = _only_code(opened)
    kind = classify(code.text)
    corners = corners_of(code.position)
    card = read_card(image, corners) if kind in _WITH_CAPTION else Card()
    # The join way of a WeCom group has no caption (docs/facts.md §3).
    name = card_name(card.lines, card.pictures, captioned=kind is not TargetKind.WECOM_GROUP)
    expires_on = card_date(card.lines, uploaded_on)
    picture, media_type = _shown(_largest_code(image, code, card), media_type, code.text)
    return Screenshot(code.text, kind, expires_on, name, picture, media_type)


def flatten(image: Image.Image, paper: str = "#ffffff") -> Image.Image:
    """Lay a picture of any mode on paper, so that nothing of it is transparent or carried along unseen."""
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


def _only_code(opened: Image.Image) -> tuple[Image.Image, zxingcpp.Barcode]:
    """Find the one QR of a picture, and lay the picture on the paper on which the QR is seen."""
    image = _working(flatten(opened))
    codes = read_codes(image)
    if not codes and opened.has_transparency_data:
        # A light code on nothing is seen on black; its negative is a dark code on white, which every phone reads.
        image = ImageOps.invert(_working(flatten(opened, "#000000")))
        codes = read_codes(image)
    if not codes:
        if is_round_code(image):
            raise UploadRefusal("unsupported_qr_kind", _ROUND)
        raise UploadRefusal("no_qr_code", "No QR code can be read in the image; upload a sharp screenshot of the code.")
    if len({code.text for code in codes}) > 1:
        raise UploadRefusal("several_qr_codes", "The image holds several QR codes; crop it to the one that is meant.")
    return image, codes[0]


def _working(image: Image.Image) -> Image.Image:
    while image.width * image.height > _WORKING_PIXELS:
        image = image.reduce(2)
    return image


def _largest_code(image: Image.Image, code: zxingcpp.Barcode, card: Card) -> Image.Image:
    """Cut a picture to its card, or to less, as long as its QR still reads."""
    with suppress(ZeroDivisionError):
        for cut in crops(image, corners_of(code.position), card):
            if [one.text for one in read_codes(cut)] == [code.text]:
                return cut
    return image


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
