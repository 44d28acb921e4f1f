"""Open sessions on PostgreSQL: reading and writing told apart by type, an absent database from a refusing one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NewType

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
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
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=connect_seconds,
            pool_pre_ping=False,
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
        if isinstance(error, DBAPIError) and (
            error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
        ):
            raise StoreAway from error
        if isinstance(error, OSError | TimeoutError):
            raise StoreAway from error
