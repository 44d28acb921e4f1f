"""Read what WeChat prints around a group's QR (群二维码): the last day it is valid. It receives text from strangers.

Nothing here raises: a caption that makes no sense is none.
"""

import re
from datetime import date, timedelta
from typing import Final

# WeChat prints the day of making + 7 (docs/facts.md §1). One more day is for a phone whose zone is ahead of ours.
_AHEAD_AT_MOST: Final = timedelta(days=8)
# 29 February comes round after at most eight years.
_YEARS_BACK: Final = 8

_DAY_ZH: Final = re.compile(r"([0-9]{1,2})(?:月|/)([0-9]{1,2})[日号號]?前\W{0,3}有效")
_DAY_EN: Final = re.compile(r"validuntil([0-9]{1,2})/([0-9]{1,2})(?![0-9])", re.IGNORECASE)


def caption_date(text: str, uploaded_on: date) -> date | None:
    """Read the last day (有效期) a caption prints, such as ``(8月23日前)`` or ``Valid until 8/25``.

    Shapes: None when there is no caption or no such day. A caption has no year: the day is the latest one that can
    have been printed by ``uploaded_on``, so a day that is not in the coming week is one that has passed.
    Source: docs/facts.md §1, read 2026-11-21.
    """
    # A caption may wrap anywhere, also within a word or a number.
    joined = "".join(text.split())
    printed = _DAY_ZH.search(joined) or _DAY_EN.search(joined)
    if printed is None:
        return None
    latest = uploaded_on + _AHEAD_AT_MOST if uploaded_on <= date.max - _AHEAD_AT_MOST else date.max
    for year in range(latest.year, max(latest.year - _YEARS_BACK, date.min.year) - 1, -1):
        try:
            day = date(year, int(printed[1]), int(printed[2]))
        except ValueError:
            continue
        if day <= latest:
            return day
    return None


_NAME: Final = re.compile(r"^\s*(?:群聊|Group(?:\s*Chat)?)\s*[:：]\s*(\S.*)$", re.MULTILINE | re.IGNORECASE)


def caption_name(text: str) -> str | None:
    """Read the group's name (群名) from a title such as ``群聊：NAME`` or ``Group: NAME``.

    Shapes: one printed line per line of text; None when no line is such a title.
    """
    title = _NAME.search(text)
    return None if title is None else title[1].strip()
