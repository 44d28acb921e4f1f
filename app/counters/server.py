"""Open Redis. The only file that knows how it is reached."""

import re
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final

from hiredis import HiredisError
from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from app.counters.address import Host, Kind, read_address
from app.counters.cluster import Cluster
from app.counters.node import MasterPool, Node, wait_ms
from app.counters.pool import Pool
from app.domain.errors import CountersAway

_AWAY_ERRORS: Final = (
    AskError, BusyLoadingError, ClusterDownError, NoPermissionError, OutOfMemoryError, ReadOnlyError, TryAgainError,
)  # fmt: skip
# redis-py takes some prefixes off, and Redis < 7 puts what a script met behind a dash.
_AWAY: Final = re.compile(
    r"(?:^|: -)(?:MISCONF|OOM|MASTERDOWN|NOREPLICAS|LOADING|TRYAGAIN|READONLY|BUSY|NOPERM) "
    # Redis < 7, of a command in a script.
    r"|user executing the script can't"
)


class _TlsConnection(SSLConnection):
    """Say what a handshake that gets no answer may mean: a port without TLS waits for more, and so does the client."""

    async def _connect(self) -> None:
        try:
            await super()._connect()  # type: ignore[no-untyped-call]
        except TimeoutError as error:
            raise RedisConnectionError(
                "No TLS connection in time; its port may be one without TLS (redis://)"
            ) from error


def connect(url: str, *, connections: int, timeout_seconds: float, replicas: int = 0) -> Redis:
    """Open Redis at one of `address.FORMS`; connections are made when first needed, at most so many to each server.

    Retries are off: a command whose reply was lost may have counted, and must not count twice.
    Units: what is written is answered once `replicas` replicas have it; half of the time for a reply is left for that.
    Raises: ValueError — the address cannot be one.
    """
    address = read_address(url)
    options = {**address.options, "connection_class": _TlsConnection} if address.tls else address.options
    limits: dict[str, Any] = {
        "max_connections": connections,
        "timeout": timeout_seconds,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
    }

    def node(pool: Pool) -> Node:
        return Node(pool, replicas=replicas, wait_ms=wait_ms(timeout_seconds))

    def dial(host: Host) -> Node:
        name, port = host
        return node(Pool(host=name, port=port, **options, **limits))

    match address.kind:
        case Kind.CLUSTER:
            return Cluster(address.hosts, dial, timeout_seconds=timeout_seconds)
        case Kind.SENTINEL:
            return node(MasterPool(address, timeout_seconds=timeout_seconds, **limits))
        case Kind.ONE:
            return node(Pool(**options, **limits))


class _Away:
    """Turn what leaves its block. A class, since a generator costs ten times as much and every round trip pays it."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if isinstance(error, ResponseError) and not isinstance(error, _AWAY_ERRORS) and not _AWAY.search(str(error)):
            return
        # Those of a cluster, and of the parser when what answers is no Redis, are none of redis-py's family.
        if isinstance(error, RedisError | RedisClusterException | HiredisError | OSError | TimeoutError):
            raise CountersAway from error


_TURNED: Final = _Away()


def away() -> AbstractContextManager[None]:
    """Turn every way in which Redis can be unreachable into one error; its refusals of our own mistakes stay loud.

    Raises: CountersAway — no connection, no reply in time, still loading, read-only, without a master, too few
    replicas, a slot that no master serves yet, a password or a permission that is missing, or no Redis at all.
    """
    return _TURNED
