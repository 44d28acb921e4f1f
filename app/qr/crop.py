"""Cut a picture to the card around its QR, so that the code is large on a visitor's page and the call below it is seen.

Places are in sides of the QR, as in `card`.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from PIL import Image

from app.domain.caption import Box
from app.qr.card import Card, upright

# The page shows a picture at least 256 CSS px wide, and a code needs 200 (docs/facts.md §4).
_WIDTH_MAX: Final = 1.27
# The page has room for 382 CSS px between its title and the call at 320 x 568.
_HEIGHT_MAX: Final = 1.45 * _WIDTH_MAX
# Paper that a reader needs around the code, and that looks right around a text.
_QUIET: Final = 0.1
_LEAST_QUIET: Final = 0.03
_AROUND_TEXT: Final = 0.04
# How far from the code a text belongs to it.
_NEAR: Final = 0.6
# By what part of its side a code may lean before its picture is set upright.
_LEAN: Final = 0.03
_UPRIGHT_PX: Final = 1200

Corners = Sequence[tuple[float, float]]


def crops(image: Image.Image, corners: Corners, card: Card) -> Iterator[Image.Image]:
    """Yield cuts of a picture, the best first: with as much of the card as there is room for; the whole one last."""
    side = math.dist(corners[0], corners[1])
    leans = _lean(corners, side) > _LEAN * side
    fits = side * _WIDTH_MAX >= image.width and image.height <= _HEIGHT_MAX * side
    if fits and not leans:
        yield image
    for box in _boxes(card):
        if box.right - box.left <= _WIDTH_MAX and box.bottom - box.top <= _HEIGHT_MAX:
            yield _turned(image, corners, box, side) if leans else _cut(image, corners[0], box, side)
    yield image


def _lean(corners: Corners, side: float) -> float:
    """Measure how far the corners are from those of an upright square. Units: pixels."""
    x, y = corners[0]
    wanted = ((x, y), (x + side, y), (x + side, y + side), (x, y + side))
    return max(math.dist(*pair) for pair in zip(corners, wanted, strict=True))


def _boxes(card: Card) -> Iterator[Box]:
    """Yield what may be shown: the code with avatar, title and caption, with fewer of them, alone."""
    above = _block([line.box for line in reversed(card.lines) if -_NEAR < line.box.bottom < 0.02])
    below = _block([line.box for line in card.lines if 0.98 < line.box.top < 1 + _NEAR])
    things = [*card.pictures, *(line.box for line in card.lines)]
    for wanted in ([*card.pictures, *above, *below], [*above, *below], below, above):
        if wanted:
            box = Box(
                min(-_QUIET, *(one.left - _AROUND_TEXT for one in wanted)),
                min(-_QUIET, *(one.top - _AROUND_TEXT for one in wanted)),
                max(1 + _QUIET, *(one.right + _AROUND_TEXT for one in wanted)),
                max(1 + _QUIET, *(one.bottom + _AROUND_TEXT for one in wanted)),
            )
            if not any(_is_cut_by(box, one) for one in things):
                yield box
    # What stands nearer to the code than its paper is wide is left out rather than cut through.
    up = min([_QUIET, *(-one.bottom for one in above)])
    down = min([_QUIET, *(one.top - 1 for one in below)])
    yield Box(-_QUIET, -max(up, _LEAST_QUIET), 1 + _QUIET, 1 + max(down, _LEAST_QUIET))


def _block(boxes: Sequence[Box]) -> list[Box]:
    """Keep the lines that are one text, of lines that lead away from the code."""
    found: list[Box] = []
    for box in boxes:
        if found and max(box.top - found[-1].bottom, found[-1].top - box.bottom) > max(box.height, found[-1].height):
            break
        found.append(box)
    return found


def _is_cut_by(box: Box, thing: Box) -> bool:
    apart = thing.right <= box.left or thing.left >= box.right or thing.bottom <= box.top or thing.top >= box.bottom
    within = box.left <= thing.left and thing.right <= box.right and box.top <= thing.top and thing.bottom <= box.bottom
    return not apart and not within


def _cut(image: Image.Image, corner: tuple[float, float], box: Box, side: float) -> Image.Image:
    x, y = corner
    left, top = max(0, round(x + box.left * side)), max(0, round(y + box.top * side))
    right = min(image.width, round(x + box.right * side))
    return image.crop((left, top, right, min(image.height, round(y + box.bottom * side))))


def _turned(image: Image.Image, corners: Corners, box: Box, side: float) -> Image.Image:
    side = min(round(side), _UPRIGHT_PX)
    size = round((box.right - box.left) * side), round((box.bottom - box.top) * side)
    turn = upright(corners, side, (-box.left * side, -box.top * side))
    return image.transform(size, Image.Transform.PERSPECTIVE, turn, Image.Resampling.BICUBIC, fillcolor="white")
