"""A process that stands still in a transaction keeps nobody waiting for ever."""

import time

import asyncpg
import pytest
import sqlalchemy as sa

from app.domain.code import WorkspaceId
from app.domain.errors import StoreAway
from app.domain.workspace import Workspace
from app.embedded import Servers
from app.store import records
from app.store.database import Database


async def idle_in_a_lock(idler: Database, other: Database, workspace: WorkspaceId) -> None:
    async with idler.writing() as idle:
        await records.lock_position(idle, workspace, wait=True)
        began = time.monotonic()
        async with other.writing() as waiting:
            assert await records.lock_position(waiting, workspace, wait=True) is not None
        assert 0.3 < time.monotonic() - began < 15
        await idle.execute(sa.text("select 1"))


async def test_who_idles_in_a_transaction_loses_its_locks_and_is_told(
    servers: Servers, database: Database, workspace: Workspace
) -> None:
    idler = Database(servers.database_url, pool_size=1, connect_seconds=5, statement_seconds=20, idle_seconds=0.5)
    try:
        with pytest.raises(StoreAway):
            await idle_in_a_lock(idler, database, workspace.id)
        async with idler.reading() as again:
            assert (await again.execute(sa.text("select 1"))).scalar() == 1
    finally:
        await idler.close()


async def test_the_server_ends_a_statement_by_itself_whatever_became_of_its_client(servers: Servers) -> None:
    hurried = Database(servers.database_url, pool_size=1, connect_seconds=5, statement_seconds=0.2, idle_seconds=0.3)
    try:
        async with hurried.reading() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            # As long as this client would wait for it.
            with pytest.raises(asyncpg.QueryCanceledError, match="statement timeout"):
                await driver.execute("select pg_sleep(20)", timeout=60)
    finally:
        await hurried.close()
