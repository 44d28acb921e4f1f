"""Be the service most people would write: a FastAPI route, one registered script a request, a signed cookie, an event.

Nothing is held, nobody is told from a bot, and no rule beside the member limit is known. Nothing is done badly, either.
"""

import hashlib
import hmac
import secrets
from typing import Annotated, Final

from fastapi import Cookie, FastAPI
from fastapi.responses import RedirectResponse, Response
from redis.asyncio import Redis

from app.settings import Settings

TARGETS: Final = 5
MEMBER_LIMIT: Final = 1_000_000
_CLAIM: Final = """
for i = 1, #KEYS - 1 do
  if tonumber(redis.call('GET', KEYS[i]) or '0') < tonumber(ARGV[1]) then
    redis.call('INCR', KEYS[i])
    redis.call('XADD', KEYS[#KEYS], '*', 'target', i, 'visitor', ARGV[2])
    return i
  end
end
return 0
"""


def build() -> FastAPI:
    """Build it as servers want it: a factory without arguments."""
    settings = Settings.read()
    key = settings.secrets()[0]
    claim = Redis.from_url(settings.redis_url).register_script(_CLAIM)
    api = FastAPI()

    def sign(text: str) -> str:
        return f"{text}.{hmac.new(key, text.encode(), hashlib.sha256).hexdigest()}"

    def read(cookie: str) -> tuple[str, int] | None:
        text = cookie.rpartition(".")[0]
        if not hmac.compare_digest(cookie.encode(), sign(text).encode()):
            return None
        visitor, _, target = text.partition(".")
        return visitor, int(target)

    @api.get("/{slug}")
    async def scan(slug: str, seat: Annotated[str, Cookie()] = "") -> Response:
        known = read(seat)
        visitor, target = known or (secrets.token_hex(8), 0)
        if not known:
            keys = [*(f"idiomatic:{slug}:{number}" for number in range(1, TARGETS + 1)), "idiomatic:events"]
            target = await claim(keys=keys, args=[MEMBER_LIMIT, visitor])
        if not target:
            return Response("All groups are full.", 503)
        response = RedirectResponse(f"https://www.example.com/{target}", 302, {"Cache-Control": "no-store"})
        response.set_cookie("seat", sign(f"{visitor}.{target}"), max_age=86_400, httponly=True, samesite="lax")
        return response

    return api
