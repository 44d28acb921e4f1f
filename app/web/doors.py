"""Stand before the API: who may come in, how much he may bring, which headers go out. Pure ASGI, before any routing."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from math import inf
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain import limits
from app.domain.errors import Refusal, StoreAway
from app.services.keeping_keys import Caller, KeyKeeper, unauthenticated
from app.web.edge import SECURITY_HEADERS, away_problem, problem, refusal_problem

API_PATH: Final = "/api/v1"
# Longer than any key of ours, short enough to hash for nothing.
_SECRET_CHARACTERS: Final = 200


class Authentication:
    """Let nobody without a key into the API: nothing of his is parsed, and no path is told from another.

    Shapes: leaves a `Caller` in the request's state.
    """

    def __init__(self, app: ASGIApp, keys: KeyKeeper, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._keys = keys
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and (scope["path"] + "/").startswith(API_PATH + "/"):
            try:
                scope.setdefault("state", {})["caller"] = await self._authenticate(scope)
            except Refusal as refusal:
                return await refusal_problem(refusal)(scope, receive, send)
            except StoreAway as error:
                return await away_problem(error)(scope, receive, send)
        return await self._app(scope, receive, send)

    async def _authenticate(self, scope: Scope) -> Caller:
        given = Headers(scope=scope).getlist("authorization")
        scheme, _, secret = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not 0 < len(secret) <= _SECRET_CHARACTERS:
            raise unauthenticated()
        return await self._keys.authenticate(secret, self._clock())


class BodyLimit:
    """Count what a request brings, whatever it says that it will bring: 12 MB of upload, 2 MB of anything else.

    Units: `seconds` from the head to the end of the body.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        upload = headers.get("content-type", "").lower().startswith("multipart/form-data")
        limit = limits.UPLOAD_BYTES if upload else limits.JSON_BYTES
        announced = headers.get("content-length", "0")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
            answer = problem("body_too_large", "The body is too large: 2 MB of JSON or 12 MB of upload at most.")
            return await answer(scope, receive, send)
        received, end = 0, asyncio.get_running_loop().time() + self._seconds

        async def counted() -> Message:
            nonlocal received, end
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, headers={"Connection": "close"}) from None
            if not message.get("more_body", False):
                # What comes after a body is news of the connection.
                end = inf
            received += len(message.get("body", b""))
            if received > limit:
                # FastAPI takes any other exception for a body that cannot be parsed.
                raise HTTPException(413)
            return message

        return await self._app(scope, counted, send)


class SecurityHeaders:
    """Put the safe headers on every answer that has not chosen its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)
