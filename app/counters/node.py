"""Speak to one Redis server, or to whichever the sentinels call master, and wait for its replicas where that is wanted.

Law: nothing is sent twice.
"""

import weakref
from typing import Any, Final

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.sentinel import Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from app.counters.address import Address, Host
from app.counters.pool import Pool

# What changes nothing; whatever else is sent waits for replicas.
_READS: Final = frozenset(
    (
        "GET",
        "HMGET",
        "HKEYS",
        "XLEN",
        "XRANGE",
        "ZRANGE",
        "ZCOUNT",
        "SMEMBERS",
        "SCAN",
        "OBJECT",
        "PING",
        "CLUSTER",
        "TIME",
        "INFO",
    )
)


class NotHeardError(RedisConnectionError):
    """Fewer replicas than wanted have a write: it is there, and would be lost with its server."""


class Node(Redis):
    """Be one server.

    Units: what is written is waited for, at most `wait_ms`, until `replicas` replicas have it.
    Cost: a command and its `WAIT` are one write and one read.
    Raises: beside what redis-py raises: NotHeardError.
    """

    def __init__(self, pool: ConnectionPool, *, replicas: int, wait_ms: int) -> None:
        super().__init__(connection_pool=pool)
        self._wait = ("WAIT", replicas, wait_ms)

    async def execute_command(self, *args: Any, asking: bool = False, **options: Any) -> Any:
        """Run a command; `asking` for a slot that is on its way to this server."""
        waits = self._wait[1] > 0 and str(args[0]).split()[0] not in _READS
        if not (waits or asking):
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        # A transaction would not wait: `WAIT` answers at once there.
        async with self.pipeline(transaction=False) as pipe:
            if asking:
                pipe.execute_command("ASKING")
            pipe.execute_command(*args, **options)
            if waits:
                pipe.execute_command(*self._wait)
            replies = await pipe.execute(raise_on_error=False)
        reply = replies[int(asking)]
        if isinstance(reply, Exception):
            raise reply
        if waits:
            insist(replies[-1], self._wait[1])
        return reply

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001
        """Close every connection: the pool is ours."""
        await super().aclose(True if close_connection_pool is None else close_connection_pool)


def wait_ms(timeout_seconds: float) -> int:
    """Say how long replicas are waited for, so that a reply still comes in time when they do not answer."""
    return max(1, int(timeout_seconds * 500))


def insist(heard: Any, replicas: int) -> None:
    """Insist that enough replicas have heard. Raises: NotHeardError."""
    # A server that is made a replica meanwhile answers with an error.
    if not isinstance(heard, int) or heard < replicas:
        raise NotHeardError(f"Of {replicas} replicas, {heard} have heard.")


class MasterPool(Pool):
    """Connect to whichever server the sentinels call master when a connection is made."""

    is_master: Final = True
    check_connection: Final = False

    def __init__(self, address: Address, *, timeout_seconds: float, **limits: Any) -> None:
        tls = address.tls
        own = {name: value for name, value in address.options.items() if name != "connection_class"}
        super().__init__(
            connection_class=SentinelManagedSSLConnection if tls else SentinelManagedConnection, **own, **limits
        )
        self.connection_kwargs["connection_pool"] = weakref.proxy(self)
        self._name = address.master
        self._last: Host | None = None
        # A sentinel that is away must leave time to ask the next one.
        each = timeout_seconds / (len(address.hosts) + 1)
        self._sentinels = Sentinel(  # type: ignore[no-untyped-call]
            address.hosts,
            sentinel_kwargs={
                **(address.sentinel_options or {}),
                **({"ssl": True} if tls else {}),
                "retry": limits["retry"],
                "socket_timeout": each,
                "socket_connect_timeout": each,
                "decode_responses": True,
            },
        )

    async def get_master_address(self) -> Host:
        """Ask who is master now. Raises: redis-py's MasterNotFoundError."""
        master: Host = await self._sentinels.discover_master(self._name)
        if self._last != master:
            self._last = master
            # Those that are open lead to the one before.
            await self.disconnect(inuse_connections=False)
        return master

    async def aclose(self) -> None:
        """Close everything, the connections to sentinels, too."""
        await super().aclose()
        for sentinel in self._sentinels.sentinels:
            await sentinel.aclose()
