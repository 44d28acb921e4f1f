"""Write the pages a visitor meets. It knows no outcome, status or seat.

Every text of a marketer passes through autoescaping once, into a cached page with holes; a scan fills the holes.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

from jinja2 import Template
from markupsafe import escape

from app.domain.code import CodeKind
from app.domain.openings import Shortage
from app.domain.payload import TargetKind
from app.web.language import Language, read_language
from app.web.rendering import HEADERS, HOLE, LANG, TEMPLATES, UNKEPT, WORDS

__all__ = [
    "HEADERS",
    "UNKEPT",
    "Language",
    "Place",
    "closed_page",
    "disabled_page",
    "ended_page",
    "home_page",
    "limited_page",
    "menu_page",
    "not_open_page",
    "outside_wechat_page",
    "preview_page",
    "qr_page",
    "read_language",
    "shortage_page",
    "static_page",
    "tap_page",
    "unavailable_page",
    "unknown_page",
]

# A page is some 8 kB, so a full cache is some 8 MB a worker; a code takes one page per language and kind of device.
_CACHED_PAGES: Final = 1024
# A menu has a page for each of its slugs, and may be ten times as long.
_CACHED_MENUS: Final = 128

_QR: Final = TEMPLATES.get_template("qr.html")
_STATIC: Final = TEMPLATES.get_template("static.html")
_MENU: Final = TEMPLATES.get_template("menu.html")
_TAP: Final = TEMPLATES.get_template("tap.html")
_STATUS: Final = TEMPLATES.get_template("status.html")
_OUTSIDE: Final = TEMPLATES.get_template("outside.html")

Place = Literal["phone", "computer", "outside"]
"""Where a page stands: in WeChat on a phone, on a computer, or in another browser on a phone."""

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


def qr_page(
    *,
    code_name: str,
    title: str | None,
    notice: str | None,
    target_name: str,
    kind: TargetKind,
    image_url: str,
    language: Language,
    place: Place,
) -> bytes:
    """Show the QR of one target, with what to do with it.

    Shapes: `image_url` is a path of this host, as the policy allows no other.
    Cost: two short texts escaped; the rest is remembered per code, language and place.
    """
    before, between, after = _qr_parts(code_name, title, notice, kind, language, place)
    return b"".join((before, _bytes(escape(target_name)), between, _bytes(escape(image_url)), after))


@lru_cache(maxsize=_CACHED_PAGES)
def _qr_parts(
    code_name: str,
    title: str | None,
    notice: str | None,
    kind: TargetKind,
    language: Language,
    place: Place,
) -> tuple[bytes, bytes, bytes]:
    page = _QR.render(
        lang=LANG[language],
        words=WORDS[language],
        title=_title(code_name, title),
        notice=_paragraphs(notice),
        kind=kind.value,
        deed=_DEEDS[kind],
        place=place,
    )
    before, between, after = _bytes(page).split(HOLE.encode())
    return before, between, after


def static_page(
    *,
    code_name: str,
    title: str | None,
    message: str | None,
    image_url: str,
    kind: TargetKind | None,
    language: Language,
    place: Place,
) -> bytes:
    """Show the QR that stands in when nobody has room, under the marketer's message or ours.

    Shapes: `image_url` is a path of this host, as the policy allows no other; no `kind` is told in neutral words.
    Cost: one short text escaped; the rest is remembered per code, language and place.
    """
    before, after = _parts(
        _STATIC,
        language,
        title=_title(code_name, title),
        message=_paragraphs(message),
        notice="",
        deed="go" if kind is None else _DEEDS[kind],
        place=place,
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
    words = WORDS[language]
    return _bytes(_MENU.render(lang=LANG[language], words=words, title=title, notice=notice, options=options))


def tap_page(
    *, code_name: str, title: str | None, notice: str | None, url: str, language: Language, desktop: bool
) -> bytes:
    """Open a mini program by a tap, since no browser follows a redirect to an app; at a computer, ask for the phone.

    Shapes: `url` is what `weixin://`, `wxaurl.cn` or `wxmpurl.cn` opens; the policy lets no script run out of it.
    Cost: one short text escaped; the rest is remembered per code, language and kind of device.
    """
    before, after = _parts(
        _TAP,
        language,
        title=_title(code_name, title),
        notice=_paragraphs(notice),
        place="computer" if desktop else "phone",
    )
    return b"".join((before, _bytes(escape(url)), after))


@lru_cache(maxsize=_CACHED_PAGES)
def _parts(template: Template, language: Language, **texts: str) -> tuple[bytes, ...]:
    page = template.render(lang=LANG[language], words=WORDS[language], **texts)
    return tuple(_bytes(page).split(HOLE.encode()))


def shortage_page(
    *,
    why: Shortage,
    kind: CodeKind,
    code_name: str,
    title: str | None,
    notice: str | None = None,
    when: str = "",
    language: Language,
) -> bytes:
    """Say why nobody has room, and what to do; the marketer's notice may know more.

    Shapes: `when` somebody has, as `say_when` writes it; '' where that is not known.
    """
    name, named = _SHORTAGES[why], _title(code_name, title)
    words = WORDS[language]
    key = f"{name}_{kind}" if f"{name}_{kind}" in words else name
    text = words.get(f"{key}_when") or words.get(f"{name}_when") if when else None
    return _status_page(
        name,
        language,
        title=named,
        heading=words[key],
        text=text or "",
        when=when if text else "",
        notice=_paragraphs(notice),
    )


_SHORTAGES: Final[Mapping[Shortage, "_StatusPage"]] = MappingProxyType(
    {
        Shortage.FULL: "full",
        Shortage.CAPPED: "capped",
        Shortage.OFF_SHIFT: "off_shift",
        Shortage.UNAVAILABLE: "away",
        Shortage.EXPIRED: "expired",
        Shortage.PAUSED: "away",
        Shortage.EMPTY: "empty",
    }
)


def preview_page(*, code_name: str, title: str | None, language: Language) -> bytes:
    """Show a link preview what the code is about, and no QR."""
    return _status_page("preview", language, title=_title(code_name, title))


def outside_wechat_page(
    *, code_name: str, title: str | None, url: str, image_url: str, language: Language, desktop: bool
) -> bytes:
    """Say how to get into WeChat: with the phone from a computer; by a saved picture, or a copied address, on a phone.

    Shapes: `url` is the address of this page in full, shown as text, never as a link; `image_url` is a path of this
    host that serves the code of this page.
    Cost: two short texts escaped; the rest is remembered per code, language and kind of device.
    """
    parts = _parts(_OUTSIDE, language, title=_title(code_name, title), place="computer" if desktop else "phone")
    before, between, *after = parts
    filled = [before, _bytes(escape(image_url)), between]
    return b"".join([*filled, _bytes(escape(url)), *after] if after else filled)


def home_page(*, language: Language) -> bytes:
    """Say what runs here, and where its manual is."""
    return _status_page("home", language)


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
    return _status_page("not_open", language, title=_title(code_name, title), when=opens_at)


def ended_page(*, code_name: str, title: str | None, language: Language) -> bytes:
    """Say that the time the code was open for is over."""
    return _status_page("ended", language, title=_title(code_name, title))


_StatusPage = Literal[
    "full",
    "capped",
    "off_shift",
    "away",
    "expired",
    "empty",
    "preview",
    "limited",
    "unavailable",
    "unknown",
    "closed",
    "disabled",
    "not_open",
    "ended",
    "home",
]


@lru_cache(maxsize=_CACHED_PAGES)
def _status_page(
    name: _StatusPage,
    language: Language,
    *,
    title: str = "",
    heading: str = "",
    text: str = "",
    seconds: int = 0,
    notice: str = "",
    when: str = "",
) -> bytes:
    words = WORDS[language]
    # A time breaks over two lines nowhere, so it is an element of its own; a zone in brackets may stand below.
    when, bracket, zone = when.partition(" (")
    before, _, after = (text or words[f"{name}_text"]).partition("{when}")
    page = _STATUS.render(
        lang=LANG[language],
        name=name,
        words=words,
        # A preview has no news of its own: the title is its heading.
        heading=heading or words.get(name, title),
        before=before.format(seconds=seconds),
        when=when,
        zone=bracket + zone,
        after=after.format(seconds=seconds),
        title=title,
        seconds=seconds,
        notice=notice,
    )
    return _bytes(page)


def _paragraphs(notice: str | None) -> str:
    return re.sub(r"\s*\n\s*\n\s*", "\n\n", (notice or "").strip())


def _title(code_name: str, title: str | None) -> str:
    return (title or "").strip() or code_name


def _bytes(page: str) -> bytes:
    # Half a surrogate pair can arrive in JSON and cannot be encoded; a question mark is no dead end.
    return page.encode("utf-8", "replace")
