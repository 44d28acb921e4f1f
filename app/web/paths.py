"""Read what a path asks for, also where hands and messengers have spoilt it."""

import re
import unicodedata
from typing import Final, NamedTuple
from urllib.parse import unquote

from app.domain import limits

_SLUG: Final = rf"[A-Za-z0-9_-]{{1,{limits.SLUG_MAX}}}"
PAGE: Final = re.compile(rf"/({_SLUG})(?:/([0-9]{{1,6}}))?/?")
# A picture is answered with a picture, even where its page could not have been.
PICTURE: Final = re.compile(rf"/(?:({_SLUG})|([^/]+))/seat/([A-Za-z0-9._-]{{1,200}})\.png")
FALLBACK: Final = re.compile(rf"/(?:({_SLUG})|([^/]+))/fallback\.png")
PRINT: Final = re.compile(rf"/(?:({_SLUG})|([^/]+))(?:/([0-9]{{1,6}}))?/print\.png")

# Nothing that was typed or pasted is longer, and only this much of a path is looked at.
_LOOKED_AT: Final = 200
# What quotes, brackets and stars put around an address, and what a sentence puts behind it: marks without a letter or a
# digit of ASCII; what begins as a query, a tag or a remark in brackets; the ending of a web page; and whatever follows
# the first character that is not ASCII.
_BEFORE: Final = r"""[\s"'“”‘’«»「」『』【】《》<>()\[\]*~`]*"""
_AFTER: Final = r"[^A-Za-z0-9_/-][^A-Za-z0-9_/]*|[?#&<(\[{].*|\.html?|[^A-Za-z0-9_/-]*?[^\x00-\x7f].*"
_SPOILT: Final = re.compile(
    # `index.html` is asked for by programs that try out addresses.
    rf"/+{_BEFORE}(?!index\.)({_SLUG})(?:{_AFTER})?(?:/([0-9]{{1,6}})(?:{_AFTER})?)?(?:/+(?:{_AFTER})?)?",
    re.DOTALL,
)
# What is left of an address that was encoded twice.
_ENCODED: Final = re.compile(r"%[0-9A-Fa-f]{2}")
# Behind a mark that was no ASCII before it was made so.
_WIDE: Final = "\u3000"


class Asked(NamedTuple):
    """What a path asks for: a slug, and the number of an option or None."""

    slug: str
    option: str | None


def mend_path(path: str) -> Asked | None:
    """Read a path of a page that something was added to; None when nothing in it can be a slug.

    Undone are: what a sentence or a messenger puts behind an address (`。`, `，`, `)`, a blank, `&from=…`), quotes and
    stars around it, invisible characters, full-width letters and digits, and a second encoding.
    """
    if len(path) > _LOOKED_AT:
        return None
    if _ENCODED.search(path):
        path = unquote(path)
    plain = "".join(map(_plain, path))
    seen = "".join(one for one in plain if unicodedata.category(one) not in ("Cf", "Cc", "Co", "Cn", "Cs"))
    found = _SPOILT.fullmatch(seen)
    return Asked(found[1], found[2]) if found else None


def _plain(one: str) -> str:
    """Spell a character as ASCII where that means the same, and mark it where it separates words."""
    if one.isascii():
        return one
    plain = unicodedata.normalize("NFKC", one)
    return plain if not plain.isascii() or re.fullmatch(r"[A-Za-z0-9_/-]*", plain) else plain + _WIDE


def mend_segment(segment: str) -> str:
    """Read the slug in a spoilt first segment; '' when there is none."""
    asked = mend_path(f"/{segment}")
    return asked.slug if asked else ""
