"""Answer `GET /{slug}` and the picture on its page: plain ASGI in front of the API, since this is the hot path."""

import logging
import re
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain import limits
from app.domain.code import RESERVED_SLUGS, CodeId, Slug
from app.domain.outcome import Given, Outcome, Unavailable, Unknown, Visit
from app.domain.visitor import is_preview, network_of, read_user_agent
from app.services.scanning import Scanner
from app.services.showing import Pictures, placeholder
from app.telemetry import SCANS, say
from app.web import pages
from app.web.outcomes import NO_STORE, Head, Headers, head_of, html_of, json_of, redirect_of

_PAGE: Final = re.compile(r"/([^/]+)(?:/([0-9]{1,6}))?/?")
_PICTURE: Final = re.compile(r"/([^/]+)/seat/([A-Za-z0-9._-]{1,200})\.png")
_FALLBACK: Final = re.compile(r"/([^/]+)/fallback\.png")
_SLUG: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{limits.SLUG_MAX}}}")
_COOKIE: Final = "hm_"
_AGENT_LENGTH: Final = 512


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
                return await self._page(scope, send, page[1], page[2])
            picture = _PICTURE.fullmatch(path)
            if picture:
                return await self._picture(scope, send, picture[1], picture[2])
            fallback = _FALLBACK.fullmatch(path)
            if fallback:
                return await self._fallback(scope, send, fallback[1])
            if path.split("/")[1].lower() not in RESERVED_SLUGS:
                # Something cut or typed from a print: people look at it, too.
                return await self._page(scope, send, "", None)
        return await self._api(scope, receive, send)

    async def _page(self, scope: Scope, send: Send, slug: str, option: str | None) -> None:
        headers = _headers(scope)
        visit = _visit(scope, headers, slug, option)
        outcome = await _settled(slug, self._scanner.scan(visit))
        try:
            head, extra, body = self._told(visit, headers, outcome)
        except Exception as error:  # noqa: BLE001  # As in `_settled`: a page that retries is better than none.
            say("page_failed", level=logging.ERROR, error=error)
            head, extra, body = self._told(visit, headers, Unavailable())
        SCANS.labels(head.outcome).inc()
        await _send(scope, send, head, extra, body)

    def _told(self, visit: Visit, headers: Mapping[str, str], outcome: Outcome) -> tuple[Head, Headers, bytes]:
        head, tokens = head_of(outcome), self._scanner.tokens(outcome) if isinstance(outcome, Given) else {}
        token = tokens[outcome.code.id] if isinstance(outcome, Given) else None
        extra: Headers
        if _wants_json(headers.get("accept", "")):
            body = json_of(visit, outcome, token, self._public_url)
            extra = [(b"content-type", b"application/json"), *NO_STORE]
        elif (goal := redirect_of(visit, outcome)) is not None:
            # Never 301 or 308, which phones remember for ever.
            head, body = Head(302, head.outcome, head.code), b""
            extra = [(b"location", goal.encode()), *NO_STORE]
        else:
            language = pages.read_language(headers.get("accept-language", ""))
            body = html_of(visit, outcome, token, language, self._public_url)
            extra = list(pages.HEADERS[language])
        if isinstance(outcome, Given):
            extra += self._cookies(visit, outcome.code.sticky_days, tokens)
        return head, extra, body

    async def _picture(self, scope: Scope, send: Send, slug: str, token: str) -> None:
        visit = _visit(scope, _headers(scope), slug)
        outcome = await _settled(slug, self._scanner.see(visit, token))
        extra = list(NO_STORE)
        if isinstance(outcome, Given):
            picture = await self._pictures.of(outcome.target, outcome.payload())
            tokens = self._scanner.tokens(outcome)
            extra += self._cookies(visit, outcome.code.sticky_days, tokens)
            extra.append((b"x-huoma-seat", tokens[outcome.code.id].encode()))
        else:
            picture = placeholder()
        extra.append((b"content-type", picture.media_type.encode()))
        await _send(scope, send, head_of(outcome), extra, picture.data)

    async def _fallback(self, scope: Scope, send: Send, slug: str) -> None:
        """Show the static QR of a code's fallback, which takes no place."""
        goal = await self._scanner.fallback(Slug(slug)) if _SLUG.fullmatch(slug) else None
        payload = goal.payload if goal else None
        picture = placeholder() if payload is None else await self._pictures.drawn(payload)
        head = Head(404, "unknown") if payload is None else Head(200, "fallback")
        await _send(scope, send, head, [*NO_STORE, (b"content-type", picture.media_type.encode())], picture.data)

    def _cookies(self, visit: Visit, sticky_days: int, tokens: Mapping[CodeId, str]) -> Headers:
        """Let the visitor carry his seat; when he carries too many, the oldest go."""
        fresh = {code: token for code, token in tokens.items() if visit.tokens.get(code) != token}
        if not fresh:
            return []
        tail = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if self._secure else "")
        cookies = [f"{_COOKIE}{code}={token}; Max-Age={sticky_days * 86_400}{tail}" for code, token in fresh.items()]
        others = sorted(
            (carried for carried in visit.tokens.items() if carried[0] not in ("", *tokens)), key=_issued_at
        )
        surplus = max(0, len(others) + len(tokens) - limits.SEAT_COOKIES)
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


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _visit(scope: Scope, headers: Mapping[str, str], slug: str, option: str | None = None) -> Visit:
    browser = read_user_agent(headers.get("user-agent", "")[:_AGENT_LENGTH])
    # A client without cookies (a mini program) sends the token it was given in a header.
    tokens = {"": headers["x-huoma-seat"]} if "x-huoma-seat" in headers else {}
    tokens.update(_seat_cookies(headers.get("cookie", "")))
    client = scope.get("client")
    return Visit(
        Slug(slug),
        browser,
        is_preview(scope["method"], browser, headers),
        tokens,
        option=None if option is None else int(option),
        query=scope.get("query_string", b"").decode("latin-1"),
        network=network_of(client[0]) if client else "",
    )


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


async def _send(scope: Scope, send: Send, head: Head, extra: Headers, body: bytes) -> None:
    headers: Headers = [
        *extra,
        (b"content-length", str(len(body)).encode()),
        (b"x-huoma-outcome", head.outcome.encode()),
    ]
    if head.retry_seconds:
        headers.append((b"retry-after", str(head.retry_seconds).encode()))
    await send({"type": "http.response.start", "status": head.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
