"""Hold the Lua scripts of `lua/` and run them by hash. The only file that reads them."""

import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from app.counters.server import away
from app.counters.wire import Wire

Argument = str | int | float | bytes


class Script:
    """Run one Lua file in Redis.

    Cost: one round trip; one more when Redis has not seen the script since it started.
    Raises: CountersAway.
    """

    def __init__(self, name: str, text: str | None = None) -> None:
        self.name = name
        self.text = text or resources.files("app.counters").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
        self.hash = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis | Wire, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Send keys and arguments, get the reply as Lua built it."""
        with away():
            try:
                return await redis.evalsha(self.hash, len(keys), *keys, *arguments)
            except NoScriptError:
                # Redis has run nothing: sending the text is no second attempt.
                return await redis.eval(self.text, len(keys), *keys, *arguments)


CLAIM = Script("claim")
PUBLISH = Script("publish")
REBASE = Script("rebase")
FORGET = Script("forget")
KEEP = Script("keep")
SET_ASIDE = Script("set_aside")
NARROW = Script("narrow")
AUDIT = Script("audit")
AUDIT_ADDS = Script("audit_adds")
REBUILD = Script("rebuild")
RESTORE_ADDS = Script("restore_adds")
PACK = Script("pack")
REST = Script("rest")
SIFT = Script("sift")
SIEVE = Script("sieve")
MARK = Script("mark")
MARK_ALL = Script("mark_all")
READ_AFTER = Script("read_after")
IN_FORCE = Script("in_force")
GIVE_BACK = Script("give_back")
PROBE = Script("probe")
ERAS = Script("eras")
ALL = (
    CLAIM, PUBLISH, REBASE, FORGET, KEEP, SET_ASIDE, NARROW, AUDIT, AUDIT_ADDS, REBUILD, RESTORE_ADDS, PACK, REST, SIFT,
    SIEVE, MARK, MARK_ALL, READ_AFTER, IN_FORCE, GIVE_BACK, PROBE, ERAS,
)  # fmt: skip
