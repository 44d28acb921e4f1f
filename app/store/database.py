"""Open sessions on PostgreSQL: reading and writing told apart by type, an absent database from a refusing one."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final, NewType

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, InvalidRequestError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.domain.code import WorkspaceId
from app.domain.errors import Refusal, StoreAway
from app.sharing import Shares
from app.store.patience import Patience
from app.store.refusals import FAULTS, REFUSED, why
from app.telemetry import say

Reading = NewType("Reading", AsyncConnection)
Writing = NewType("Writing", AsyncConnection)


# Between two statements of a transaction lies a round trip to Redis, at most.
IDLE_SECONDS: Final = 10.0
# Edits of one workspace that may wait for others of it, and for how long.
EDITS_WAITING: Final = 100
EDITS_WAIT_SECONDS: Final = 10.0
# What need not be done now waits so long for a lock; another attempt follows.
LOCK_SECONDS: Final = 2.0
# Codes of one workspace, and of all, that may wait to be read; scans give up sooner.
READS_WAITING: Final = 200
READS_WAITING_ALL: Final = 2_000
# Lists and reports of one workspace that may wait for others of it, and for how long: longer than one may take.
VIEWS_WAITING: Final = 50
VIEWS_WAIT_SECONDS: Final = 60.0


class Database:
    """Hand out connections of one pool.

    With `watchful`, what has been asked for longer than `connect_seconds` is given up when PostgreSQL does not answer
    anybody; without, only `statement_seconds` bound it, and a server that was stopped and goes on loses nothing.
    Raises: StoreAway — from both openers, when PostgreSQL cannot be reached or goes away meanwhile.
    Cost: an opening is a round trip, to see that somebody answers.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int,
        connect_seconds: float,
        statement_seconds: float,
        idle_seconds: float = IDLE_SECONDS,
        watchful: bool = False,
    ) -> None:
        connect_args = _connect_args(connect_seconds, statement_seconds, idle_seconds)
        self.engine: AsyncEngine = create_async_engine(
            url,
            # What a failed statement was given is a payload, a name or the hash of a key, and no business of a log.
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=connect_seconds,
            connect_args=connect_args,
        )
        # Apart from the pool, all of which may be waiting for the very server that is asked for.
        self._aside: AsyncEngine = create_async_engine(url, poolclass=sa.NullPool, connect_args=connect_args)
        self._patience = Patience(connect_seconds)
        self._watchful = watchful
        self._looking = asyncio.Lock()
        # An edit, and the reading of a code for its scans, may wait for the lock of a row with a connection in hand; a
        # report may take as long as a statement may. Of ten connections four are for edits, three for codes that are
        # read, two for what the API reads, and fewer of each for one workspace: so one is left for what takes no time,
        # such as keys of the API and slugs.
        edits, codes, views = (max(1, int(pool_size * share)) for share in (0.4, 0.3, 0.25))
        self._edits = Shares(
            edits, _less(edits, pool_size // 4), _too_many_edits,
            waiting_each=EDITS_WAITING, waiting_all=EDITS_WAITING * 8, seconds=EDITS_WAIT_SECONDS,
        )  # fmt: skip
        self._code_reads = Shares(
            codes, _less(codes, pool_size // 4), StoreAway, waiting_each=READS_WAITING, waiting_all=READS_WAITING_ALL
        )
        self._views = Shares(
            views, _less(views, pool_size // 4), _too_many_reads,
            waiting_each=VIEWS_WAITING, waiting_all=VIEWS_WAITING * 8, seconds=VIEWS_WAIT_SECONDS,
        )  # fmt: skip
        # A restarted server costs nobody a failed request; no scan waits for this, since none asks PostgreSQL.
        sa.event.listen(self.engine.sync_engine, "checkout", self._check)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        """Open a connection for reading; nothing it does is kept."""
        with _away():
            async with self._opened() as connection:
                yield Reading(connection)

    @asynccontextmanager
    async def viewing(self, workspace: WorkspaceId) -> AsyncIterator[Reading]:
        """Open a connection for a list or a report, when the workspace has a share left.

        Raises: Refusal `too_many_reads`; as `reading`.
        """
        async with self._turn(self._views, workspace), self.reading() as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Writing]:
        """Open one transaction: kept when the block ends, undone when it raises."""
        with _away():
            async with self._opened() as connection, connection.begin():
                yield Writing(connection)

    @asynccontextmanager
    async def editing(self, workspace: WorkspaceId) -> AsyncIterator[Writing]:
        """Open one transaction that may wait for locks, when the workspace has a share left.

        Raises: Refusal `too_many_edits`; as `writing`.
        """
        async with self._turn(self._edits, workspace), self.writing() as tx:
            yield tx

    def code_turn(self, workspace: WorkspaceId) -> AbstractAsyncContextManager[None]:
        """Wait until the workspace has a share left for reading a code. Raises: StoreAway."""
        return self._turn(self._code_reads, workspace)

    @asynccontextmanager
    async def _turn(self, shares: Shares, workspace: WorkspaceId) -> AsyncIterator[None]:
        """Wait for a turn, but not while PostgreSQL is silent: else each would find that out for itself in its turn.

        Raises: StoreAway; what `shares` refuses with.
        """
        silences = self._patience.silences
        with _away():
            self._patience.check()
        async with shares.turn(workspace):
            with _away():
                self._patience.check_since(silences)
            yield

    async def close(self) -> None:
        """Close every connection of the pool."""
        await self.engine.dispose()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncConnection]:
        connection = await self._patience.open(self._open())
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        async with self._watched():
            with self._patience.held(driver):
                try:
                    yield connection
                finally:
                    # Also for who is cancelled meanwhile: the connection must go back. It asks for a rollback.
                    await asyncio.shield(connection.close())

    async def _open(self) -> AsyncConnection:
        try:
            return await self.engine.connect()
        except TimeoutError:
            self._patience.fall_silent()
            raise
        except InvalidRequestError as error:
            # What SQLAlchemy says when each connection that it opens is dead before it can be handed out.
            raise ConnectionError from error

    def _check(self, connection: Any, _record: Any, _proxy: Any) -> None:
        """See that a connection is alive before it is handed out; if it is dead, so are the others of its time."""
        try:
            connection.run_async(self._ping)
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError) as error:
            raise InvalidatePoolError from error

    async def _ping(self, driver: Any) -> None:
        with self._patience.answering(driver):
            await driver.execute("select")

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Look now and then, while a block lasts, whether PostgreSQL answers at all."""
        watching = asyncio.create_task(self._watch()) if self._watchful else None
        try:
            yield
        finally:
            if watching is not None:
                watching.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._patience.seconds)
            with suppress(
                DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, ConnectionError
            ):
                try:
                    async with self._looking, self._aside.connect():
                        pass
                except TimeoutError:
                    self._patience.fall_silent()


async def now(connection: Reading) -> datetime:
    """Read the clock of PostgreSQL. Cost: one statement."""
    shown: datetime = (await connection.execute(sa.text("select clock_timestamp()"))).scalar_one()
    return shown


async def bound_locks(tx: Writing) -> None:
    """Let the statements of a transaction wait for locks for `LOCK_SECONDS` at most.

    Raises: what the opener turns into StoreAway — from the statement that would wait longer.
    Cost: one statement.
    """
    bound = sa.func.set_config("lock_timeout", _milliseconds(LOCK_SECONDS), True)
    await tx.execute(sa.select(bound))


def _connect_args(connect_seconds: float, statement_seconds: float, idle_seconds: float) -> dict[str, Any]:
    return {
        "timeout": connect_seconds,
        "command_timeout": statement_seconds,
        # A process that is stopped, or cut off, must not keep its locks from the others for ever.
        "server_settings": {
            "idle_in_transaction_session_timeout": _milliseconds(idle_seconds),
            # What the client gives up by itself comes first.
            "statement_timeout": _milliseconds(statement_seconds + idle_seconds),
        },
    }


def _too_many_edits() -> Refusal:
    return Refusal("too_many_edits", "Other edits of this workspace take long; send yours again in a moment.")


def _too_many_reads() -> Refusal:
    return Refusal("too_many_reads", "Other reports of this workspace take long; ask again in a moment.")


def _less(total: int, share: int) -> int:
    """Return a share of one workspace that leaves something to the others."""
    return max(1, min(share, total - 1))


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


class _away:  # noqa: N801 - reads as a word where it is used
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and _is_away(error):
            if _state(error).startswith(FAULTS):
                # It may last, and whoever asked is only told to try again.
                say("postgresql_failed", level=logging.ERROR, why=why(error))
            raise StoreAway from error


# Classes of SQLSTATE that speak of the server, or of what others do there, and not of the statement: connection,
# resources, shutting down or starting up, a transaction that was idle for too long, a lock that another keeps, a
# deadlock or a serialization failure, a statement that an operator or a bound has cancelled, and faults of the system
# or of PostgreSQL itself. Source: PostgreSQL manual, appendix A, read 2026-11-25.
_AWAY_CLASSES: Final = ("08", "53", "57P", "25P03", "55P03", "40", "57014", *FAULTS)


def _is_away(error: BaseException) -> bool:
    """Return whether an error speaks of the server or of how it is set up, and not of the statement."""
    # InternalClientError is a plain Exception: a connection that has lost its place, as when its server is killed.
    if isinstance(error, OSError | TimeoutError | PoolTimeout | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return True
    if isinstance(error, DBAPIError):
        if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
            return True
        error = error.orig or error
        # The second once a connection after a migration: asked again, the statement is prepared anew.
        if isinstance(error.__cause__, asyncpg.InternalClientError | asyncpg.InvalidCachedStatementError):
            return True
    return _state(error).startswith((*_AWAY_CLASSES, *REFUSED))


def _state(error: BaseException) -> str:
    """Read the SQLSTATE of an error, bare or as SQLAlchemy wraps it; '' when it has none."""
    bare = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(bare, "sqlstate", None) or "")
