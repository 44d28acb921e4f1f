"""Read the clocks of Redis: that of each master, since a cluster has several."""

import asyncio
from contextlib import suppress
from typing import Any, Final, Protocol

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from app.counters.address import Host
from app.counters.cluster import Cluster
from app.counters.server import away
from app.domain.errors import CountersAway


class Listener(Protocol):
    """Take note of what the clocks of servers show."""

    steps: int

    def ticks(self) -> float:
        """Count seconds by a clock that nobody can set."""

    def hear(self, name: str, seconds: float, asked_at: float) -> None:
        """Take note of what a clock showed, in seconds since 1970, at some moment since `asked_at`."""


_ONE: Final = "redis"


def name_of(host: Host | None) -> str:
    """Name the clock of a master; None is the only one there is, or whichever sentinels name."""
    return _ONE if host is None else f"{_ONE} {host[0]}:{host[1]}"


def seconds(reply: Any) -> float:
    """Read the reply to `TIME`, seconds and microseconds."""
    return int(reply[0]) + int(reply[1]) / 1_000_000


async def masters(redis: Redis) -> dict[Host | None, Redis]:
    """Name every master: of a cluster each, else the only one. Raises: CountersAway — the cluster is."""
    if not isinstance(redis, Cluster):
        return {None: redis}
    with away():
        return {host: redis.node(host) for host in await redis.masters()}


async def ask(redis: Redis, listener: Listener) -> list[str]:
    """Ask every master for its time; return the names of all, those too that do not answer or may not be asked.

    Cost: one round trip to each, all at once.
    Raises: CountersAway — none answers.
    """
    servers = await masters(redis)
    told = await asyncio.gather(
        *(_ask(server, host, listener) for host, server in servers.items()), return_exceptions=True
    )
    for one in told:
        if isinstance(one, BaseException) and not isinstance(one, CountersAway):
            raise one
    if not [one for one in told if one is None]:
        raise CountersAway from next(one.__cause__ for one in told if one is not None)
    return [name_of(host) for host in servers]


async def _ask(server: Redis, host: Host | None, listener: Listener) -> None:
    asked_at = listener.ticks()
    # A server that forbids the question leaves the time to the others.
    with away(), suppress(NoPermissionError):
        listener.hear(name_of(host), seconds(await server.time()), asked_at)
