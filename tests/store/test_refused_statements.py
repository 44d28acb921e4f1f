"""What PostgreSQL says of itself, or of what others do there, is an absence; what it says of a statement is a fault."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis
from sqlalchemy.exc import DBAPIError

from app.counters import versions
from app.domain.code import CodeId
from app.domain.errors import StoreAway
from app.domain.workspace import Workspace
from app.services.watching import Watcher
from app.store.database import Database, Reading
from app.web.operations import Readier
from tests.conftest import Clock
from tests.scanning import Make, Process

RAISE = "do $$ begin raise exception 'met' using errcode = '{}'; end $$"


async def by_sqlalchemy(connection: Reading, statement: str) -> None:
    await connection.execute(sa.text(statement))


async def by_driver(connection: Reading, statement: str) -> None:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.execute(statement)


@pytest.mark.parametrize("way", [by_sqlalchemy, by_driver])
@pytest.mark.parametrize("state", ["55P03", "57014", "40P01", "40001", "58030", "58P01", "XX000", "XX001", "53100"])
async def test_what_speaks_of_the_server_is_an_absence(
    database: Database, state: str, way: Callable[..., Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoreAway):
        async with database.reading() as connection:
            await way(connection, RAISE.format(state))
    said = [one.fields["why"] for one in caplog.records if one.getMessage() == "postgresql_failed"]  # type: ignore[attr-defined]
    assert said == (["PostgreSQL refuses: met."] if state.startswith(("58", "XX")) else [])


@pytest.mark.parametrize("state", ["23505", "22012", "42601", "P0001"])
async def test_what_speaks_of_the_statement_is_a_fault(database: Database, state: str) -> None:
    with pytest.raises(DBAPIError):
        async with database.reading() as connection:
            await connection.execute(sa.text(RAISE.format(state)))


async def cancel_who_waits(database: Database) -> None:
    """Cancel whatever waits for a lock, as an operator does; wait until something does."""
    query = sa.text("select pg_cancel_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'")
    async with asyncio.timeout(20):
        while True:
            # What is shown stays the same within a transaction.
            async with database.reading() as connection:
                if (await connection.execute(query)).all():
                    return
            await asyncio.sleep(0.02)


async def test_an_edit_and_a_scan_that_an_operator_cancels_may_be_repeated(
    database: Database, redis: Redis, process: Process, api: httpx.AsyncClient, workspace: Workspace, code: Make
) -> None:
    made = await code(5)
    lock = sa.text("select 1 from codes where id = :id for update").bindparams(id=made.id)
    async with database.writing() as tx:
        await tx.execute(lock)
        editing = asyncio.create_task(api.patch(f"/codes/{made.id}", json={"name": "x"}))
        await cancel_who_waits(database)
        answer = await editing
    assert (answer.status_code, answer.json()["code"]) == (503, "store_away")
    assert (await api.patch(f"/codes/{made.id}", json={"name": "x"})).status_code == 200
    await versions.mark(redis, workspace.id, CodeId(made.id))
    async with database.writing() as tx:
        await tx.execute(lock)
        scanning = asyncio.create_task(process.phone().scan(made.slug))
        await cancel_who_waits(database)
        assert (await scanning).status == 503
    assert (await process.phone().scan(made.slug)).outcome == "claimed"


async def test_readiness_does_not_end_in_a_fault_where_a_lock_is_not_waited_for(
    database: Database, redis: Redis, clock: Clock
) -> None:
    async with database.writing() as tx:
        await tx.execute(sa.text("create role hurried login superuser"))
        await tx.execute(sa.text("alter role hurried set lock_timeout = '50ms'"))
    as_user = database.engine.url.set(username="hurried").render_as_string(hide_password=False)
    hurried = Database(as_user, pool_size=2, connect_seconds=5, statement_seconds=20)
    try:
        readier = Readier(hurried, redis, Watcher(hurried, redis, clock), lambda: False)
        async with database.writing() as tx:
            await tx.execute(sa.text("lock table alembic_version in access exclusive mode"))
            ready, readiness = await readier.ask()
        assert (ready, readiness.postgresql) == (False, "away")
        assert (await readier.ask())[0]
    finally:
        await hurried.close()
        async with database.writing() as tx:
            await tx.execute(sa.text("drop role hurried"))
