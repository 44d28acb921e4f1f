"""Say how a Redis is set up to lose counters: by evicting them when memory is short, or by keeping no file of them."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.counters.clocks import masters
from app.counters.server import away
from app.domain.errors import CountersAway

_KEEPS: Final = "noeviction"


async def warnings(redis: Redis) -> list[str]:
    """Return a sentence for each thing that is wrong, of whichever master; what a server does not say is not wrong.

    Cost: two round trips to each master, all masters at once.
    Raises: CountersAway — none answers.
    """
    servers = await masters(redis)
    told = await asyncio.gather(*(_look(server) for server in servers.values()), return_exceptions=True)
    found: list[str] = []
    for one in told:
        if isinstance(one, BaseException):
            if not isinstance(one, CountersAway) or len(told) == 1:
                raise one
        else:
            found += one
    return list(dict.fromkeys(found))


async def _look(server: Redis) -> list[str]:
    set_up = await _config(server) or await _info(server)
    policy, limit, appends = set_up.get("policy", _KEEPS), set_up.get("limit", "0"), set_up.get("appends", "yes")
    found = []
    if policy != _KEEPS and limit != "0":
        found.append(
            f"Redis may evict counters (maxmemory-policy is {policy}, and maxmemory is set), which gives places twice: "
            f"set maxmemory-policy to {_KEEPS}."
        )
    if appends in ("no", "0"):
        found.append(
            "Redis keeps no append-only file (appendonly is no), so that a restart loses places that visitors have: "
            "set appendonly to yes."
        )
    return found


async def _config(server: Redis) -> Mapping[str, str] | None:
    """Ask for the settings themselves, which managed servers often forbid; None then."""
    names = {"policy": "maxmemory-policy", "limit": "maxmemory", "appends": "appendonly"}
    with away():
        try:
            told: Any = await server.config_get(*names.values())
        except ResponseError:
            return None
    return {ours: str(told[theirs]) for ours, theirs in names.items() if theirs in told}


async def _info(server: Redis) -> Mapping[str, str]:
    names = {"policy": "maxmemory_policy", "limit": "maxmemory", "appends": "aof_enabled"}
    with away():
        try:
            # `INFO` with several sections is too new for Redis 6.2.
            told: Any = await server.info()
        except ResponseError:
            return {}
    return {ours: str(told[theirs]) for ours, theirs in names.items() if theirs in told}
