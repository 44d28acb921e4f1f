"""Open sessions on PostgreSQL: reading and writing told apart by type, an absent database from a refusing one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NewType

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.domain.errors import StoreAway

Reading = NewType("Reading", AsyncConnection)
Writing = NewType("Writing", AsyncConnection)


class Database:
    """Hand out connections of one pool.

    Raises: StoreAway — from both openers, when PostgreSQL cannot be reached or goes away meanwhile.
    """

    def __init__(self, url: str, *, pool_size: int, connect_seconds: float, statement_seconds: float) -> None:
        self.engine: AsyncEngine = create_async_engine(
            url,
            # What a failed statement was given is a payload, a name or the hash of a key, and no business of a log.
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=connect_seconds,
            # A restarted server costs nobody a failed request; no scan waits for this, since none asks PostgreSQL.
            pool_pre_ping=True,
            connect_args={"timeout": connect_seconds, "command_timeout": statement_seconds},
        )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        """Open a connection for reading; nothing it does is kept."""
        with _away():
            async with self.engine.connect() as connection:
                yield Reading(connection)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Writing]:
        """Open one transaction: kept when the block ends, undone when it raises."""
        with _away():
            async with self.engine.begin() as connection:
                yield Writing(connection)

    async def close(self) -> None:
        """Close every connection of the pool."""
        await self.engine.dispose()


class _away:  # noqa: N801 - reads as a word where it is used
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and _is_away(error):
            raise StoreAway from error


# Classes of SQLSTATE that speak of the server and not of the statement: connection, resources, shutting down or
# starting up. Source: PostgreSQL manual, appendix A, read 2026-11-21.
_AWAY_CLASSES: Final = ("08", "53", "57P")


def _is_away(error: BaseException) -> bool:
    if isinstance(error, OSError | TimeoutError | PoolTimeout | asyncpg.InterfaceError):
        return True
    if isinstance(error, DBAPIError):
        if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
            return True
        error = error.orig or error
    state = getattr(error, "sqlstate", None)
    return isinstance(state, str) and state.startswith(_AWAY_CLASSES)
