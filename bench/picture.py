"""Draw curves as one SVG picture of small panels, readable on light and dark pages. Pure; plain text building.

An axis of x is logarithmic, zero standing one step before the least other value; an axis of y begins at zero and is
relative to the first point, so that a flat line means that nothing grows.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

COLUMNS: Final = 3
_WIDTH, _HEIGHT, _GAP = 300, 212, 16
# Where the axes stand within a panel.
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 280, 40, 174
_HEAD, _FOOT = 58, 8
# Room above the highest point for what it says.
_AIR: Final = 1.2
# A line that rises or falls by more of the panel's height would run through a label above its end.
_STEEP: Final = 0.12
_LABEL_HEIGHT: Final = 12
_STYLE: Final = """\
svg { font: 12px system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif }
.page { fill: #ffffff; stroke: #d1d9e0 } .card { fill: #f6f8fa }
.strong { fill: #1f2328; font-weight: 600 } .big { font-size: 15px } .weak { fill: #59636e; font-size: 11px }
.grid { stroke: #d1d9e0; stroke-width: 1 } .one { stroke: #59636e; stroke-dasharray: 3 3 }
.line { fill: none; stroke: #0969da; stroke-width: 2; stroke-linejoin: round } .dot { fill: #0969da }
.value { fill: #1f2328; font-size: 11px; paint-order: stroke; stroke: #f6f8fa; stroke-width: 3px }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117; stroke: #3d444d } .card { fill: #151b23 }
.strong { fill: #f0f6fc } .weak { fill: #9198a1 } .grid { stroke: #3d444d } .one { stroke: #9198a1 }
.line { stroke: #4493f8 } .dot { fill: #4493f8 } .value { fill: #f0f6fc; stroke: #151b23 }
}"""


@dataclass(frozen=True, slots=True)
class Panel:
    """Name one curve and its points, x rising. Units: y in microseconds."""

    title: str
    points: Sequence[tuple[int, float]]


def drawn(panels: Sequence[Panel]) -> str:
    """Draw panels side by side, `COLUMNS` in a row."""
    rows = math.ceil(len(panels) / COLUMNS)
    width = COLUMNS * (_WIDTH + _GAP) + _GAP
    height = _HEAD + rows * (_HEIGHT + _GAP) + _FOOT
    body = [line for number, panel in enumerate(panels) for line in _placed(panel, number)]
    title = "What a scan costs as things grow"
    told = "CPU of the scan's own processes and of Redis, relative to each curve's first point; labels are µs a scan"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<title>{title}</title>",
        f"<style>\n{_STYLE}\n</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        _text(_GAP, 28, title, "strong big"),
        _text(_GAP, 46, told, "weak"),
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def short(number: float) -> str:
    """Spell a number in few characters: 50k, 1M, 1.5k, 250, 8.5."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + letter
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}".removesuffix(".0")


def _placed(panel: Panel, number: int) -> Iterator[str]:
    row, column = divmod(number, COLUMNS)
    x, y = _GAP + column * (_WIDTH + _GAP), _HEAD + row * (_HEIGHT + _GAP)
    yield f'<g transform="translate({x} {y})">'
    yield f'<rect class="card" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
    yield _text(14, 26, panel.title, "strong")
    if panel.points:
        yield from _inside(panel.points)
    yield "</g>"


def _inside(points: Sequence[tuple[int, float]]) -> Iterator[str]:
    base = points[0][1]
    top = max(1.0, *(y / base for _, y in points)) * _AIR
    places = [(_across(x, points), _up(y / base, top)) for x, y in points]
    yield from _grid(top)
    yield f'<polyline class="line" points="{" ".join(f"{across:.1f},{up:.1f}" for across, up in places)}"/>'
    for i, ((x, y), (across, up)) in enumerate(zip(points, places, strict=True)):
        yield f'<circle class="dot" cx="{across:.1f}" cy="{up:.1f}" r="3.5"/>'
        yield _text(across, up - 9, short(y), "value", _beside(places, i))
        yield _text(across, _BOTTOM + 20, short(x), "weak", "middle")


def _grid(top: float) -> Iterator[str]:
    steps = _steps(top)
    for times in sorted({*steps, 1.0}):
        up, style = _up(times, top), "one" if times == 1 else "grid"
        yield f'<line class="{style}" x1="{_LEFT}" x2="{_RIGHT}" y1="{up:.1f}" y2="{up:.1f}"/>'
        if times in steps or min(abs(up - _up(step, top)) for step in steps) >= _LABEL_HEIGHT:
            yield _text(_LEFT - 8, up + 4, f"{times:g}×", "weak", "end")


def _beside(places: Sequence[tuple[float, float]], i: int) -> str:
    """Choose the side of a point on which the line does not run through its label."""
    steep = (_BOTTOM - _TOP) * _STEEP
    falls_in = i > 0 and places[i][1] - places[i - 1][1] > steep
    rises_out = i + 1 < len(places) and places[i][1] - places[i + 1][1] > steep
    return {(True, False): "start", (False, True): "end"}.get((falls_in, rises_out), "middle")


def _across(x: int, points: Sequence[tuple[int, float]]) -> float:
    """Place x on a logarithmic axis, a little away from both ends."""
    first, last = _log(points[0][0], points), _log(points[-1][0], points)
    part = (_log(x, points) - first) / (last - first) if last > first else 0.5
    return _LEFT + 14 + part * (_RIGHT - _LEFT - 28)


def _log(x: int, points: Sequence[tuple[int, float]]) -> float:
    if x > 0:
        return math.log10(x)
    return min((math.log10(other) for other, _ in points if other > 0), default=1.0) - 1


def _up(times: float, top: float) -> float:
    return _BOTTOM - times / top * (_BOTTOM - _TOP)


def _steps(top: float) -> list[float]:
    """Choose three or four lines, one of them at 1 when that is not far below the top."""
    step = next(one for one in (0.5, 1, 2, 5, 10, 20, 50, 100, 1000, 10_000, math.inf) if top / one < 4)
    if math.isinf(step):
        return [0, top]
    return [step * n for n in range(int(top / step) + 1)]


def _text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    # XML has no way to spell most of what cannot be printed.
    said = escape("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words))
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{said}</text>'
