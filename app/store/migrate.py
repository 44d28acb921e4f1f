"""Bring a database to the tables that the code expects. The only door to alembic."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from app.domain.errors import StoreAway
from app.store.schema import SchemaError, too_new

T = TypeVar("T")

SCRIPTS = Path(__file__).parents[2] / "migrations"
# Any number will do as long as it never changes: "huoma" in ASCII.
LOCK_KEY = 0x68756F6D61
LOCK_PATIENCE_SECONDS = 600.0
LOCK_POLL_SECONDS = 0.2
# A machine that is just starting its PostgreSQL may be slow to answer.
CONNECT_SECONDS = 10.0


async def upgrade(database_url: str) -> None:
    """Apply every migration that is missing. Of several starters one works; the others wait and find nothing to do.

    Raises: TimeoutError — another starter holds the lock for ten minutes; SQLAlchemyError — a migration fails, and its
    transaction is undone; SchemaError — another version has migrated further.
    """

    def apply(connection: Connection) -> None:
        config = _config()
        found = MigrationContext.configure(connection).get_current_heads()
        connection.rollback()
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        for revision in found:
            if revision not in known:
                raise SchemaError(too_new(revision))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    # In a thread with a loop of its own: alembic reads files and imports modules, which would hold up ours.
    await asyncio.to_thread(lambda: asyncio.run(locked(database_url, apply)))


async def current(database_url: str) -> str | None:
    """Name the migration that the database has come to; None when it is empty."""
    return await _on_connection(
        database_url, lambda connection: MigrationContext.configure(connection).get_current_revision()
    )


def head() -> str | None:
    """Name the newest migration; None when there is none.

    Raises: alembic's CommandError — two migrations claim to be the newest.
    """
    return ScriptDirectory.from_config(_config()).get_current_head()


async def differences(database_url: str) -> list[Any]:
    """List what the tables in code have and the database has not, or the other way round.

    Shapes: alembic's operations, as `("add_column", schema, table, column)`; empty when both agree.
    """
    from app.store.tables import metadata

    return await _on_connection(
        database_url,
        lambda connection: compare_metadata(
            MigrationContext.configure(connection, opts=comparison(connection)), metadata
        ),
    )


def comparison(connection: Connection) -> dict[str, Any]:
    """Say how code and database are compared: types and defaults count, partitions are data and do not."""
    partitions = set(connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition")))

    def include(_object: object, name: str | None, kind: str, reflected: bool, _other: object) -> bool:  # noqa: FBT001
        return not (kind == "table" and reflected and name in partitions)

    return {"compare_type": True, "compare_server_default": True, "include_object": include}


async def locked(database_url: str, work: Callable[[Connection], None]) -> None:
    """Work on a connection that holds the migration lock.

    Raises: TimeoutError — somebody else holds the lock for ten minutes.
    """
    async with _connected(database_url) as connection:
        deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
        # Asked again and again rather than waited for: CREATE INDEX CONCURRENTLY waits for every open transaction, and
        # one that waits for our lock would be among them.
        while not await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}):
            await connection.rollback()
            if time.monotonic() > deadline:
                raise TimeoutError("another process has been migrating this database for ten minutes")
            await asyncio.sleep(LOCK_POLL_SECONDS)
        await connection.rollback()
        # The lock belongs to the session and goes when it closes.
        await connection.run_sync(work)


@asynccontextmanager
async def _connected(database_url: str) -> AsyncIterator[AsyncConnection]:
    """Open a connection of its own. Raises: StoreAway — there is no answer, or none in time."""
    engine = create_async_engine(database_url, poolclass=NullPool, connect_args={"timeout": CONNECT_SECONDS})
    try:
        connection = await engine.connect()
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise StoreAway from error
    try:
        yield connection
    finally:
        await connection.close()


async def _on_connection(database_url: str, question: Callable[[Connection], T]) -> T:
    async with _connected(database_url) as connection:
        return await connection.run_sync(question)


def _config() -> Config:
    config = Config()
    # A percent sign in a path would be read as an interpolation.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config
