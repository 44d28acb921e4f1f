"""Read what a path asks for, also where hands and messengers have spoilt it."""

import re
import unicodedata
from typing import Final, NamedTuple

from app.domain import limits

_SLUG: Final = rf"[A-Za-z0-9_-]{{1,{limits.SLUG_MAX}}}"
PAGE: Final = re.compile(rf"/({_SLUG})(?:/([0-9]{{1,6}}))?/?")
# A picture is answered with a picture, even where its page could not have been.
PICTURE: Final = re.compile(rf"/(?:({_SLUG})|([^/]+))/seat/([A-Za-z0-9._-]{{1,200}})\.png")
FALLBACK: Final = re.compile(rf"/(?:({_SLUG})|([^/]+))/fallback\.png")
PRINT: Final = re.compile(rf"/(?:({_SLUG})|([^/]+))(?:/([0-9]{{1,6}}))?/print\.png")

# Nothing that was typed or pasted is longer, and only this much of a path is looked at.
_LOOKED_AT: Final = 200
# What quotes and brackets put around an address, and what a sentence puts behind it: no letter and no digit of ASCII,
# or a question mark that was typed full-width.
_BEFORE: Final = r"""[\s"'“”‘’«»「」『』【】《》<>()\[\]]*"""
_AFTER: Final = r"[^A-Za-z0-9_/-][^A-Za-z0-9_/]*|[?#].*"
_SPOILT: Final = re.compile(
    rf"/{_BEFORE}({_SLUG})(?:{_AFTER})?(?:/([0-9]{{1,6}})(?:{_AFTER})?)?/?(?:{_AFTER})?", re.DOTALL
)


class Asked(NamedTuple):
    """What a path asks for: a slug, and the number of an option or None."""

    slug: str
    option: str | None


def mend_path(path: str) -> Asked | None:
    """Read a path of a page that something was added to; None when nothing in it can be a slug.

    Undone are: what a sentence or a messenger puts behind an address (`。`, `，`, `)`, a blank), quotes around it,
    characters that nobody sees, and full-width letters and digits.
    """
    if len(path) > _LOOKED_AT:
        return None
    plain = unicodedata.normalize("NFKC", path)
    seen = "".join(one for one in plain if unicodedata.category(one) not in ("Cf", "Cc", "Co", "Cn", "Cs"))
    found = _SPOILT.fullmatch(seen)
    return Asked(found[1], found[2]) if found else None


def mend_segment(segment: str) -> str:
    """Read the slug in a spoilt first segment; '' when there is none."""
    asked = mend_path(f"/{segment}")
    return asked.slug if asked else ""
