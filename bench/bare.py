"""Be the least an ASGI application can be: a 302 that nobody may keep. What the server allows, and the yardstick."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

_START: Final = {
    "type": "http.response.start",
    "status": 302,
    "headers": [(b"location", b"https://www.example.com/"), (b"cache-control", b"no-store"), (b"content-length", b"0")],
}
_BODY: Final = {"type": "http.response.body", "body": b""}


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Send everybody on."""
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
    else:
        await send(_START)
        await send(_BODY)


def build() -> ASGIApp:
    """Build it as servers want it: a factory without arguments."""
    return answer
