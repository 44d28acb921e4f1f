"""Answer `GET /{slug}` and the picture on its page: plain ASGI in front of the API, since this is the hot path."""

import json
import logging
import re
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain import limits
from app.domain.code import RESERVED_SLUGS, Code, Slug
from app.domain.visitor import is_preview, read_user_agent
from app.services.scanning import (
    Closed,
    Full,
    Given,
    Outcome,
    OutsideWechat,
    Preview,
    Scanner,
    Unavailable,
    Unknown,
    Visit,
)
from app.services.showing import Pictures, placeholder
from app.telemetry import SCANS, say
from app.web import pages

_PAGE: Final = re.compile(r"/([^/]+)/?")
_PICTURE: Final = re.compile(r"/([^/]+)/seat/([A-Za-z0-9._-]{1,200})\.png")
_SLUG: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{limits.SLUG_MAX}}}")
_COOKIE: Final = "hm_"
_AGENT_LENGTH: Final = 512
_FULL_RETRY_SECONDS: Final = 60
_AWAY_RETRY_SECONDS: Final = 3

Headers = list[tuple[bytes, bytes]]
_NO_STORE: Final[Headers] = [
    (b"cache-control", b"no-store, no-cache, must-revalidate, max-age=0"),
    (b"pragma", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What goes over the wire, cookies aside."""

    status: int
    outcome: str
    code: Code | None = None
    retry_seconds: int = 0


class ScanApp:
    """Serve scans, and hand everything else to the API.

    Metrics: `huoma_scans_total`.
    """

    def __init__(self, scanner: Scanner, pictures: Pictures, api: ASGIApp, public_url: str) -> None:
        self._scanner = scanner
        self._pictures = pictures
        self._api = api
        self._public_url = public_url
        self._secure = public_url.startswith("https://")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route by path alone: one segment that is no reserved word is a slug."""
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            path = scope["path"]
            page = _PAGE.fullmatch(path)
            if page and page[1].lower() not in RESERVED_SLUGS:
                return await self._page(scope, send, page[1])
            picture = _PICTURE.fullmatch(path)
            if picture:
                return await self._picture(scope, send, picture[1], picture[2])
        return await self._api(scope, receive, send)

    async def _page(self, scope: Scope, send: Send, slug: str) -> None:
        headers = _headers(scope)
        visit = _visit(scope, headers, slug)
        outcome = await _settled(slug, self._scanner.scan(visit))
        answer = _answer(outcome)
        SCANS.labels(answer.outcome).inc()
        token = self._scanner.token(outcome) if isinstance(outcome, Given) else None
        if _wants_json(headers.get("accept", "")):
            body, extra = self._json(answer, outcome, slug, token), [(b"content-type", b"application/json"), *_NO_STORE]
        else:
            body, extra = self._html(headers, visit, outcome, token)
        if token is not None and isinstance(outcome, Given):
            extra += self._cookies(visit, outcome.code, token)
        await _send(scope, send, answer, extra, body)

    async def _picture(self, scope: Scope, send: Send, slug: str, token: str) -> None:
        visit = _visit(scope, _headers(scope), slug)
        outcome = await _settled(slug, self._scanner.see(visit, token))
        answer = _answer(outcome)
        extra = list(_NO_STORE)
        if isinstance(outcome, Given):
            picture = await self._pictures.of(outcome.target)
            carried = self._scanner.token(outcome)
            extra += [*self._cookies(visit, outcome.code, carried), (b"x-huoma-seat", carried.encode())]
        else:
            picture = placeholder()
        extra.append((b"content-type", picture.media_type.encode()))
        await _send(scope, send, answer, extra, picture.data)

    def _html(
        self, headers: Mapping[str, str], visit: Visit, outcome: Outcome, token: str | None
    ) -> tuple[bytes, Headers]:
        language = pages.read_language(headers.get("accept-language", ""))
        return self._body(visit, outcome, token, language), list(pages.HEADERS[language])

    def _body(self, visit: Visit, outcome: Outcome, token: str | None, language: pages.Language) -> bytes:
        match outcome:
            case Given(code=code, target=target):
                return pages.qr_page(
                    code_name=code.name,
                    title=code.landing_title,
                    notice=code.landing_notice,
                    target_name=target.name,
                    kind=target.kind,
                    image_url=f"/{visit.slug}/seat/{token}.png",
                    language=language,
                    desktop=visit.browser.desktop,
                )
            case Full(code=code):
                return pages.full_page(
                    code_name=code.name, title=code.landing_title, notice=code.landing_notice, language=language
                )
            case Preview(code=code):
                return pages.preview_page(code_name=code.name, title=code.landing_title, language=language)
            case OutsideWechat(code=code):
                return pages.outside_wechat_page(
                    code_name=code.name,
                    title=code.landing_title,
                    url=f"{self._public_url}/{visit.slug}",
                    language=language,
                    desktop=visit.browser.desktop,
                )
            case Closed():
                return pages.closed_page(language=language)
            case Unknown():
                return pages.unknown_page(language=language)
            case Unavailable():
                return pages.unavailable_page(seconds=_AWAY_RETRY_SECONDS, language=language)
            case _:
                assert_never(outcome)

    def _json(self, answer: _Answer, outcome: Outcome, slug: str, token: str | None) -> bytes:
        target = outcome.target if isinstance(outcome, Given) else None
        body: dict[str, object] = {
            "outcome": answer.outcome,
            "code": {"name": answer.code.name, "kind": answer.code.kind} if answer.code else None,
            "target": target
            and {
                "id": target.id,
                "name": target.name,
                "kind": target.kind,
                "expires_at": target.expires_at and target.expires_at.isoformat(),
            },
            "qr_image": token and f"{self._public_url}/{slug}/seat/{token}.png",
            "url": None,
            "seat": token,
            "options": [],
        }
        return json.dumps(body, ensure_ascii=False).encode()

    def _cookies(self, visit: Visit, code: Code, token: str) -> Headers:
        """Let the visitor carry his seat; when he carries too many, the oldest goes."""
        if visit.tokens.get(code.id) == token:
            return []
        tail = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if self._secure else "")
        cookies = [f"{_COOKIE}{code.id}={token}; Max-Age={code.sticky_days * 86_400}{tail}"]
        others = sorted(
            (carried for carried in visit.tokens.items() if carried[0] not in ("", code.id)), key=_issued_at
        )
        surplus = max(0, len(others) + 1 - limits.SEAT_COOKIES)
        cookies += [f"{_COOKIE}{name}=; Max-Age=0{tail}" for name, _ in others[:surplus]]
        return [(b"set-cookie", cookie.encode("latin-1", "ignore")) for cookie in cookies]


async def _settled(slug: str, asking: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Ask, if the slug can be one at all; whatever goes wrong, there is a page that retries by itself."""
    if not _SLUG.fullmatch(slug):
        asking.close()
        return Unknown()
    try:
        return await asking
    except Exception as error:  # noqa: BLE001  # A visitor must never see a fault of ours; the log must.
        say("scan_failed", level=logging.ERROR, error=error)
        return Unavailable()


def _answer(outcome: Outcome) -> _Answer:
    match outcome:
        case Given(code=code, returned=returned):
            return _Answer(200, "returned" if returned else "claimed", code)
        case Full(code=code):
            return _Answer(503, "full", code, _FULL_RETRY_SECONDS)
        case Preview(code=code):
            return _Answer(200, "preview", code)
        case OutsideWechat(code=code):
            return _Answer(200, "outside_wechat", code)
        case Closed():
            return _Answer(410, "closed")
        case Unknown():
            return _Answer(404, "unknown")
        case Unavailable():
            return _Answer(503, "unavailable", None, _AWAY_RETRY_SECONDS)
        case _:
            assert_never(outcome)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _visit(scope: Scope, headers: Mapping[str, str], slug: str) -> Visit:
    browser = read_user_agent(headers.get("user-agent", "")[:_AGENT_LENGTH])
    # A client without cookies (a mini program) sends the token it was given in a header.
    tokens = {"": headers["x-huoma-seat"]} if "x-huoma-seat" in headers else {}
    tokens.update(_seat_cookies(headers.get("cookie", "")))
    return Visit(Slug(slug), browser, is_preview(scope["method"], browser, headers), tokens)


def _seat_cookies(header: str) -> Iterable[tuple[str, str]]:
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name.startswith(_COOKIE):
            yield name.removeprefix(_COOKIE), value


def _issued_at(carried: tuple[str, str]) -> int:
    """Read when a token says it was made. Only orders what is thrown away, so the signature is not asked."""
    parts = carried[1].rsplit(".", 2)
    return int(parts[1]) if len(parts) == 3 and len(parts[1]) < 16 and parts[1].isdecimal() else 0


def _wants_json(accept: str) -> bool:
    return "application/json" in accept and "text/html" not in accept


async def _send(scope: Scope, send: Send, answer: _Answer, extra: Headers, body: bytes) -> None:
    headers: Headers = [
        *extra,
        (b"content-length", str(len(body)).encode()),
        (b"x-huoma-outcome", answer.outcome.encode()),
    ]
    if answer.retry_seconds:
        headers.append((b"retry-after", str(answer.retry_seconds).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
