"""Load the templates of all pages, with the one style, the one script and the policy that allows no other."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final
from unicodedata import east_asian_width

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from app.web.language import Language
from app.web.words import EN, ZH

# Half-width columns on the narrowest phone. One line more than the folded text shows, as wider phones need fewer.
_LEAD_COLUMNS: Final = 40
_LEAD_LINES: Final = 4
_TAB_TITLE_LENGTH: Final = 60

LANG: Final[Mapping[Language, str]] = MappingProxyType({Language.ZH: "zh-CN", Language.EN: "en"})
WORDS: Final[Mapping[Language, Mapping[str, str]]] = MappingProxyType({Language.ZH: ZH, Language.EN: EN})


def _shorten(text: str) -> str:
    """Cut a title for the tab and for link previews, where nobody reads further anyway."""
    return text if len(text) <= _TAB_TITLE_LENGTH else text[: _TAB_TITLE_LENGTH - 1] + "…"


def _is_tall(text: str) -> bool:
    """Tell whether a text that stands above a QR or a menu would push it down too far."""
    lines = 0
    for line in text.split("\n"):
        columns = sum(2 if east_asian_width(character) in "WF" else 1 for character in line)
        lines += max(1, -(-columns // _LEAD_COLUMNS))
    return lines > _LEAD_LINES


_FOLDER: Final = Path(__file__).parent / "templates"
_STYLE: Final = (_FOLDER / "page.css").read_text(encoding="utf-8").strip()
_SCRIPT: Final = (_FOLDER / "page.js").read_text(encoding="utf-8").strip()
# What every page does, and beside it a button that copies the address.
_COPYING: Final = "\n".join((_SCRIPT, (_FOLDER / "copy.js").read_text(encoding="utf-8").strip()))
# Autoescaping turns every `<` that was typed into `&lt;`, so no text can ever look like a hole.
HOLE: Final = "<hole>"

TEMPLATES: Final = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
TEMPLATES.filters["shorten"] = _shorten
TEMPLATES.tests["tall"] = _is_tall
# Our own files, marked as safe; nothing that anybody typed is.
TEMPLATES.globals.update(style=Markup(_STYLE), script=Markup(_SCRIPT), copying=Markup(_COPYING), hole=Markup(HOLE))  # noqa: S704


def _source(text: str) -> str:
    """Name an inline style or script in a Content-Security-Policy by its hash."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


# WeChat keeps pages that say less. Source: docs/facts.md §4, read 2026-11-21.
UNKEPT: Final = (b"cache-control", b"no-store, no-cache, must-revalidate, max-age=0")
_POLICY: Final = (
    f"default-src 'none'; img-src 'self'; style-src {_source(_STYLE)}; "
    f"script-src {_source(_SCRIPT)} {_source(_COPYING)}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


HEADERS: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", _POLICY.encode()),
    UNKEPT,
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""The headers of every page, as ASGI wants them: lower-case names, bytes; content-length is the sender's."""
