"""Read an uploaded screenshot (截图): the QR in it, the caption around it, and a picture that is safe to show.

The only file that opens pictures from outside. The service calls it in a child process, by way of `reader.py`.
"""

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import zxingcpp
from PIL import Image, ImageOps

from app.domain.caption import caption_date, caption_name
from app.domain.errors import UploadRefusal
from app.domain.payload import TargetKind, classify

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
    text = _caption(image, code.position) if kind in _WITH_CAPTION else ""
    picture, media_type = _shown(image, media_type, code.text)
    return Screenshot(code.text, kind, caption_date(text, uploaded_on), caption_name(text), picture, media_type)


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


# All sizes are in sides of the QR itself: whatever the tilt and the resolution, it is drawn 480 px wide.
_QR_PX: Final = 480
_BAND_PX: Final = (int(_QR_PX * 1.7), int(_QR_PX * 0.7))
_LEFT_PX: Final = int(_QR_PX * 0.35)


def _caption(image: Image.Image, position: zxingcpp.Position) -> str:
    """Read the title above the QR and the caption below it; no text rather than an error.

    Shapes: one printed line per line, from the top.
    Cost: 0.3 s on one core, whatever the size of the picture.
    """
    corners = [(p.x, p.y) for p in (position.top_left, position.top_right, position.bottom_right, position.bottom_left)]
    try:
        page = Image.new("RGB", (_BAND_PX[0], 2 * _BAND_PX[1]), "white")
        for row, qr_top in ((0, _BAND_PX[1] + 10), (_BAND_PX[1], -_QR_PX - 10)):
            band = image.transform(
                _BAND_PX,
                Image.Transform.PERSPECTIVE,
                _upright(corners, qr_top),
                Image.Resampling.BICUBIC,
                fillcolor="white",
            )
            page.paste(band, (0, row))
        lines = _ocr()(page).txts
    # What a caption says is a convenience; failing to read it must not cost anyone an upload.
    except Exception:
        logger.exception("caption_unreadable")
        return ""
    return "\n".join(lines or ())


def _upright(corners: Sequence[tuple[float, float]], qr_top: float) -> tuple[float, ...]:
    """Give Pillow the perspective that sets a QR seen at ``corners`` upright, at a given height.

    Raises: ZeroDivisionError — the corners are no quadrilateral.
    Source: Heckbert, Fundamentals of Texture Mapping and Image Warping (1989), section 2.2.3, square to quadrilateral.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    dx1, dx2, sx = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, sy = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    area = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / area, (dx1 * sy - sx * dy1) / area
    rows = ((x1 - x0 + g * x1, x3 - x0 + h * x3, x0), (y1 - y0 + g * y1, y3 - y0 + h * y3, y0), (g, h, 1.0))
    # From pixels of the page to sides of the QR, with the QR's own corner as origin.
    page = [(u / _QR_PX, v / _QR_PX, w - (u * _LEFT_PX + v * qr_top) / _QR_PX) for u, v, w in rows]
    scale = page[2][2]
    return tuple(value / scale for value in (*page[0], *page[1], *page[2][:2]))


@cache
def _ocr() -> Any:
    """Load the text reader with the models inside its own package, so that it downloads nothing and reports nothing."""
    # Since 1.29, onnxruntime reports to its maker and keeps notes in the home directory, unless told before it loads.
    # Source: onnxruntime/Privacy.md in its wheel, and github.com/microsoft/onnxruntime/pull/27379, read 2026-11-21.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import rapidocr

    models = Path(rapidocr.__file__).parent / "models"
    return rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "Det.model_path": str(next(models.glob("*_det_*.onnx"))),
            "Det.limit_type": "max",
            "Det.limit_side_len": 960,
            "Rec.model_path": str(next(models.glob("*_rec_*.onnx"))),
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
