import itertools
from xml.etree import ElementTree as ET

import pytest

from bench.curve import Cost, Curve, Point
from bench.picture import Panel, drawn, short

SVG = "{http://www.w3.org/2000/svg}"


def curve(**memory: int) -> Curve:
    points = [
        Point(10, [Cost(50, 80), Cost(40, 90), Cost(60, 100)], memory.get("first")),
        Point(50_000, [Cost(60, 180)], memory.get("last")),
    ]
    return Curve("targets of a code", "One code.", points)


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in ET.fromstring(svg).iter(f"{SVG}text")]


def test_a_curve_tells_medians_and_how_they_compare_with_the_first() -> None:
    assert rows(curve().text())[2:] == [
        ["10", "50", "1.00", "90", "1.00"],
        ["50,000", "60", "1.20", "180", "2.00"],
    ]


def test_a_curve_tells_the_memory_of_redis_where_it_was_measured() -> None:
    head, _, first, last = rows(curve(last=2_500_000).text())

    assert (head[-1], first[-1], last[-1]) == ("Redis MB", "–", "2.5")
    assert "Redis" not in curve().text()


@pytest.mark.parametrize(
    "title", ["</text><script>alert(1)</script>", "a & b", "\"'<", "\0\x1b\n\ud800\ufffe", "群活码"]
)
def test_the_picture_is_well_formed_whatever_a_panel_is_called(title: str) -> None:
    svg = drawn([Panel(title, [(0, 1.0), (10, 2.0)])])

    assert [one.tag for one in ET.fromstring(svg).iter() if one.tag.endswith("script")] == []
    assert "".join(c if c.isprintable() else "\ufffd" for c in title) in texts(svg)


def test_a_point_stands_higher_the_more_a_scan_costs_and_further_right_by_the_logarithm() -> None:
    svg = drawn([Panel("p", [(1, 40.0), (10, 80.0), (100, 60.0), (1_000, 0.4)])])

    dots = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in ET.fromstring(svg).iter(f"{SVG}circle")]
    steps = [right - left for (left, _), (right, _) in itertools.pairwise(dots)]
    assert max(steps) - min(steps) < 0.2
    assert dots[1][1] < dots[2][1] < dots[0][1] < dots[3][1]
    assert {"40", "80", "60", "0.4", "1k"} <= set(texts(svg))


@pytest.mark.parametrize(
    "points", [[], [(7, 3.0)], [(0, 3.0)], [(0, 3.0), (10_000, 3.0)], [(1, 1.0), (2, 90_000.0)], [(1, 1.0), (2, 2.0)]]
)
def test_everything_stays_within_its_panel(points: list[tuple[int, float]]) -> None:
    root = ET.fromstring(drawn([Panel("p", points)]))

    for one in root.iter(f"{SVG}circle"):
        assert 0 < float(one.get("cx", "")) < 300
        assert 0 < float(one.get("cy", "")) < 212
    assert len(list(root.iter(f"{SVG}circle"))) == len(points)


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0"), (8.46, "8.5"), (64, "64"), (1_000, "1k"), (1_500, "1.5k"), (50_000, "50k"), (1e6, "1M")],
)
def test_numbers_are_spelt_short(number: float, said: str) -> None:
    assert short(number) == said
