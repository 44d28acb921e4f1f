"""Read the card (名片) around a group's QR: its title above the QR and its caption below. The only file that runs OCR.

All places are in sides of the QR, from its top left corner, whatever the tilt and the resolution of the picture.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import zxingcpp
from PIL import Image, ImageChops, ImageStat

from app.domain.caption import Box, Line, spaced

# The QR is drawn 400 px wide, and only what stands above and below it is read. The page is some 0.6 megapixels, which
# is what the time of finding text depends on.
_QR_PX: Final = 400
_LEFT_PX: Final = 240
_ABOVE_PX: Final = 340
_BELOW_PX: Final = 320
_WIDTH_PX: Final = _QR_PX + 2 * _LEFT_PX
# Modules of the QR must not be read as letters.
_CLEAR_PX: Final = 8
# Of three colour channels, by how much a pixel differs from the paper where something is drawn.
_INK: Final = 14

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Card:
    """Hold what stands around a QR.

    Shapes: `lines` from the top; `pictures` are the boxes of what is square and no text, such as the group's avatar.
    """

    lines: Sequence[Line] = ()
    pictures: Sequence[Box] = ()


def corners_of(position: zxingcpp.Position) -> list[tuple[float, float]]:
    """Return the corners of a QR, clockwise from its own top left."""
    points = (position.top_left, position.top_right, position.bottom_right, position.bottom_left)
    return [(point.x, point.y) for point in points]


def read_card(image: Image.Image, corners: Sequence[tuple[float, float]]) -> Card:
    """Read what stands above and below a QR; an empty card rather than an error.

    Cost: 0.3 s on one core, whatever the size of the picture.
    """
    try:
        page = Image.new("RGB", (_WIDTH_PX, _ABOVE_PX + _BELOW_PX), "white")
        # White is what the picture has pixels for.
        inside = Image.new("L", page.size)
        whole = Image.new("L", image.size, 255)
        for row, height, qr_top in ((0, _ABOVE_PX, _ABOVE_PX + _CLEAR_PX), (_ABOVE_PX, _BELOW_PX, -_QR_PX - _CLEAR_PX)):
            turn, size = upright(corners, _QR_PX, (_LEFT_PX, qr_top)), (_WIDTH_PX, height)
            band = image.transform(size, Image.Transform.PERSPECTIVE, turn, Image.Resampling.BICUBIC, fillcolor="white")
            page.paste(band, (0, row))
            inside.paste(whole.transform(size, Image.Transform.PERSPECTIVE, turn, fillcolor=0), (0, row))
        found = _ocr()(page, return_word_box=True, return_single_char_box=True)
        lines = [] if found.txts is None else [_line(page, inside, *one) for one in zip(*_columns(found), strict=True)]
        return Card(sorted(lines, key=lambda line: line.box.top), _pictures(page))
    # What a caption says is a convenience; failing to read it must not cost anyone an upload.
    except Exception:
        logger.exception("caption_unreadable")
        return Card()


def _columns(found: Any) -> tuple[Sequence[Any], ...]:
    letters = found.word_results if len(found.word_results or ()) == len(found.txts) else [()] * len(found.txts)
    return found.boxes, found.txts, found.scores, letters


def _line(page: Image.Image, inside: Image.Image, quad: Any, text: str, score: float, letters: Any) -> Line:
    left, right = (int(edge(float(x) for x, _ in quad)) for edge in (min, max))
    top, bottom = (int(edge(float(y) for _, y in quad)) for edge in (min, max))
    crop = page.crop((max(left, 0), max(top, 0), min(right, page.width), min(bottom, page.height)))
    # A box holds more paper than ink, so its median is the paper.
    paper = tuple(int(value) for value in ImageStat.Stat(crop).median)
    difference = ImageChops.difference(crop, Image.new("RGB", crop.size, paper))
    red, green, blue = difference.split()
    ink = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    contrast = _percentile(ink, 0.97)
    drawn = ink.point(lambda value: 255 if value > contrast * 0.35 else 0)
    bounds = drawn.getbbox() or (0, 0, *crop.size)
    columns = drawn.resize((crop.width, 1), Image.Resampling.BOX).tobytes()
    middles = [
        (str(one[0]), (min(p[0] for p in one[2]) + max(p[0] for p in one[2])) / 2 - left, float(one[1]))
        for one in (letters if isinstance(letters, (list, tuple)) else ())
    ]
    height = bounds[3] - bounds[1]
    if middles and "".join(one[0] for one in middles) == text.replace(" ", ""):
        text = spaced(text, [one[1] for one in middles], _gaps(columns), height)
    return Line(
        text=text,
        box=_box(left, top, right, bottom),
        size=height / _QR_PX,
        contrast=contrast / 255,
        score=score,
        weakest=min((one[2] for one in middles), default=score),
        cut=_is_cut(inside, (left, top, right, bottom)),
    )


def _is_cut(inside: Image.Image, box: tuple[int, int, int, int]) -> bool:
    """Return whether a line touches the edge of the picture, or of what is read of it."""
    left, top, right, bottom = box
    if left <= 2 or right >= _WIDTH_PX - 2 or top <= 1:
        return True
    darkest, _ = inside.crop((left - 2, top, right + 2, bottom)).getextrema()
    return darkest == 0


def _percentile(image: Image.Image, share: float) -> int:
    histogram, total = image.histogram(), image.width * image.height
    for value in range(255, -1, -1):
        total -= histogram[value]
        if total <= share * image.width * image.height:
            return value
    return 0


def _gaps(columns: bytes) -> list[tuple[int, int]]:
    """Find the runs of columns without ink, between others with ink."""
    gaps, start = [], None
    for at, value in enumerate(columns):
        if value > 2:
            if start is not None and at - start > 1:
                gaps.append((start, at))
            start = at + 1
    return gaps


def _box(left: float, top: float, right: float, bottom: float) -> Box:
    shift = _ABOVE_PX + _CLEAR_PX if top < _ABOVE_PX else _ABOVE_PX - _QR_PX - _CLEAR_PX
    return Box(
        (left - _LEFT_PX) / _QR_PX, (top - shift) / _QR_PX, (right - _LEFT_PX) / _QR_PX, (bottom - shift) / _QR_PX
    )


def _pictures(page: Image.Image) -> list[Box]:
    """Find what is square and stands out from the paper above the QR."""
    import cv2
    import numpy as np

    # Halves, since noise goes with the pixels and an avatar stays.
    band = page.crop((0, 0, _WIDTH_PX, _ABOVE_PX)).reduce(2)
    pixels = np.asarray(band).astype(np.float32)
    mask = (np.abs(pixels - _paper(pixels)).max(axis=2) > _INK).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    found = []
    for left, top, width, height, area in (stats[1:] * (2, 2, 2, 2, 4)).tolist():
        small, large = sorted((width, height))
        if small >= 0.07 * _QR_PX and large <= 0.5 * _QR_PX and small / large > 0.7 and area > 0.45 * width * height:
            found.append(_box(left, top, left + width, top + height))
    return found


def _paper(pixels: Any) -> Any:
    """Estimate the colour of the card at every pixel above the QR, as light falls on it from one side."""
    import numpy as np

    height, width, _ = pixels.shape
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    slopes = np.stack([np.ones_like(across), across, down], axis=2).reshape(-1, 3)
    colours = pixels.reshape(-1, 3)
    # Between title and QR there is paper, so the most frequent colour there is that of the card.
    near = pixels[height // 2 :, width // 4 : -width // 4].reshape(-1, 3)
    paper = np.broadcast_to(np.median(near, axis=0), colours.shape)
    for tolerance in (60, 30, 2 * _INK):
        plain = np.abs(colours - paper).max(axis=1) < tolerance
        if plain.sum() < 100:
            break
        fit, *_ = np.linalg.lstsq(slopes[plain][::7], colours[plain][::7], rcond=None)
        paper = slopes @ fit
    return paper.reshape(pixels.shape)


def upright(corners: Sequence[tuple[float, float]], side: float, origin: tuple[float, float]) -> tuple[float, ...]:
    """Return Pillow's coefficients for a perspective that sets a QR upright, ``side`` pixels wide, at ``origin``.

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
    page = [(u / side, v / side, w - (u * origin[0] + v * origin[1]) / side) for u, v, w in rows]
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
