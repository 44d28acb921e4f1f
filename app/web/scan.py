"""Answer `GET /{slug}` and the picture on its page: plain ASGI in front of the API, since this is the hot path."""

import logging
from collections.abc import Coroutine, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain import limits
from app.domain.code import SERVED_PATHS, CodeId, Slug
from app.domain.outcome import Given, Outcome, Unavailable, Unknown, Visit
from app.domain.visitor import PURPOSE_HEADERS, Browser, is_preview, network_of, read_user_agent
from app.services.scanning import Scanner
from app.services.showing import Pictures, placeholder
from app.telemetry import SCANS, say
from app.web import pages
from app.web.edge import problem
from app.web.outcomes import NO_STORE, OUTCOMES, UNKEPT, Head, Headers, head_of, html_of, json_of, redirect_of
from app.web.paths import FALLBACK, PAGE, PICTURE, PRINT, Asked, mend_path, mend_segment
from app.web.programs import is_listed

_COOKIE: Final = "hm_"
_AGENT_LENGTH: Final = 512
_PURPOSES: Final = frozenset(name.encode() for name in PURPOSE_HEADERS)
_SCANS: Final = {outcome: SCANS.labels(outcome) for outcome in OUTCOMES}

_HOME: Final = Head(200, "home")
_FILE: Final = Head(200, "file")
_NO_TOKENS: Final[Mapping[CodeId, str]] = {}


class _Reply(NamedTuple):
    """Hold what goes over the wire; `headers` are this reply's alone."""

    status: int
    head: Head
    headers: Headers
    body: bytes


class ScanApp:
    """Serve scans, and hand everything else to the API.

    Shapes: `files` holds texts by their paths, for those who ask for a proof at the root of a domain.

    Metrics: `huoma_scans_total`.
    """

    def __init__(
        self,
        scanner: Scanner,
        pictures: Pictures,
        api: ASGIApp,
        public_url: str,
        files: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        self._scanner = scanner
        self._pictures = pictures
        self._api = api
        self._public_url = public_url
        self._files = files
        secure = "; Secure" if public_url.startswith("https://") else ""
        self._cookie_tail = f"; Path=/; HttpOnly; SameSite=Lax{secure}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route by path alone: one segment that is no path of the service is a slug."""
        if scope["type"] == "http":
            path = scope["path"]
            if scope["method"] not in ("GET", "HEAD"):
                answer = self._api if _is_served(path) else _not_allowed()
                return await answer(scope, receive, send)
            page = PAGE.fullmatch(path)
            if page and page[1].lower() not in SERVED_PATHS:
                return await self._page(scope, send, page[1], page[2])
            if not page and await self._beside(scope, send, path):
                return None
        return await self._api(scope, receive, send)

    async def _beside(self, scope: Scope, send: Send, path: str) -> bool:
        """Answer what is not the page of a slug, as it stands; False for a path of the API."""
        if picture := PICTURE.fullmatch(path):
            await self._picture(scope, send, picture[1] or mend_segment(picture[2]), picture[3])
        elif fallback := FALLBACK.fullmatch(path):
            await self._fallback(scope, send, fallback[1] or mend_segment(fallback[2]))
        elif printed := PRINT.fullmatch(path):
            await self._print(scope, send, Asked(printed[1] or mend_segment(printed[2]), printed[3]))
        elif path == "/":
            await _send(scope, send, _Reply(200, _HOME, [*pages.HEADERS], pages.home_page(language=_language(scope))))
        elif (file := self._files.get(path)) is not None:
            await _send(scope, send, _Reply(200, _FILE, [*NO_STORE, (b"content-type", b"text/plain")], file))
        elif _is_served(path):
            return False
        else:
            # Something cut, typed from a print, or pasted out of a sentence: people look at it, too.
            asked = mend_path(path)
            if asked is None or asked.slug.lower() in SERVED_PATHS:
                asked = Asked("", None)
            await self._page(scope, send, *asked)
        return True

    async def _page(self, scope: Scope, send: Send, slug: str, option: str | None) -> None:
        headers = dict(scope["headers"])
        visit = _visit(scope, headers, slug, option, json=_wants_json(headers))
        outcome = await _settled(self._scanner.scan(visit)) if slug else Unknown()
        try:
            reply = self._told(visit, headers, outcome)
        except Exception as error:  # noqa: BLE001  # As in `_settled`: a page that retries is better than none.
            say("page_failed", level=logging.ERROR, error=error)
            reply = self._told(visit, headers, Unavailable())
        _SCANS[reply.head.outcome].inc()
        await _send(scope, send, reply)

    def _told(self, visit: Visit, headers: Mapping[bytes, bytes], outcome: Outcome) -> "_Reply":
        now = self._scanner.now()
        tokens = self._scanner.tokens(outcome) if isinstance(outcome, Given) else _NO_TOKENS
        token = tokens[outcome.code.id] if isinstance(outcome, Given) else None
        head = head_of(outcome, now)
        status, body = head.status, b""
        extra: Headers
        if visit.json:
            body = json_of(visit, outcome, token, self._public_url, now)
            extra = [*NO_STORE, (b"content-type", b"application/json")]
        elif (goal := redirect_of(visit, outcome)) is not None:
            # Never 301 or 308, which phones remember for ever.
            status = 302
            extra = [UNKEPT, (b"location", goal.encode())]
        else:
            language = pages.read_language(headers.get(b"accept-language", b"").decode("latin-1"))
            body = html_of(visit, outcome, token, language, self._public_url, now)
            extra = [*pages.HEADERS]
        if isinstance(outcome, Given):
            extra += self._cookies(visit, outcome.code.sticky_days, tokens)
        return _Reply(status, head, extra, body)

    async def _picture(self, scope: Scope, send: Send, slug: str, token: str) -> None:
        # An address of a picture was given to a client that may have a place: to a library, in an answer in JSON.
        visit = _visit(scope, dict(scope["headers"]), slug, json=True)
        outcome = await _settled(self._scanner.see(visit, token)) if slug else Unknown()
        extra = list(NO_STORE)
        if isinstance(outcome, Given):
            picture = await self._pictures.of(outcome.target, outcome.payload())
            tokens = self._scanner.tokens(outcome)
            extra += self._cookies(visit, outcome.code.sticky_days, tokens)
            extra.append((b"x-huoma-seat", tokens[outcome.code.id].encode()))
        else:
            picture = placeholder()
        extra.append((b"content-type", picture.media_type.encode()))
        head = head_of(outcome, self._scanner.now())
        await _send(scope, send, _Reply(head.status, head, extra, picture.data))

    async def _print(self, scope: Scope, send: Send, asked: Asked) -> None:
        """Show the code of a page's own address, which takes no place: for phones that save it, and for computers."""
        there = bool(asked.slug) and await self._scanner.is_printed(Slug(asked.slug))
        url = "/".join(filter(None, (self._public_url, *asked)))
        picture = await self._pictures.drawn(url) if there else placeholder()
        head = Head(200, "outside_wechat") if there else Head(404, "unknown")
        extra = [*NO_STORE, (b"content-type", picture.media_type.encode())]
        await _send(scope, send, _Reply(head.status, head, extra, picture.data))

    async def _fallback(self, scope: Scope, send: Send, slug: str) -> None:
        """Show the static QR of a code's fallback, which takes no place."""
        goal = await self._scanner.fallback(Slug(slug)) if slug else None
        payload = goal.payload if goal else None
        picture = placeholder() if payload is None else await self._pictures.drawn(payload)
        head = Head(404, "unknown") if payload is None else Head(200, "fallback")
        extra = [*NO_STORE, (b"content-type", picture.media_type.encode())]
        await _send(scope, send, _Reply(head.status, head, extra, picture.data))

    def _cookies(self, visit: Visit, sticky_days: int, tokens: Mapping[CodeId, str]) -> Headers:
        """Let the visitor carry his seat; when he carries too many, the oldest go."""
        cookies: Headers = []
        for code, token in tokens.items():
            if visit.tokens.get(code) != token:
                cookie = f"{_COOKIE}{code}={token}; Max-Age={sticky_days * 86_400}{self._cookie_tail}"
                cookies.append((b"set-cookie", cookie.encode()))
        if cookies and len(visit.tokens) + len(tokens) > limits.SEAT_COOKIES:
            cookies += self._forgotten(visit, tokens)
        return cookies

    def _forgotten(self, visit: Visit, tokens: Mapping[CodeId, str]) -> Headers:
        others = sorted(
            (carried for carried in visit.tokens.items() if carried[0] not in ("", *tokens)), key=_issued_at
        )
        # A proxy takes some kB of headers from us and no more; what is left goes with the next scans.
        surplus = min(limits.SEAT_COOKIES, max(0, len(others) + len(tokens) - limits.SEAT_COOKIES))
        cookies = [f"{_COOKIE}{name}=; Max-Age=0{self._cookie_tail}" for name, _ in others[:surplus]]
        return [(b"set-cookie", cookie.encode("latin-1", "ignore")) for cookie in cookies]


async def _settled(asking: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Ask; whatever goes wrong, there is a page that retries by itself."""
    try:
        return await asking
    except Exception as error:  # noqa: BLE001  # A visitor must never see a fault of ours; the log must.
        say("scan_failed", level=logging.ERROR, error=error)
        return Unavailable()


def _visit(scope: Scope, headers: Mapping[bytes, bytes], slug: str, option: str | None = None, *, json: bool) -> Visit:
    browser = read_browser(headers.get(b"user-agent", b"")[:_AGENT_LENGTH], json)
    client, query = scope.get("client"), scope.get("query_string")
    return Visit(
        Slug(slug),
        browser,
        is_preview(scope["method"], browser, _purposes(headers)),
        _carried(scope, headers),
        None if option is None else int(option),
        query.decode("latin-1") if query else "",
        network_of(client[0]) if client else "",
        json,
    )


@lru_cache(maxsize=4096)
def read_browser(user_agent: bytes, json: bool) -> Browser:  # noqa: FBT001  # The cache keys on positions.
    """Classify the client by its header as it came; the few that most people use are read once."""
    return read_user_agent(user_agent.decode("latin-1"), json=json, listed=is_listed)


def _is_served(path: str) -> bool:
    """Check whether a path is one of the API, the docs or operations, by its first segment."""
    return path[1:].partition("/")[0].lower() in SERVED_PATHS


def _not_allowed() -> ASGIApp:
    return problem("method_not_allowed", "This path is only read.", headers={"Allow": "GET, HEAD"})


def _language(scope: Scope) -> pages.Language:
    return pages.read_language(dict(scope["headers"]).get(b"accept-language", b"").decode("latin-1"))


def _purposes(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    if _PURPOSES.isdisjoint(headers):
        return {}
    return {name.decode(): headers[name].decode("latin-1") for name in _PURPOSES & headers.keys()}


def _carried(scope: Scope, headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Read the tokens a visitor carries; a client without cookies (a mini program) sends his in a header."""
    tokens: dict[str, str] = {}
    if b"x-huoma-seat" in headers:
        tokens[""] = headers[b"x-huoma-seat"].decode("latin-1")
    if b"cookie" in headers:
        # HTTP/2 may split a cookie header into several, which not every proxy joins again.
        cookies = b";".join(value for name, value in scope["headers"] if name == b"cookie")
        tokens.update(_seat_cookies(cookies.decode("latin-1")))
    return tokens


def _seat_cookies(header: str) -> Iterable[tuple[str, str]]:
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name.startswith(_COOKIE):
            yield name.removeprefix(_COOKIE), value


def _issued_at(carried: tuple[str, str]) -> int:
    """Read when a token says it was made. Only orders what is thrown away, so the signature is not asked."""
    parts = carried[1].rsplit(".", 2)
    return int(parts[1]) if len(parts) == 3 and len(parts[1]) < 16 and parts[1].isdecimal() else 0


def _wants_json(headers: Mapping[bytes, bytes]) -> bool:
    accept = headers.get(b"accept")
    return accept is not None and b"application/json" in accept and b"text/html" not in accept


async def _send(scope: Scope, send: Send, reply: "_Reply") -> None:
    _, head, headers, body = reply
    headers.append((b"x-huoma-outcome", head.outcome.encode()))
    headers.append((b"content-length", b"%d" % len(body)))
    if head.retry_seconds:
        headers.append((b"retry-after", b"%d" % head.retry_seconds))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
