"""Write the pages a visitor meets. It knows no outcome, status or seat.

Every text of a marketer passes through autoescaping once, into a cached page with holes; a scan fills the holes.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal
from unicodedata import east_asian_width

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from app.domain.payload import TargetKind
from app.web.words import EN, ZH

# A page is some 8 kB, so a full cache is some 8 MB a worker; a code takes one page per language and kind of device.
_CACHED_PAGES: Final = 1024
# A menu has a page for each of its slugs, and may be ten times as long.
_CACHED_MENUS: Final = 128
_TAB_TITLE_LENGTH: Final = 60
_ACCEPT_LANGUAGE_LENGTH: Final = 256
# Half-width columns on the narrowest phone. One line more than the folded text shows, as wider phones need fewer.
_LEAD_COLUMNS: Final = 40
_LEAD_LINES: Final = 4


class Language(StrEnum):
    """Name a language that the pages speak."""

    ZH = "zh"
    EN = "en"


_RANGE: Final = re.compile(
    r"\s*([a-z]{1,8}|\*)(?:-[a-z0-9]{1,8})*\s*(?:;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?", re.IGNORECASE
)


def read_language(accept_language: str) -> Language:
    """Choose the language that an `Accept-Language` header likes best; Chinese when it names neither.

    Shapes: of two with the same weight, the first named wins; what cannot be read is passed over.
    """
    # The header is a stranger's: only its beginning is read and remembered.
    return _read_language(accept_language[:_ACCEPT_LANGUAGE_LENGTH])


@lru_cache(maxsize=1024)
def _read_language(header: str) -> Language:
    weights: dict[str, float] = {}
    for part in header.split(","):
        if liked := _RANGE.fullmatch(part):
            name, weight = liked[1].lower(), float(liked[2] or 1)
            weights[name] = max(weight, weights.get(name, 0.0))
    named = list(weights)
    others = weights.get("*", 0.0)

    def liking(language: Language) -> tuple[float, int]:
        name = language.value if language.value in weights else "*"
        return weights.get(name, others), -named.index(name) if name in weights else 0

    best = max(Language, key=liking)
    return best if liking(best)[0] > 0 else Language.ZH


_LANG: Final[Mapping[Language, str]] = MappingProxyType({Language.ZH: "zh-CN", Language.EN: "en"})

_WORDS: Final[Mapping[Language, Mapping[str, str]]] = MappingProxyType({Language.ZH: ZH, Language.EN: EN})

_Deed = Literal["join", "add", "open", "go"]
_DEEDS: Final[Mapping[TargetKind, _Deed]] = MappingProxyType(
    {
        TargetKind.WECHAT_GROUP: "join",
        TargetKind.WECHAT_PERSONAL: "add",
        TargetKind.WECOM_GROUP: "join",
        TargetKind.WECOM_CONTACT: "add",
        TargetKind.WECOM_ACQUISITION: "add",
        TargetKind.LINK: "open",
    }
)


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
# Autoescaping turns every `<` that was typed into `&lt;`, so no text can ever look like a hole.
_HOLE: Final = "<hole>"

_templates: Final = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_templates.filters["shorten"] = _shorten
_templates.tests["tall"] = _is_tall
# Our own files, marked as safe; nothing that anybody typed is.
_templates.globals.update(style=Markup(_STYLE), script=Markup(_SCRIPT), hole=Markup(_HOLE))  # noqa: S704
_QR: Final = _templates.get_template("qr.html")
_STATIC: Final = _templates.get_template("static.html")
_MENU: Final = _templates.get_template("menu.html")
_TAP: Final = _templates.get_template("tap.html")
_STATUS: Final = _templates.get_template("status.html")


def _source(text: str) -> str:
    """Name an inline style or script in a Content-Security-Policy by its hash."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


# WeChat keeps pages that say less. Source: docs/facts.md §4, read 2026-11-21.
UNKEPT: Final = (b"cache-control", b"no-store, no-cache, must-revalidate, max-age=0")
_POLICY: Final = (
    f"default-src 'none'; img-src 'self'; style-src {_source(_STYLE)}; script-src {_source(_SCRIPT)}; "
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


def qr_page(
    *,
    code_name: str,
    title: str | None,
    notice: str | None,
    target_name: str,
    kind: TargetKind,
    image_url: str,
    language: Language,
    desktop: bool,
) -> bytes:
    """Show the QR of one target, with what to do with it.

    Shapes: `image_url` is a path of this host, as the policy allows no other.
    Cost: two short texts escaped; the rest is remembered per code, language and kind of device.
    """
    before, between, after = _qr_parts(code_name, title, notice, kind, language, desktop)
    return b"".join((before, _bytes(escape(target_name)), between, _bytes(escape(image_url)), after))


@lru_cache(maxsize=_CACHED_PAGES)
def _qr_parts(
    code_name: str,
    title: str | None,
    notice: str | None,
    kind: TargetKind,
    language: Language,
    desktop: bool,  # noqa: FBT001  # The cache keys on positions; only `qr_page` calls this.
) -> tuple[bytes, bytes, bytes]:
    page = _QR.render(
        lang=_LANG[language],
        words=_WORDS[language],
        title=_title(code_name, title),
        notice=_paragraphs(notice),
        kind=kind.value,
        deed=_DEEDS[kind],
        place=_place(desktop=desktop),
    )
    before, between, after = _bytes(page).split(_HOLE.encode())
    return before, between, after


def static_page(
    *,
    code_name: str,
    title: str | None,
    message: str | None,
    image_url: str,
    kind: TargetKind | None,
    language: Language,
    desktop: bool,
) -> bytes:
    """Show the QR that stands in when nobody has room, under the marketer's message or ours.

    Shapes: `image_url` is a path of this host, as the policy allows no other; no `kind` is told in neutral words.
    Cost: one short text escaped; the rest is remembered per code, language and kind of device.
    """
    before, after = _parts(
        _STATIC,
        language,
        title=_title(code_name, title),
        message=_paragraphs(message),
        notice="",
        deed="go" if kind is None else _DEEDS[kind],
        place=_place(desktop=desktop),
    )
    return b"".join((before, _bytes(escape(image_url)), after))


def menu_page(
    *,
    code_name: str,
    title: str | None,
    notice: str | None,
    options: Sequence[tuple[str, str | None, str]],
    language: Language,
) -> bytes:
    """Offer the choices of a menu, each a link.

    Shapes: an option is its label, its hint and a path of this host.
    Cost: remembered per menu, slug and language.
    """
    return _menu_page(_title(code_name, title), _paragraphs(notice), tuple(options), language)


@lru_cache(maxsize=_CACHED_MENUS)
def _menu_page(title: str, notice: str, options: tuple[tuple[str, str | None, str], ...], language: Language) -> bytes:
    words = _WORDS[language]
    return _bytes(_MENU.render(lang=_LANG[language], words=words, title=title, notice=notice, options=options))


def tap_page(
    *, code_name: str, title: str | None, notice: str | None, url: str, language: Language, desktop: bool
) -> bytes:
    """Open a mini program by a tap, since no browser follows a redirect to an app; at a computer, ask for the phone.

    Shapes: `url` is what `weixin://`, `wxaurl.cn` or `wxmpurl.cn` opens; the policy lets no script run out of it.
    Cost: one short text escaped; the rest is remembered per code, language and kind of device.
    """
    before, after = _parts(
        _TAP, language, title=_title(code_name, title), notice=_paragraphs(notice), place=_place(desktop=desktop)
    )
    return b"".join((before, _bytes(escape(url)), after))


@lru_cache(maxsize=_CACHED_PAGES)
def _parts(template: Template, language: Language, **texts: str) -> tuple[bytes, ...]:
    page = template.render(lang=_LANG[language], words=_WORDS[language], **texts)
    return tuple(_bytes(page).split(_HOLE.encode()))


def full_page(*, code_name: str, title: str | None, notice: str | None = None, language: Language) -> bytes:
    """Say that every place is taken, and what to do; the marketer's notice may know more."""
    return _status_page("full", language, title=_title(code_name, title), notice=_paragraphs(notice))


def preview_page(*, code_name: str, title: str | None, language: Language) -> bytes:
    """Show a link preview what the code is about, and no QR."""
    return _status_page("preview", language, title=_title(code_name, title))


def outside_wechat_page(*, code_name: str, title: str | None, url: str, language: Language, desktop: bool) -> bytes:
    """Ask a person in another browser to open WeChat, or one at a computer to use the phone.

    Shapes: `url` is the address of this page in full, to be copied; shown as text, never as a link.
    """
    name = _title(code_name, title)
    if desktop:
        return _status_page("outside_computer", language, title=name)
    return _status_page("outside_phone", language, title=name, link=url)


def limited_page(*, seconds: int, language: Language) -> bytes:
    """Say that too many came at once; the page comes back by itself.

    Units: `seconds` until it does, at least 1.
    """
    return _status_page("limited", language, seconds=max(1, seconds))


def unavailable_page(*, seconds: int, language: Language) -> bytes:
    """Say that we cannot answer now; the page comes back by itself.

    Units: `seconds` until it does, at least 1.
    """
    return _status_page("unavailable", language, seconds=max(1, seconds))


def unknown_page(*, language: Language) -> bytes:
    """Say that no code has this address (404)."""
    return _status_page("unknown", language)


def closed_page(*, language: Language) -> bytes:
    """Say that the code was closed (410)."""
    return _status_page("closed", language)


def disabled_page(*, code_name: str, title: str | None, language: Language) -> bytes:
    """Say that the owner has paused the code for the moment (410)."""
    return _status_page("disabled", language, title=_title(code_name, title))


def not_open_page(*, code_name: str, title: str | None, opens_at: str, language: Language) -> bytes:
    """Say when the code opens.

    Shapes: `opens_at` is the local time as people read it, such as `2026-12-01 10:00`.
    """
    return _status_page("not_open", language, title=_title(code_name, title), opens_at=opens_at)


def ended_page(*, code_name: str, title: str | None, language: Language) -> bytes:
    """Say that the time the code was open for is over."""
    return _status_page("ended", language, title=_title(code_name, title))


_StatusPage = Literal[
    "full",
    "preview",
    "outside_phone",
    "outside_computer",
    "limited",
    "unavailable",
    "unknown",
    "closed",
    "disabled",
    "not_open",
    "ended",
]


@lru_cache(maxsize=_CACHED_PAGES)
def _status_page(
    name: _StatusPage,
    language: Language,
    *,
    title: str = "",
    link: str = "",
    seconds: int = 0,
    notice: str = "",
    opens_at: str = "",
) -> bytes:
    words = _WORDS[language]
    page = _STATUS.render(
        lang=_LANG[language],
        name=name,
        words=words,
        # A preview has no news of its own: the title is its heading.
        heading=words.get(name, title),
        text=words[f"{name}_text"].format(seconds=seconds, opens_at=opens_at),
        title=title,
        link=link,
        seconds=seconds,
        notice=notice,
    )
    return _bytes(page)


def _paragraphs(notice: str | None) -> str:
    return re.sub(r"\s*\n\s*\n\s*", "\n\n", (notice or "").strip())


def _place(*, desktop: bool) -> str:
    return "computer" if desktop else "phone"


def _title(code_name: str, title: str | None) -> str:
    return (title or "").strip() or code_name


def _bytes(page: str) -> bytes:
    # Half a surrogate pair can arrive in JSON and cannot be encoded; a question mark is no dead end.
    return page.encode("utf-8", "replace")
