"""What WeChat prints around a group's QR."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.caption import Box, Line, caption_date, card_date, card_name, spaced

FORMATS = json.loads((Path(__file__).parents[1] / "facts" / "payload_samples.json").read_text())["caption_formats"]


@pytest.mark.parametrize(
    ("text", "uploaded_on", "day"),
    [
        (FORMATS["zh"], date(2026, 8, 16), date(2026, 8, 23)),
        (FORMATS["en"], date(2026, 8, 20), date(2026, 8, 25)),
        ("该二维码7天内（8月23日前）有效", date(2026, 8, 16), date(2026, 8, 23)),
        ("該二維碼7天內 ( 8 月 23 日前 ) 有效", date(2026, 8, 16), date(2026, 8, 23)),
        ("该二维码7天内(8月2\n3日前)有\n效，重新进入将更新", date(2026, 8, 16), date(2026, 8, 23)),
        ("Valid until\n8/25 and will", date(2026, 8, 20), date(2026, 8, 25)),
        ("Validuntil1/5and will update", date(2025, 12, 29), date(2026, 1, 5)),
        ("Valid until 2/29 and", date(2028, 2, 22), date(2028, 2, 29)),
        ("Valid until 8/25 and", date(2026, 8, 17), date(2026, 8, 25)),
        ("Valid until 13/45 and", date(2026, 8, 16), None),
        ("Valid until 2/30 and", date(2026, 2, 27), None),
        ("群聊：8月23日报名群", date(2026, 8, 16), None),
        ("", date(2026, 8, 16), None),
    ],
)
def test_a_caption_says_the_last_day(text: str, uploaded_on: date, day: date | None) -> None:
    assert caption_date(text, uploaded_on) == day


@pytest.mark.parametrize(
    ("printed", "uploaded_on", "day"),
    [
        ((11, 5), date(2026, 11, 25), date(2026, 11, 5)),
        ((11, 24), date(2026, 11, 25), date(2026, 11, 24)),
        # A zone ahead of the workspace's prints one day more.
        ((12, 3), date(2026, 11, 25), date(2026, 12, 3)),
        # No code is made in the future, so a later day is last year's.
        ((12, 4), date(2026, 11, 25), date(2025, 12, 4)),
        ((1, 5), date(2025, 12, 29), date(2026, 1, 5)),
        ((1, 5), date(2026, 12, 29), date(2027, 1, 5)),
        ((12, 30), date(2027, 1, 2), date(2026, 12, 30)),
        ((12, 30), date(2026, 1, 2), date(2025, 12, 30)),
        ((2, 29), date(2027, 2, 22), date(2024, 2, 29)),
        ((2, 29), date(2103, 2, 22), date(2096, 2, 29)),
    ],
)
def test_a_day_that_is_not_in_the_coming_week_has_passed_whatever_the_year(
    printed: tuple[int, int], uploaded_on: date, day: date
) -> None:
    month, number = printed
    assert caption_date(f"该二维码7天内({month}月{number}日前)有效，重新进入将更新", uploaded_on) == day
    assert caption_date(f"Valid until {month}/{number} and will update upon joining group", uploaded_on) == day


def line(text: str, left: float, top: float, width: float, **marks: float) -> Line:
    return Line(text, Box(left, top, left + width, top + 0.08), 0.065, **marks)  # type: ignore[arg-type]


CAPTION = line("该二维码7天内(8月23日前)有效，重新进入将更新", 0, 1.2, 1)
AVATAR = Box(-0.1, -0.3, 0.1, -0.1)


@pytest.mark.parametrize(
    ("lines", "pictures", "name"),
    [
        ([line("群聊：春日护肤交流群", 0.1, -0.2, 0.8), CAPTION], [], "春日护肤交流群"),
        ([line("群聊: 老客 福利群 ", 0.1, -0.2, 0.8)], [], "老客 福利群"),
        ([line("Group: VIP", 0.3, -0.28, 0.4), line("skincare", 0.35, -0.19, 0.3)], [], "VIP skincare"),
        ([line("群聊：手作市集摊主", 0.1, -0.28, 0.8), line("互助群", 0.4, -0.19, 0.2)], [], "手作市集摊主互助群"),
        # What is far above, of another size or of another colour does not belong to a title.
        ([line("春日市集", 0.2, -0.6, 0.6), line("群聊：读书会", 0.2, -0.2, 0.6)], [], "读书会"),
        ([line("群聊：读书会", 0.2, -0.3, 0.6), line("共 8 人", 0.4, -0.2, 0.2, contrast=0.4)], [], "读书会"),
        # Without a prefix: beside or below an avatar, on a card with a caption.
        ([line("山野徒步", 0.15, -0.24, 0.4), CAPTION], [AVATAR], "山野徒步"),
        ([line("山野徒步", 0.3, -0.15, 0.4), CAPTION], [Box(0.38, -0.45, 0.62, -0.21)], "山野徒步"),
        ([line("山野徒步", 0.15, -0.24, 0.4), CAPTION], [], None),
        ([line("山野徒步", 0.15, -0.24, 0.4)], [AVATAR], None),
        ([line("群二维码名片", 0.3, -0.2, 0.4), CAPTION], [AVATAR], None),
        ([line("山野", -0.05, -0.24, 0.1), line("河岸钓友", 0.15, -0.24, 0.4), CAPTION], [AVATAR], "河岸钓友"),
        # A reader that is not sure, and a title that is cut.
        ([line("群聊：春日护肤", 0.1, -0.2, 0.8, score=0.6)], [], None),
        ([line("群聊：春日护肤", 0.1, -0.2, 0.8, cut=True)], [], None),
        ([line("群聊：", 0.1, -0.2, 0.2)], [], None),
        ([line("小鹿老师", 0.1, -0.2, 0.8)], [], None),
        ([], [], None),
    ],
)
def test_a_group_is_named_by_the_place_of_its_title(lines: list[Line], pictures: list[Box], name: str | None) -> None:
    assert card_name(lines, pictures) == name


def test_a_day_above_the_code_is_part_of_a_name() -> None:
    title = line("群聊：满减 8月10日前有效", 0.1, -0.2, 0.8)
    assert card_date([title, CAPTION], date(2026, 8, 20)) == date(2026, 8, 23)
    assert card_date([title], date(2026, 8, 20)) is None


def test_the_caption_is_the_text_nearest_to_the_code_that_has_a_day() -> None:
    lines = [line("该二维码7天内(8月2", 0, 1.2, 1), line("3日前)有效", 0.3, 1.29, 0.4), line("8月9日前有效", 0, 1.5, 1)]
    assert card_date(lines, date(2026, 8, 20)) == date(2026, 8, 23)


@pytest.mark.parametrize(
    ("text", "middles", "gaps", "spelt"),
    [
        ("满减11月", [10, 30, 50, 60, 80], [(38, 47)], "满减 11月"),
        ("满减11月", [10, 30, 50, 60, 80], [(38, 40)], "满减11月"),
        ("11月", [10, 20, 40], [(13, 19)], "11月"),
        ("满，减", [10, 30, 50], [(32, 44)], "满，减"),
        ("a b", [10, 30], [(14, 26)], "a b"),
        ("满减", [10], [(12, 30)], "满减"),
    ],
)
def test_a_blank_is_where_the_print_has_one(
    text: str, middles: list[float], gaps: list[tuple[int, int]], spelt: str
) -> None:
    assert spaced(text, middles, gaps, 20) == spelt


numbers = st.floats(-2, 2, allow_nan=False)
boxes = st.builds(Box, numbers, numbers, numbers, numbers)
texts = st.one_of(
    st.text(),
    st.from_regex(r"群聊：.*"),
    st.from_regex(r"\([0-9]{1,2}月[0-9]{1,2}日前\)有效"),
    st.from_regex(r"Valid until [0-9/]+"),
)


@given(st.lists(st.builds(Line, texts, boxes, st.floats(0, 1))), st.lists(boxes), st.dates())
def test_junk_around_a_code_is_read_or_is_nothing(lines: list[Line], pictures: list[Box], uploaded_on: date) -> None:
    for text in [*(line.text for line in lines), ""]:
        day = caption_date(text, uploaded_on)
        assert day is None or day - uploaded_on <= timedelta(days=8)
    name = card_name(lines, pictures)
    assert name is None or name == name.strip() != ""
    assert card_date(lines, uploaded_on) is None or lines
