"""What WeChat prints around a group's QR."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.caption import caption_date, caption_name

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


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("群聊：春日护肤交流群\n该二维码7天内(8月23日前)有效", "春日护肤交流群"),
        ("12:30\n群聊: 老客 福利群 \n", "老客 福利群"),
        ("Group: VIP skincare", "VIP skincare"),
        ("小鹿老师", None),
        ("", None),
    ],
)
def test_a_group_is_named_by_its_title(text: str, name: str | None) -> None:
    assert caption_name(text) == name


@given(
    st.one_of(
        st.text(),
        st.from_regex(r"群聊：.*\n.*\([0-9]{1,2}月[0-9]{1,2}日前\)有效"),
        st.from_regex(r"Valid until [0-9/]+"),
    ),
    st.dates(),
)
def test_junk_captions_are_read_or_are_nothing(text: str, uploaded_on: date) -> None:
    day = caption_date(text, uploaded_on)
    assert day is None or day - uploaded_on <= timedelta(days=8)
    name = caption_name(text)
    assert name is None or (name in text and name == name.strip() != "")
