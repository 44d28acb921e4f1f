"""Read what WeChat prints around a group's QR (群二维码): the group's name above it, the last day it is valid below it.

Law: a text is what its place on the card makes it, and what is uncertain is nothing. Nothing here raises, since the
lines come from a stranger's picture. Places are in sides of the QR, from its top left corner.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, NamedTuple


class Box(NamedTuple):
    """Hold a rectangle. Units: sides of the QR, from its top left corner; what is above it is negative."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> float:
        """Return the middle between left and right."""
        return (self.left + self.right) / 2

    @property
    def height(self) -> float:
        """Return the height."""
        return self.bottom - self.top

    def holds(self, other: "Box") -> bool:
        """Return whether the centre of another box is within this one."""
        return self.left <= other.middle <= self.right and self.top <= (other.top + other.bottom) / 2 <= self.bottom


@dataclass(frozen=True, slots=True)
class Line:
    """Hold one printed line.

    Shapes: `size` is the height of its ink in sides of the QR, `contrast` from 0 to 1 how far its ink is from its
    paper, `score` from 0 to 1 how sure its reader is, of all letters and of the `weakest`; `cut` when it runs out of
    what was read.
    """

    text: str
    box: Box
    size: float
    contrast: float = 1.0
    score: float = 1.0
    weakest: float = 1.0
    cut: bool = False


# WeChat prints the day of making + 7 (docs/facts.md §1). One more day is for a phone whose zone is ahead of ours.
_AHEAD_AT_MOST: Final = timedelta(days=8)
# 29 February comes round after at most eight years.
_YEARS_BACK: Final = 8

# Of text without blanks. A reader of small grey print takes 1 for l or I, and 0 for O.
_NUMBER: Final = r"([0-9OoIl|]{1,2})"
_DAYS: Final = (
    re.compile(_NUMBER + rf"[月/]{_NUMBER}[日曰号號]?(?:之|以)?前\W{{0,3}}有[效効]"),
    re.compile(rf"[天日][内內]\W{{0,2}}{_NUMBER}[月/]{_NUMBER}[日曰号號]?(?:之|以)?前"),
    re.compile(rf"有[效効]期?至\W?{_NUMBER}[月/]{_NUMBER}"),
    re.compile(r"valid\W?(?:until|till|before|through)\W?([0-9]{1,2})/([0-9]{1,2})(?![0-9])", re.IGNORECASE),
)
_DIGITS: Final = str.maketrans("OoIl|", "00111")


def caption_date(text: str, uploaded_on: date) -> date | None:
    """Read the last day (有效期) a caption prints, such as ``(8月23日前)`` or ``Valid until 8/25``.

    Shapes: None when there is no caption or no such day. A caption has no year: the day is the latest one that can
    have been printed by ``uploaded_on``, so a day that is not in the coming week is one that has passed.
    Source: docs/facts.md §1, read 2026-11-21.
    """
    # A caption may wrap anywhere, also within a word or a number.
    joined = "".join(text.split())
    printed = next(filter(None, (shape.search(joined) for shape in _DAYS)), None)
    if printed is None:
        return None
    month, number = (int(digits.translate(_DIGITS)) for digits in printed.groups())
    latest = uploaded_on + _AHEAD_AT_MOST if uploaded_on <= date.max - _AHEAD_AT_MOST else date.max
    for year in range(latest.year, max(latest.year - _YEARS_BACK, date.min.year) - 1, -1):
        try:
            day = date(year, month, number)
        except ValueError:
            continue
        if day <= latest:
            return day
    return None


# What follows stands on cards, screens and posters around a code, and is no group's name.
_CAPTION: Final = re.compile(r"二[维維]码|二[维維]碼|QR\s?code|有效|更新|valid\s*until|joining\s*group", re.IGNORECASE)
_FURNITURE: Final = re.compile(
    r"(我的|群)?(二[维維][码碼])(名片)?|(group|my)\s*QR\s*code|群聊|\d{1,2}[:：]\d{2}.*|\d{1,3}%?|[45]G|.*(扫一扫|掃一掃|扫码|掃碼|长按|長按|识别|識別).*",
    re.IGNORECASE,
)
_TITLE: Final = re.compile(r"\s*(?:群聊|群組|群组|Group(?:\s*Chat)?)\s*[:：;；∶︰]\s*(.*)", re.IGNORECASE)
# In sides of the QR: how near to it a title ends and a caption begins.
_TITLE_WITHIN: Final = 0.5
_CAPTION_WITHIN: Final = 0.6
# Two lines of one text: their sizes, and how far their ink is from the paper, by these ratios at most.
_SAME_SIZE: Final = 1.3
_SAME_INK: Final = 1.35
_ALIGNED: Final = 0.07
_LETTER_AT_MOST: Final = 0.16
_SURE: Final = 0.75
_SURE_OF_A_LETTER: Final = 0.4
# An emoji is read as nothing or as a letter or two, of which the reader is not sure.
_STRAY_LETTERS: Final = 2
_SURE_OF_A_STRAY: Final = 0.9
# In heights of a line: how far the pieces of one line are apart where an emoji stands between them.
_PIECES_WITHIN: Final = 2.5


def card_date(lines: Sequence[Line], uploaded_on: date) -> date | None:
    """Read the last day from the first text below the QR that prints one; see `caption_date`."""
    for text in _captions(lines):
        if day := caption_date(text, uploaded_on):
            return day
    return None


def card_name(lines: Sequence[Line], pictures: Sequence[Box], *, captioned: bool = True) -> str | None:
    """Read the group's name (群名) from its place on the card. Emoji are left out.

    Shapes: `lines` from the top; `pictures` are the boxes of what may be the group's avatar. None when no line above
    the QR is a title that begins with ``群聊：`` or ``Group:``, or stands beside or below an avatar on a card that has
    a caption, unless such cards are not ``captioned``; and when the title runs out of the picture.
    """
    above = [line for line in lines if line.box.bottom < 0.02]
    # A large letter is square, too.
    pictures = [one for one in pictures if not any(_is_letter_of(one, line) for line in above)]
    above = _rows(above, pictures)
    titles = [(line, found[1]) for line in above if (found := _TITLE.match(line.text))]
    if titles:
        first, rest = titles[-1]
        block = [first, *_following(first, [line for line in above if line.box.top > first.box.top])]
        return _joined(block, [rest, *(line.text for line in block[1:])])
    if captioned and not any(_CAPTION.search(text) for text in _captions(lines)):
        return None
    block = _nearest_title([line for line in above if not _FURNITURE.fullmatch(line.text.strip())])
    if not block or not _has_avatar(block, pictures):
        return None
    return _joined(block, [line.text for line in block])


def _captions(lines: Sequence[Line]) -> Iterator[str]:
    """Yield the texts below the QR, one a block of lines, from the top."""
    block: list[Line] = []
    for line in lines:
        if line.box.top < 0.98:
            continue
        if block and line.box.top - block[-1].box.bottom > max(line.box.height, block[-1].box.height):
            yield "\n".join(one.text for one in block)
            block = []
        if not block and line.box.top > 1 + _CAPTION_WITHIN:
            return
        block.append(line)
    if block:
        yield "\n".join(one.text for one in block)


def _is_letter_of(picture: Box, line: Line) -> bool:
    height = min(1.1 * line.box.height, _LETTER_AT_MOST)
    return line.score >= _SURE and line.box.holds(picture) and picture.height < height


def _rows(lines: Sequence[Line], pictures: Sequence[Box]) -> list[Line]:
    """Join the pieces of each printed line, and leave out what is written in a picture."""
    rows: list[Line] = []
    for line in sorted(lines, key=lambda line: line.box.left):
        if any(picture.holds(line.box) for picture in pictures):
            continue
        row = next((at for at, row in enumerate(rows) if _in_a_row(row, line)), None)
        stray = len(line.text.strip()) <= _STRAY_LETTERS and line.score < _SURE_OF_A_STRAY
        if row is None:
            rows.append(line)
        elif not stray:
            rows[row] = _side_by_side(rows[row], line)
    return sorted(rows, key=lambda row: row.box.top)


def _in_a_row(row: Line, piece: Line) -> bool:
    height = min(row.box.height, piece.box.height)
    shared = min(row.box.bottom, piece.box.bottom) - max(row.box.top, piece.box.top)
    return shared > 0.6 * height and piece.box.left - row.box.right < _PIECES_WITHIN * height


def _side_by_side(row: Line, piece: Line) -> Line:
    return Line(
        text=_and(row.text.strip(), piece.text.strip()),
        box=Box(
            row.box.left,
            min(row.box.top, piece.box.top),
            max(row.box.right, piece.box.right),
            max(row.box.bottom, piece.box.bottom),
        ),
        size=max(row.size, piece.size),
        contrast=max(row.contrast, piece.contrast),
        score=min(row.score, piece.score),
        weakest=min(row.weakest, piece.weakest),
        cut=row.cut or piece.cut,
    )


def _following(first: Line, below: Sequence[Line]) -> list[Line]:
    """Find the lines on which the text of `first` goes on."""
    found = [first]
    for line in below:
        if not _goes_on(found[-1], line):
            break
        found.append(line)
    return found[1:]


def _nearest_title(written: Sequence[Line]) -> list[Line]:
    """Find the block of lines of one size that is nearest to the QR; what is smaller below a larger line is not it."""
    if not written or written[-1].box.bottom < -_TITLE_WITHIN:
        return []
    block = [written[-1]]
    for line in reversed(written[:-1]):
        if _goes_on(line, block[0]):
            block.insert(0, line)
        elif block[0].box.top - line.box.bottom < line.box.height and _type_size(line) > _SAME_SIZE * _type_size(
            block[0]
        ):
            block = [line]
        else:
            break
    return block


def _type_size(line: Line) -> float:
    """Return the size of the type: the ink of `nose` is half as high as that of `Big`."""
    if not line.text.isascii():
        return line.size
    up = any(letter in "bdfhijklt!?()[]{}|&/" or letter.isupper() or letter.isdigit() for letter in line.text)
    down = any(letter in "gjpqy,;()[]{}|Q" for letter in line.text)
    return line.size / (0.55 + 0.2 * up + 0.2 * down)


def _goes_on(line: Line, following: Line) -> bool:
    gap = following.box.top - line.box.bottom
    height = min(line.box.height, following.box.height)
    sizes, inks = sorted((_type_size(line), _type_size(following))), sorted((line.contrast, following.contrast))
    aligned = (
        abs(line.box.middle - following.box.middle) < _ALIGNED or abs(line.box.left - following.box.left) < _ALIGNED
    )
    return (
        -0.5 * height < gap < 0.8 * height
        and sizes[1] <= _SAME_SIZE * sizes[0]
        and inks[1] <= _SAME_INK * inks[0]
        and aligned
    )


def _has_avatar(block: Sequence[Line], pictures: Sequence[Box]) -> bool:
    left, right = min(line.box.left for line in block), max(line.box.right for line in block)
    top, bottom = block[0].box.top, block[-1].box.bottom
    for picture in pictures:
        beside = left - 0.2 < picture.right < left + 0.03 and picture.top < bottom and picture.bottom > top
        over = -0.03 < top - picture.bottom < 0.25 and left - 0.1 < picture.middle < right + 0.1
        if beside or over:
            return True
    return False


def _joined(block: Sequence[Line], texts: Sequence[str]) -> str | None:
    """Join the lines of a title as they were before they wrapped."""
    if any(line.cut or line.score < _SURE or line.weakest < _SURE_OF_A_LETTER for line in block):
        return None
    name = ""
    for text in texts:
        name = _and(name, text.strip())
    return name or None


def _and(text: str, more: str) -> str:
    """Join two texts: words with a blank, Chinese without."""
    words = text[-1:].isascii() and more[:1].isascii() and text and more
    return f"{text} {more}" if words else text + more


# In sizes of the letters: what is wider than this without ink is a blank.
_BLANK: Final = 0.25
# A reader sees most blanks between words by itself, and digits stand far apart.
_BLANK_IN_WORDS: Final = 0.45
# Letters that leave paper at their own sides.
_NARROW: Final = {"1": 0.06} | dict.fromkeys("月日目口曰田且回白自用周", 0.1) | dict.fromkeys("小卜个人八川", 0.06)
_WIDE: Final = frozenset("，。、：；！？（）【】《》「」『』〔〕“”‘’·・…—～")


def spaced(text: str, middles: Sequence[float], gaps: Sequence[tuple[int, int]], size: float) -> str:
    """Put back the blanks that a reader of Chinese drops, where the print has them.

    Shapes: `middles` are where the letters of `text` but blanks stand, and `gaps` the runs without ink, in one unit
    with `size`, the height of the ink.
    """
    letters = [at for at, letter in enumerate(text) if letter != " "]
    if len(letters) != len(middles):
        return text
    blanks = set()
    for start, end in gaps:
        place = (start + end) / 2
        number = next((number for number, middle in enumerate(middles) if middle > place), None)
        if not number:
            continue
        before, after = text[letters[number - 1]], text[letters[number]]
        if letters[number] - letters[number - 1] > 1 or before in _WIDE or after in _WIDE:
            continue
        needed = _BLANK_IN_WORDS if before.isascii() and after.isascii() else _BLANK
        needed += _NARROW.get(before, 0) + _NARROW.get(after, 0)
        if end - start > needed * size:
            blanks.add(letters[number])
    return "".join(" " + letter if at in blanks else letter for at, letter in enumerate(text))
