"""Set the caption (题字) below a print: lines, size and place, and the font of this machine that draws it.

Law: lines and size follow from the text alone, so that PNG and SVG agree whatever fonts a machine has.
"""

import html
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from app.domain import limits
from app.domain.errors import Refusal

# Shares of the print's width: letters, and the margins beside and below them.
_EM_MAX: Final = 0.085
_EM_ALONE: Final = 0.058
_EM_LEAST: Final = 0.048
_MARGIN_LEAST: Final = 0.04
_MARGIN_MOST: Final = 0.12
# Shares of the letters' size. The first baseline leaves room for accents on capitals.
_ASCENT: Final = 0.95
_DESCENT: Final = 0.25
_PITCH: Final = 1.35
# Chinese letters of fewer pixels run together.
_LEAST_PX: Final = 12
_SHOWN: Final = 10

# Advances of common sans-serif fonts, rounded up, in shares of their size: Verdana and DejaVu Sans are the widest.
_NARROW: Final = frozenset("ijlftrI1")
_BROAD: Final = frozenset("mwMWQOGж@%Щщ")
_ADVANCES: Final = {"Lu": 0.8, "Ll": 0.66, "Nd": 0.66, "Zs": 0.4, "Mn": 0.0, "Me": 0.0, "Cf": 0.0, "So": 1.4}

# Kinds of characters: those that end or begin a phrase, those that a line cannot begin or end with.
_BEGINS: Final = ("Ps", "Pi")
_ENDS: Final = ("Pe", "Pf", "Po", "Pd")
_STICKS_TO: Final = (*_ENDS, "Mn", "Mc", "Me", "Cf", "Sk", "Zs")
_STICKS_ON: Final = (*_BEGINS, "Cf")
_WITHIN: Final = 0.75

# Faces in which a print shop's computer or a phone shows Chinese and Latin letters.
_FAMILIES: Final = (
    "Noto Sans CJK SC, Noto Sans SC, Source Han Sans SC, PingFang SC, Hiragino Sans GB, Microsoft YaHei, "
    "WenQuanYi Micro Hei, sans-serif"
)
# Where systems keep these faces, the first one that is there is taken.
PLACES: Final = tuple(
    map(
        Path,
        (
            "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
            "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
            "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
            "/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc",
            "/usr/share/fonts/adobe-source-han-sans/SourceHanSansCN-Regular.otf",
            "/usr/share/fonts/adobe-source-han-sans-cn-fonts/SourceHanSansCN-Regular.otf",
            "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
            "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
            "/System/Library/Fonts/PingFang.ttc",
            "/System/Library/Fonts/Hiragino Sans GB.ttc",
            "/System/Library/Fonts/STHeiti Light.ttc",
            "C:/Windows/Fonts/msyh.ttc",
            "C:/Windows/Fonts/simhei.ttf",
        ),
    )
)


class Setting(NamedTuple):
    """Say how a caption is set.

    Units: shares of the print's width; ``baselines`` and ``height`` from the upper end of the caption.
    """

    lines: tuple[str, ...]
    em: float
    baselines: tuple[float, ...]
    height: float


@dataclass(frozen=True, slots=True)
class CaptionFont:
    """Draw with one face of a font file, or with the Latin face of the drawing library where ``path`` is None."""

    path: Path | None = None
    face: int = 0

    def sized(self, px: int) -> ImageFont.FreeTypeFont:
        """Open the face at a size. The basic layout is the same with and without the libraries for the other one."""
        if self.path is not None:
            return ImageFont.truetype(self.path, px, self.face, layout_engine=ImageFont.Layout.BASIC)
        face = ImageFont.load_default(px)
        assert isinstance(face, ImageFont.FreeTypeFont)
        return face

    def missing(self, text: str) -> list[str]:
        """Name the letters that cannot be drawn: the font lacks them, or they join, stack or run from right to left."""
        face = self.sized(32)
        absent = _drawn(face, "\U0010ffff")
        return [
            letter
            for letter in dict.fromkeys(visible(text))
            if not letter.isspace() and (_joins(letter) or _drawn(face, letter) in (absent, None))
        ]


@lru_cache
def find_font(given: str = "", places: Sequence[Path] = PLACES) -> CaptionFont:
    """Open the font that is given, or look for one that has Chinese letters.

    Raises: ValueError — the given one is none that can be drawn with at every size.
    """
    if given:
        try:
            return CaptionFont(Path(given), _face(Path(given)))
        except OSError as error:
            raise ValueError(f"HUOMA_CAPTION_FONT={given!r} cannot be used as a font: {error}.") from None
    for place in places:
        try:
            return CaptionFont(place, _face(place))
        except OSError:
            continue
    return CaptionFont()


def is_line(caption: str) -> bool:
    """Accept what a font may have and XML can hold: no control, half, private character or noncharacter."""
    return (
        len(caption) <= limits.CAPTION_LENGTH
        and caption == caption.strip()
        and bool(visible(caption))
        and not any(unicodedata.category(c) in ("Cc", "Cs", "Co", "Zl", "Zp") for c in caption)
        and not any(ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF for c in caption)
    )


def lay_out(caption: str, margin: float) -> Setting:
    """Set a caption in one line, or in two if the letters of one would be small.

    Units: ``margin``, the share of the width that the print leaves free beside its code.
    Raises: Refusal ``bad_style`` — two lines do not hold it.
    """
    margin = min(max(margin, _MARGIN_LEAST), _MARGIN_MOST)
    lines, em = _lines(caption, 1 - 2 * margin)
    baselines = tuple((_ASCENT + line * _PITCH) * em for line in range(len(lines)))
    return Setting(lines, em, baselines, baselines[-1] + _DESCENT * em + max(_MARGIN_LEAST, margin / 2))


def draw_lines(setting: Setting, width_px: int, font: CaptionFont) -> Image.Image:
    """Draw a caption as 255 on 0, as wide as the print. A letter that the font lacks is drawn as a box."""
    lines = [visible(line) for line in setting.lines]
    px = max(1, int(setting.em * width_px))
    face = font.sized(px)
    # A font that is given may be wider than any that the estimate knows.
    widest = max(map(face.getlength, lines)) / width_px
    if widest > 1 - 2 * _MARGIN_LEAST:
        face = font.sized(max(1, int(px * (1 - 2 * _MARGIN_LEAST) / widest)))
    block = Image.new("L", (width_px, math.ceil(setting.height * width_px)), 0)
    pen = ImageDraw.Draw(block)
    for line, baseline in zip(lines, setting.baselines, strict=True):
        pen.text((width_px / 2, round(baseline * width_px)), line, fill=255, font=face, anchor="ms")
    return block


def svg_lines(setting: Setting, colour: str, side: int, top: int) -> str:
    """Write a caption as text elements.

    Units: modules, of which `side` are the width and `top` the distance of the caption from the upper end.
    """
    common = f'x="{side / 2:g}" font-family="{_FAMILIES}" font-size="{setting.em * side:.4g}"'
    return "".join(
        f'<text {common} y="{top + baseline * side:.6g}" text-anchor="middle" fill="{colour}">'
        f"{html.escape(line, quote=False)}</text>"
        for line, baseline in zip(setting.lines, setting.baselines, strict=True)
    )


def check_letters(caption: str, setting: Setting, width_px: int, font: CaptionFont) -> None:
    """Refuse a caption that pixels would spoil.

    Raises: Refusal — ``no_font`` for letters that cannot be drawn, ``bad_style`` for ones too small to be read.
    """
    if missing := font.missing(caption):
        letters = " ".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in missing[:_SHOWN])
        raise Refusal(
            "no_font",
            f"This server cannot draw {letters} in a PNG. Leave that out, or take the SVG, which is drawn with fonts "
            "of the computer that opens it. For Chinese letters an operator of the server has to install the package "
            "fonts-noto-cjk or set HUOMA_CAPTION_FONT.",
            "caption",
        )
    if setting.em * width_px < _LEAST_PX:
        raise Refusal("bad_style", "So long a caption needs a larger size.", "caption")


def _lines(caption: str, room: float) -> tuple[tuple[str, ...], float]:
    """Choose lines and the size of letters that fill the room; a break after a word or a mark is worth smaller ones."""
    alone = room / _advance(caption)
    if alone >= _EM_ALONE:
        return (caption,), min(alone, _EM_MAX)
    ways = [
        (alone, 1.0, (caption,)),
        *((room / max(map(_advance, pair)), worth, pair) for pair, worth in _broken(caption)),
    ]
    fit = [(min(em, _EM_MAX), worth, lines) for em, worth, lines in ways if em >= _EM_LEAST]
    if not fit:
        raise Refusal(
            "bad_style",
            "The caption does not fit below the code in two lines. Shorten it, or put a blank where it may break.",
            "caption",
        )
    em, _, lines = max(fit, key=lambda way: way[0] * way[1])
    return lines, em


def _face(path: Path) -> int:
    """Find the face with the forms of mainland China in a file of several.

    Raises: OSError — there is no such file, or it is no font that can be scaled.
    """
    names = list(_names(path))
    ours = [face for face, (family, _) in enumerate(names) if family and family.endswith(" SC")]
    return next((face for face in ours if names[face][1] == "Regular"), ours[0] if ours else 0)


def _names(path: Path) -> Iterator[tuple[str | None, str | None]]:
    """List family and style of the faces in a file."""
    yield ImageFont.truetype(path, 32).getname()
    for face in range(1, 64):
        try:
            yield ImageFont.truetype(path, 32, face).getname()
        except OSError:
            return


def _drawn(face: ImageFont.FreeTypeFont, letter: str) -> tuple[float, bytes] | None:
    """Draw one letter, to compare it with what is drawn for one that no font has; None if nothing is to be seen."""
    pixels = bytes(face.getmask(letter))
    return (face.getlength(letter), pixels) if any(pixels) else None


def _joins(letter: str) -> bool:
    return unicodedata.bidirectional(letter) in ("R", "AL", "AN") or unicodedata.category(letter) in ("Mn", "Mc", "Me")


def visible(text: str) -> str:
    """Leave out what has no form of its own: joiners, marks of direction, and selectors of a letter's variant."""
    return "".join(c for c in text if unicodedata.category(c) != "Cf" and not 0xFE00 <= ord(c) <= 0xFE0F)


def _wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in ("W", "F")


def _advance(text: str) -> float:
    """Estimate the width of a line in shares of its letters' size, so that it is no wider in any common font."""
    return sum(map(_letter_advance, text))


def _letter_advance(letter: str) -> float:
    category = unicodedata.category(letter)
    if letter in _NARROW:
        return 0.45
    if letter in _BROAD:
        return 1.0
    # Marks of ambiguous width are as wide as a letter in Chinese fonts.
    if category != "So" and unicodedata.east_asian_width(letter) in ("W", "F", "" if category[0] == "L" else "A"):
        return 1.0
    return _ADVANCES.get(category, 0.55 if category[0] == "P" else 1.0)


def _broken(text: str) -> Iterator[tuple[tuple[str, str], float]]:
    """Break a text in two, at each blank and beside each wide letter, but never before what ends a phrase.

    Shapes: both lines, and what the break is worth: 1 after a phrase, less within one.
    """
    for at in range(1, len(text)):
        left, right = text[:at].rstrip(), text[at:]
        wide = _wide(left[-1]), _wide(right[0])
        before, after = unicodedata.category(text[at - 1]), unicodedata.category(right[0])
        blank = before == "Zs" and after != "Zs"
        if blank or (any(wide) and before not in _STICKS_ON and after not in _STICKS_TO):
            # A blank between a Chinese letter and a number is there for looks.
            phrase = wide[0] == wide[1] if blank else before in _ENDS or after in _BEGINS
            yield (left, right), 1.0 if phrase else _WITHIN
