"""Say in one sentence what Redis, or its client, has refused. The only table of such sentences."""

import re
import ssl
from collections.abc import Iterator
from typing import Final

import hiredis
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AuthenticationError, NoPermissionError, RedisClusterException, RedisError

_LOGIN: Final = re.compile(
    r"NOAUTH|HELLO must be called|WRONGPASS|invalid (?:username|password)|AUTH .*without any password|Authentication"
)
_FORBIDDEN: Final = re.compile(r"NOPERM|no permissions|can't run this command")
_DATABASE: Final = re.compile(r"DB index is out of range|SELECT is not allowed")
_NO_CLUSTER: Final = re.compile(r"cluster support disabled")
# What waiting does not mend, and an operator must.
_LASTING: Final = (
    (_LOGIN, "Redis refuses the name or the password of HUOMA_REDIS_URL"),
    (_FORBIDDEN, "Redis forbids its user what huoma does"),
    (_DATABASE, "Redis does not have the database of HUOMA_REDIS_URL"),
    (_NO_CLUSTER, "HUOMA_REDIS_URL names a cluster, and this Redis is none"),
)


def why(error: BaseException) -> str | None:
    """Say what the client has met; None when the error comes from elsewhere. No sentence holds a password."""
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLError):
            return f"Redis and HUOMA_REDIS_URL do not agree on TLS: {_line(one)}."
        if isinstance(one, MasterNotFoundError):
            # What redis-py says has the options of its connections in it, passwords included.
            return "Redis cannot be reached: no sentinel of HUOMA_REDIS_URL names a master that answers."
        if isinstance(one, hiredis.HiredisError):
            return f"What answers at HUOMA_REDIS_URL is no Redis, or speaks TLS: {_line(one)}."
        if isinstance(one, RedisError | RedisClusterException):
            for met, says in _LASTING:
                if met.search(str(one)):
                    return f"{says}: {_line(one)}."
    refused = [one for one in chain if isinstance(one, RedisError | RedisClusterException | OSError) and str(one)]
    return f"Redis cannot be reached: {_line(refused[-1])}." if refused else None


def lasting(error: BaseException) -> bool:
    """Return whether the error stays until an operator does something, as a wrong password does."""
    return any(
        isinstance(one, ssl.SSLError | hiredis.HiredisError | AuthenticationError | NoPermissionError)
        or (isinstance(one, RedisError) and any(met.search(str(one)) for met, _ in _LASTING))
        for one in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (error.__context__ if isinstance(error, RedisError) else None)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
