"""Classify what a QR payload (实码内容) leads to.

The only file that knows the shapes of WeChat and WeCom URLs. Every decision is taken on the parsed URL, never on a
substring. Payloads are whatever a stranger's picture said: nothing here may raise anything but a refusal.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from itertools import chain
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, unquote_plus, urlsplit

from app.domain import limits
from app.domain.errors import Refusal, UploadRefusal

MAX_URL_CHARACTERS: Final = 2048


class TargetKind(StrEnum):
    """Name what a target (子码) leads to."""

    WECHAT_GROUP = "wechat_group"
    WECHAT_PERSONAL = "wechat_personal"
    WECOM_GROUP = "wecom_group"
    WECOM_CONTACT = "wecom_contact"
    WECOM_ACQUISITION = "wecom_acquisition"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class KindFacts:
    """Hold what is true of every target of a kind unless its owner says otherwise.

    Shapes: ``member_limit`` None is unlimited; ``valid_for`` None never expires; ``redirects`` False means that it is
    shown as a QR and never is the goal of a 302.
    """

    member_limit: int | None
    valid_for: timedelta | None
    redirects: bool


# Source: docs/facts.md §1 and §3, read 2026-11-21. Scanning in stops at 200 in WeChat groups (live reports 2023-08
# to 2026-03) and in WeCom groups (Weimob and ezrpro help pages, 2021); beyond that, groups grow by invitation only.
_SCAN_JOIN_CAP: Final = 200
# Source: docs/facts.md §1: the printed date was creation + 7 days in 35 of 35 screenshots, 2025-10 to 2026-08.
# WeCom join-way codes carry no date; one exported by hand from the client does, and its printed date is then used.
_GROUP_QR_LIFE: Final = timedelta(days=7)

FACTS: Final[Mapping[TargetKind, KindFacts]] = MappingProxyType(
    {
        TargetKind.WECHAT_GROUP: KindFacts(member_limit=_SCAN_JOIN_CAP, valid_for=_GROUP_QR_LIFE, redirects=False),
        TargetKind.WECHAT_PERSONAL: KindFacts(member_limit=None, valid_for=None, redirects=False),
        TargetKind.WECOM_GROUP: KindFacts(member_limit=_SCAN_JOIN_CAP, valid_for=None, redirects=False),
        TargetKind.WECOM_CONTACT: KindFacts(member_limit=None, valid_for=None, redirects=False),
        # It would open from a 302, too; but then every page that a program opens counts as an add of its account.
        TargetKind.WECOM_ACQUISITION: KindFacts(member_limit=None, valid_for=None, redirects=False),
        TargetKind.LINK: KindFacts(member_limit=None, valid_for=None, redirects=True),
    }
)

GROUPS: Final = frozenset({TargetKind.WECHAT_GROUP, TargetKind.WECOM_GROUP})
PERSONS: Final = frozenset({TargetKind.WECHAT_PERSONAL, TargetKind.WECOM_CONTACT, TargetKind.WECOM_ACQUISITION})

# Tokens have changed length before (16, then 64 characters), so lengths are loose; hosts, prefixes and case are not.
_ANY_QUERY: Final = r"(\?[!-~]*)?"
_SHAPES: Final[tuple[tuple[str, re.Pattern[str], TargetKind], ...]] = (
    ("weixin.qq.com", re.compile(r"/g/[A-Za-z0-9_-]+"), TargetKind.WECHAT_GROUP),
    ("u.wechat.com", re.compile(r"/[A-Za-z0-9_-]+(\?s=[0-9]+)?"), TargetKind.WECHAT_PERSONAL),
    ("work.weixin.qq.com", re.compile(r"/gm/[0-9a-f]{28,40}"), TargetKind.WECOM_GROUP),
    ("work.weixin.qq.com", re.compile(r"/ct/wcde[0-9a-f]{16,64}" + _ANY_QUERY), TargetKind.WECOM_CONTACT),
    # A member card (员工名片) adds its owner just as a contact way does.
    ("work.weixin.qq.com", re.compile(r"/u/vc[0-9a-f]{8,64}" + _ANY_QUERY), TargetKind.WECOM_CONTACT),
    ("work.weixin.qq.com", re.compile(r"/ca/cawcde[0-9a-f]+" + _ANY_QUERY), TargetKind.WECOM_ACQUISITION),
)

_KNOWN_STRANGERS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (
        re.compile(r"wxp://|https?://(wx\.tenpay\.com/f2f|payapp\.weixin\.qq\.com/qr/)"),
        "This is a payment code; upload the QR code of a group or of a contact instead.",
    ),
    (
        re.compile(r"https?://weixin\.qq\.com/[rq]/"),
        "This is the code of an official account; upload the QR code of a group or of a contact instead.",
    ),
    (
        re.compile(r"weixin://dl/business/|https?://(wxaurl|wxmpurl)\.cn/"),
        "This code opens a mini program; upload the QR code of a group or of a contact, or add it as a link.",
    ),
    (
        re.compile(r"https?://work\.weixin\.qq\.com/kfid/"),
        "This is a WeChat customer service link (微信客服); add it as a link instead.",
    ),
)
_STRANGER: Final = (
    "This QR code leads to no WeChat or WeCom group or contact; to send people to a web page, add it as a link."
)


def classify(payload: str) -> TargetKind:
    """Tell the kind (类型) of what a QR payload leads to; never ``link``, which nobody gives us by picture.

    Raises: UploadRefusal ``unsupported_qr_kind`` — anything but exactly a known group, contact or acquisition URL.
    """
    url = _split(payload)
    if url is not None:
        scheme, host, rest = url
        if scheme in {"http", "https"}:
            for known_host, shape, kind in _SHAPES:
                if host == known_host and shape.fullmatch(rest):
                    return kind
    for stranger, advice in _KNOWN_STRANGERS:
        if stranger.match(payload):
            raise UploadRefusal("unsupported_qr_kind", advice)
    raise UploadRefusal("unsupported_qr_kind", _STRANGER)


def person_of(payload: str) -> str | None:
    """Spell the address of a person (个人码) so that all QRs of one person are equal; None for anything else.

    Shapes: without the query and the fragment, which say where the QR comes from and not which person it leads to.
    """
    url = _split(payload)
    if url is None or url[0] not in {"http", "https"}:
        return None
    _, host, rest = url
    for known, shape, kind in _SHAPES:
        if kind in PERSONS and host == known and shape.fullmatch(rest):
            return f"https://{host}{re.split('[?#]', rest, maxsplit=1)[0]}"
    return None


def _split(payload: str) -> tuple[str, str, str] | None:
    """Split a payload of visible ASCII into scheme, whole authority and the rest with its query and fragment.

    Shapes: the authority keeps user, password and port, so that comparing it with a host refuses all three.
    """
    # urlsplit drops tabs and newlines without a word, so they must be refused before it sees them.
    if len(payload) > MAX_URL_CHARACTERS or not re.fullmatch(r"[!-~]+", payload):
        return None
    scheme, colon, rest = payload.partition("://")
    if not colon:
        return None
    authority = re.match(r"[^/?#]*", rest)
    assert authority is not None
    return scheme.lower(), authority[0].lower(), rest[authority.end() :]


# RFC 3986, section 2: reserved, unreserved and the percent sign; everything else is percent-encoded.
_URL_CHARACTERS: Final = "!#$%&'()*+,/:;=?@[]-._~"
_HOST: Final = re.compile(
    r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?|\[[0-9a-f:.]+\]"
)


def check_link(url: str) -> str:
    """Accept a web address (链接) that may stand in a ``Location`` header, and return it.

    Shapes: a valid URL comes back untouched; Chinese hosts and paths come back encoded, with the same meaning.
    Raises: Refusal ``bad_link`` — not http or https, no host, a user or password, a blank, a control character,
    or too long.
    """
    # Format characters hide what a link says: U+202E writes it backwards, U+200B splits a word unseen.
    if any(c.isspace() or unicodedata.category(c) in {"Cc", "Cf", "Cs"} for c in url):
        raise Refusal("bad_link", "The link holds a blank or an invisible character; remove it.")
    try:
        parts = urlsplit(url)
        host, port, authority = parts.hostname or "", parts.port, parts.netloc
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except ValueError as error:
        raise Refusal("bad_link", "The link is no web address; give one such as https://example.com/page.") from error
    if parts.scheme not in {"http", "https"} or "://" not in url or port == 0:
        raise Refusal("bad_link", "The link must begin with http:// or https://, followed by a host.")
    if "@" in authority:
        raise Refusal("bad_link", "The link holds a user name before its host; remove everything up to the @.")
    literal = f"[{ascii_host}]" if ":" in ascii_host else ascii_host
    if not _HOST.fullmatch(literal):
        raise Refusal("bad_link", "The link names no host; give one such as https://example.com/page.")
    if not host.isascii():
        url = url.replace(authority, literal + (f":{port}" if port else ""), 1)
    encoded = quote(url, safe=_URL_CHARACTERS)
    if len(encoded) > MAX_URL_CHARACTERS:
        raise Refusal("bad_link", f"The link is longer than {MAX_URL_CHARACTERS} characters; shorten it.")
    return encoded


# Source: docs/facts.md §3, tests/facts/payload_samples.json, read 2026-11-21.
_MINI_PROGRAM: Final = re.compile(r"weixin://dl/business/\?t=[A-Za-z0-9_-]{1,256}")
_MINI_PROGRAM_HOSTS: Final = frozenset({"wxaurl.cn", "wxmpurl.cn"})
_CHANNEL: Final = "customer_channel"
# A percent sign that encodes nothing.
_ALONE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DEFAULT_PORTS: Final = frozenset({None, 80, 443})


def check_target_link(url: str) -> str:
    """Accept a link that a target may lead to: a web address as `check_link` does, or a mini program's scheme.

    Raises: Refusal `bad_link`.
    """
    return url if _MINI_PROGRAM.fullmatch(url) else check_link(url)


@dataclass(frozen=True, slots=True)
class Pictured:
    """Name what an address leads to that opens only from a QR, or that a QR alone counts rightly.

    Shapes: `kind` is None where it is neither a group nor a contact; `payload` is the address as a QR says it.
    """

    kind: TargetKind | None
    payload: str


# The first segment of the path says what an address of these hosts leads to; '' stands for any.
_PICTURED: Final[Mapping[str, Mapping[str, TargetKind | None]]] = MappingProxyType(
    {
        "weixin.qq.com": {"g": TargetKind.WECHAT_GROUP, "r": None, "q": None},
        "u.wechat.com": {"": TargetKind.WECHAT_PERSONAL},
        "work.weixin.qq.com": {
            "gm": TargetKind.WECOM_GROUP,
            "ct": TargetKind.WECOM_CONTACT,
            "u": TargetKind.WECOM_CONTACT,
            "ca": TargetKind.WECOM_ACQUISITION,
        },
        "wx.tenpay.com": {"f2f": None},
        "payapp.weixin.qq.com": {"qr": None},
    }
)
# Other names of these hosts; each has one that begins with www, too.
_ALIASES: Final[Mapping[str, str]] = MappingProxyType({"work.wechat.com": "work.weixin.qq.com"})
# Pages of these lead on to an address in their query.
_LEADING_ON: Final = ("qq.com", "wechat.com", "weixin.com", "url.cn")
_TENCENT: Final = re.compile(r"wechat|qq\.com|tenpay|weixin|url\.cn", re.IGNORECASE)
_LEADS_ON_AT_MOST: Final = 3


def pictured(url: str, depth: int = 0) -> Pictured | None:
    """Find out whether a web address must be shown as a QR (只能扫码) and never be redirected to.

    Shapes: `url` as `check_link` returns it. Scheme, case of the host, port, a dot at its end, dot segments and
    percent-encoding of the path make no difference, nor does a page of Tencent that leads on to such an address.
    A page of another host that is given such an address is a page: it may show the QR.
    """
    if not _TENCENT.search(url):
        return None
    host = link_host(url)
    if host is None:
        return None
    parts = urlsplit(url)
    path = _segments(parts.path)
    kinds = _PICTURED.get(_ALIASES.get(host.removeprefix("www."), host.removeprefix("www.")), {})
    for first in ("", path[0].lower() if path else ""):
        if first in kinds:
            said = quote("/".join(path), safe="/-._~") + (f"?{parts.query}" if parts.query else "")
            return Pictured(kinds[first], f"https://{host}/{said}")
    if depth < _LEADS_ON_AT_MOST:
        for goal in _goals(url, host):
            if (found := pictured(goal, depth + 1)) is not None:
                return found
    return None


def _goals(url: str, host: str) -> Iterator[str]:
    """List the addresses to which a page of Tencent may lead on, as its query or its fragment says.

    Shapes: with a scheme, which the query may leave out; decoded up to three times, since such pages hand on to others.
    """
    if not any(f".{host}".endswith(f".{one}") for one in _LEADING_ON):
        return
    parts = urlsplit(url)
    for value in chain.from_iterable(parse_qsl(f"{parts.query}&{parts.fragment}", keep_blank_values=True)):
        spelt = value
        for _ in range(_LEADS_ON_AT_MOST):
            if "." in spelt or ":" in spelt:
                yield spelt if "://" in spelt else f"https://{spelt.lstrip('/')}"
            if (decoded := unquote(spelt)) == spelt:
                break
            spelt = decoded


def _segments(path: str) -> list[str]:
    """Split a path as a browser resolves it, decoded."""
    found: list[str] = []
    for one in unquote(path).split("/"):
        if one == "..":
            del found[-1:]
        elif one not in {"", "."}:
            found.append(one)
    return found


@lru_cache(maxsize=4096)
def opens_by_tap(url: str) -> bool:
    """Tell whether a link opens a mini program, which WeChat does on a tap and not on a redirect."""
    if _MINI_PROGRAM.fullmatch(url):
        return True
    authority = _authority(url)
    return authority is not None and authority[0] in _MINI_PROGRAM_HOSTS


def leads_back(url: str, public_url: str, depth: int = 0) -> bool:
    """Tell whether a link that was accepted leads to the service that stands at `public_url`.

    Shapes: the scheme does not count, nor case, a dot at the end, how a Chinese host is written, or a page of Tencent
    that leads on to it.
    """
    here, there = _authority(public_url), _authority(url)
    if here is None or there is None or there == here:
        return here is not None and there == here
    return depth < _LEADS_ON_AT_MOST and any(leads_back(one, public_url, depth + 1) for one in _goals(url, there[0]))


def link_host(url: str) -> str | None:
    """Name the host of a web address; None when it is none."""
    authority = _authority(url)
    return None if authority is None else authority[0]


def with_channel(url: str, state: str | None) -> str:
    """Tell WeCom by an acquisition link (获客链接) in which channel it was found; other payloads stay as they are.

    Shapes: a link that names a channel keeps it.
    Source: docs/facts.md §3; `customer_channel` is the parameter, cut by WeCom after 30 characters.
    """
    if not state:
        return url
    bare, hash_, fragment = url.partition("#")
    split = _split(bare)
    if split is None or not _is_acquisition(*split):
        return url
    path, _, query = bare.partition("?")
    if _CHANNEL in _names(query):
        return url
    spelt = f"{_CHANNEL}={quote(state, safe='', errors='replace')}"
    return f"{path}?{'&'.join(filter(None, (query, spelt)))}{hash_}{fragment}"


def pass_query(url: str, query: str) -> str:
    """Hand on what a scan was asked with (透传参数) to a web address, but for names that the address has itself.

    Shapes: `query` is raw, and whatever a stranger sent. One that is too long is ignored as a whole, and so is each
    parameter that holds anything but visible ASCII; a mini program's scheme takes none.
    """
    if len(query) > limits.QUERY_LENGTH or _authority(url) is None:
        return url
    bare, hash_, fragment = url.partition("#")
    path, _, own = bare.partition("?")
    taken = _names(own)
    passed = [
        _ALONE.sub("%25", quote(one, safe=_URL_CHARACTERS.replace("#", "")))
        for one in query.split("&")
        if re.fullmatch(r"[!-~]+", one) and not one.startswith("=") and not taken & _names(one)
    ]
    if not passed:
        return url
    return f"{path}?{'&'.join(filter(None, (own, *passed)))}{hash_}{fragment}"


def _is_acquisition(scheme: str, host: str, rest: str) -> bool:
    shapes = (shape for known, shape, kind in _SHAPES if kind is TargetKind.WECOM_ACQUISITION and known == host)
    return scheme in {"http", "https"} and any(shape.fullmatch(rest) for shape in shapes)


def _names(query: str) -> frozenset[str]:
    return frozenset(unquote_plus(one.partition("=")[0]) for one in query.split("&") if one)


def _authority(url: str) -> tuple[str, int | None] | None:
    """Read host and port of a web address so that two of them can be compared; None when it is none.

    Shapes: the port is None where it is that of http or of https.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = (host if host.isascii() else host.encode("idna").decode()).rstrip(".").lower()
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host:
        return None
    with suppress(ValueError):
        host = ip_address(host).compressed
    return host, None if port in _DEFAULT_PORTS else port
