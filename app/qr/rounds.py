"""Recognise the round codes of WeChat (小程序码, 赞赏码), which no QR reader reads: rays and three eyes."""

import itertools
import math
from typing import Any, Final

from PIL import Image

_SIDE_PX: Final = 1200
# In a square of side 1: how round an eye is at least. A circle of pixels is about 0.9, a square 0.79.
_ROUND: Final = 0.82
# Of twelve directions around the middle, in how many a picture changes more around it than away from it, and by how
# much. Three may hold an eye and one the sign; in a square code both changes are alike.
_DIRECTIONS: Final = 12
_WITH_RAYS: Final = 8
_RAYS: Final = 1.08
_LEAST_CHANGE: Final = 5
_EYES_MAX: Final = 40

# The middle of a circle and its radius, in pixels.
_Eye = tuple[float, float, float]


def is_round_code(image: Image.Image) -> bool:
    """Return whether a picture without a QR shows a round code.

    Cost: some 50 ms at most, whatever the size of the picture.
    """
    import cv2
    import numpy as np

    small = image.convert("L")
    small.thumbnail((_SIDE_PX, _SIDE_PX))
    grey = np.asarray(small)
    _, ink = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    eyes = _eyes(ink)
    for three in itertools.combinations(eyes, 3):
        found = _middle(three)
        if found and _is_alone(three, eyes, found) and _has_rays(grey, *found):
            return True
    return False


def _eyes(ink: Any) -> list[_Eye]:
    """Find the rings with a disc in their middle. Shapes: middle and radius of each, in pixels."""
    import cv2

    contours, nesting = cv2.findContours(ink, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    eyes = []
    for at, contour in enumerate(contours):
        outer = _circle(contour)
        inside = nesting[0][at][2]
        if outer is None or inside < 0 or _circle(contours[inside]) is None:
            continue
        disc = nesting[0][inside][2]
        inner = _circle(contours[disc]) if disc >= 0 else None
        if inner and math.dist(outer[:2], inner[:2]) < 0.2 * outer[2]:
            eyes.append(outer)
    return sorted(eyes, key=lambda eye: -eye[2])[:_EYES_MAX]


def _circle(contour: Any) -> _Eye | None:
    import cv2

    area, length = cv2.contourArea(contour), cv2.arcLength(contour, closed=True)
    if area < 8 or 4 * math.pi * area / length**2 < _ROUND:
        return None
    (x, y), radius = cv2.minEnclosingCircle(contour)
    return float(x), float(y), float(radius)


def _middle(three: tuple[_Eye, ...]) -> _Eye | None:
    """Find the middle of three eyes that stand in three corners of a square, and how far they are from it."""
    radii = sorted(eye[2] for eye in three)
    if radii[2] > 1.4 * radii[0]:
        return None
    for corner in range(3):
        (x, y, _), (x1, y1, _), (x2, y2, _) = three[corner], three[corner - 1], three[corner - 2]
        one, other, across = math.dist((x, y), (x1, y1)), math.dist((x, y), (x2, y2)), math.dist((x1, y1), (x2, y2))
        if abs(one - other) < 0.12 * one and abs(across - math.sqrt(2) * one) < 0.12 * across and one > 4 * radii[2]:
            return (x1 + x2) / 2, (y1 + y2) / 2, across / 2
    return None


def _is_alone(three: tuple[_Eye, ...], eyes: list[_Eye], middle: _Eye) -> bool:
    """Return whether no other eye stands within the code: a pattern of rings has one wherever it is looked at."""
    x, y, far = middle
    return not any(eye not in three and math.dist(eye[:2], (x, y)) < 1.1 * far for eye in eyes)


def _has_rays(grey: Any, x: float, y: float, far: float) -> bool:
    """Return whether what stands around a middle is made of strokes that lead away from it."""
    import cv2
    import numpy as np

    # Rows are directions, columns distances from the middle, both in pixels at the eyes' distance.
    around = max(round(2 * math.pi * far), 8)
    unrolled = cv2.warpPolar(grey, (round(far * 1.3), around), (x, y), far * 1.3, cv2.INTER_LINEAR).astype(np.float32)
    ring = unrolled[:, round(far * 0.62) : round(far * 1.1)]
    rays = 0
    for part in np.array_split(ring, _DIRECTIONS):
        turning, leaving = np.abs(np.diff(part, axis=0)).mean(), np.abs(np.diff(part, axis=1)).mean()
        rays += bool(turning > _LEAST_CHANGE and turning > _RAYS * leaving)
    return rays >= _WITH_RAYS
