"""Open Redis. The only file that knows how it is reached."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from app.domain.errors import CountersAway

# redis-py takes some prefixes off, and Redis < 7 puts what a script met behind a dash.
_AWAY: Final = re.compile(r"(?:^|: -)(?:MISCONF|OOM|MASTERDOWN|NOREPLICAS|LOADING|TRYAGAIN|READONLY|BUSY) ")


def connect(url: str, *, connections: int, timeout_seconds: float) -> Redis:
    """Open a pool on `redis://`, `rediss://` or `unix://`; connections are made when first needed.

    Retries are off: a command whose reply was lost may have counted, and must not count twice.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
    return Redis(connection_pool=pool)


@contextmanager
def away() -> Iterator[None]:
    """Turn every way in which Redis can be unreachable into one error; its refusals of our own mistakes stay loud.

    Raises: CountersAway — no connection, no reply in time, still loading, read-only or without a master.
    """
    try:
        yield
    except (BusyLoadingError, ClusterDownError, ReadOnlyError) as error:
        raise CountersAway from error
    except ResponseError as error:
        if isinstance(error, OutOfMemoryError | TryAgainError) or _AWAY.search(str(error)):
            raise CountersAway from error
        raise
    except (RedisError, OSError, TimeoutError) as error:
        raise CountersAway from error
