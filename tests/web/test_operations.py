from collections.abc import AsyncIterator
from unittest.mock import ANY

import asyncpg
import pytest
import sqlalchemy as sa
from hiredis import ProtocolError as HiredisProtocolError
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisClusterException
from sqlalchemy.ext.asyncio import create_async_engine

from app.counters.server import away, connect
from app.domain.errors import CountersAway, StoreAway
from app.embedded import Servers
from app.services.watching import Watcher
from app.store import migrate, schema
from app.store.database import Database
from app.web.api import ApiContext
from app.web.operations import Readier
from tests.conftest import Clock
from tests.scanning import Make, Process


async def test_a_process_is_alive_and_ready(process: Process) -> None:
    client = process.phone().client
    assert (await client.get("/healthz")).json() == "ok"
    ready = await client.get("/readyz")
    assert ready.status_code == 200
    told = ready.json()
    assert (told["redis"], told["postgresql"], sorted(told["behind"])) == (
        "up", "up", ["entries", "seconds", "unreadable"],
    )  # fmt: skip


async def test_metrics_count_scans_by_outcome(process: Process, code: Make) -> None:
    made = await code(1)
    before = _scans(await _metrics(process))
    await process.phone().scan(made.slug)
    assert _scans(await _metrics(process)) == before + 1


async def test_crawlers_are_kept_out_and_browsers_ask_for_an_icon_once(process: Process) -> None:
    client = process.phone().client
    assert "Disallow: /" in (await client.get("/robots.txt")).text
    icon = await client.get("/favicon.ico")
    assert (icon.status_code, "immutable" in icon.headers["cache-control"]) == (204, True)


async def _metrics(process: Process) -> str:
    return (await process.phone().client.get("/metrics")).text


def _scans(metrics: str) -> float:
    rows = [row for row in metrics.splitlines() if row.startswith('huoma_scans_total{outcome="claimed"}')]
    return float(rows[0].split()[1]) if rows else 0.0


@pytest.fixture
async def other(servers: Servers, redis: Redis, clock: Clock) -> AsyncIterator[tuple[Database, Readier]]:
    """Be ready on a database of one's own, which may be spoilt."""
    url = servers.database_url.replace("/huoma?", "/spoilt?")
    admin = create_async_engine(servers.database_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    async with admin.connect() as connection:
        await connection.execute(sa.text("create database spoilt"))
    await migrate.upgrade(url)
    database = Database(url, pool_size=2, connect_seconds=5, statement_seconds=20)
    try:
        yield database, Readier(database, redis, Watcher(database, redis, clock), lambda: False)
    finally:
        await database.close()
        async with admin.connect() as connection:
            await connection.execute(sa.text("drop database spoilt with (force)"))


async def test_a_database_that_the_code_cannot_use_is_no_place_to_serve_from(
    other: tuple[Database, Readier],
) -> None:
    database, readier = other
    assert await readier.ask() == (True, ANY)

    async def told(*statements: str) -> str | None:
        async with database.writing() as tx:
            for statement in statements:
                await tx.execute(sa.text(statement))
        ready, readiness = await readier.ask()
        assert ready == (readiness.reason is None)
        return readiness.reason

    assert "needs" in str(await told("update alembic_version set version_num = '0004'"))
    # Code that is older than the database goes on, so that a new version may be rolled out.
    assert await told("update alembic_version set version_num = '9999'") is None
    assert "9999" in str(await told("comment on table alembic_version is 'oldest code: 9998'"))
    assert await told("comment on table alembic_version is 'oldest code: 0001'") is None
    assert "lacks codes.name" in str(await told("alter table codes rename column name to called"))
    assert await told("alter table codes rename column called to name") is None
    assert "has not been migrated" in str(await told("drop table alembic_version"))


async def test_a_user_who_may_not_write_is_no_place_to_serve_from(
    other: tuple[Database, Readier], redis: Redis, clock: Clock
) -> None:
    database, _ = other
    url = database.engine.url
    async with database.writing() as tx:
        for statement in (
            "create role standing login", "alter role standing set default_transaction_read_only = on",
            "create role selecting login", "grant select on all tables in schema public to selecting",
            "grant select, insert, update, delete on all tables in schema public to standing",
        ):  # fmt: skip
            await tx.execute(sa.text(statement))

    async def told(user: str) -> tuple[bool, str, str]:
        as_user = url.set(username=user).render_as_string(hide_password=False)
        weak = Database(as_user, pool_size=2, connect_seconds=5, statement_seconds=20)
        try:
            ready, readiness = await Readier(weak, redis, Watcher(weak, redis, clock), lambda: False).ask()
        finally:
            await weak.close()
        return ready, readiness.postgresql, str(readiness.reason)

    try:
        ready, state, reason = await told("standing")
        assert (ready, state) == (False, "away")
        assert "takes no writes" in reason
        ready, state, reason = await told("selecting")
        assert (ready, state) == (False, "up")
        assert "may not read and change account_days" in reason
    finally:
        async with database.writing() as tx:
            for user in ("standing", "selecting"):
                await tx.execute(sa.text(f"drop owned by {user}"))
                await tx.execute(sa.text(f"drop role {user}"))


async def test_a_primary_that_becomes_a_standby_takes_no_process_out_of_service(
    other: tuple[Database, Readier],
) -> None:
    database, readier = other
    assert await readier.ask() == (True, ANY)
    async with database.writing() as tx:
        await tx.execute(sa.text("alter database spoilt set default_transaction_read_only = on"))
    await database.engine.dispose()
    ready, readiness = await readier.ask()
    assert (ready, readiness.postgresql, readiness.reason) == (True, "away", None)


async def test_a_redis_user_who_may_not_write_makes_neither_ready_nor_a_fault(
    servers: Servers, database: Database, redis: Redis, context: ApiContext, code: Make, clock: Clock
) -> None:
    made = await code(5)
    await redis.execute_command(  # type: ignore[no-untyped-call]
        "ACL", "SETUSER", "reader", "on", "nopass", "~*", "+@read", "+@connection", "+@scripting"
    )
    weak = connect(f"{servers.redis_url}?username=reader&password=any", connections=4, timeout_seconds=5)
    try:
        ready, readiness = await Readier(database, weak, Watcher(database, weak, clock), lambda: False).ask()
        assert (ready, readiness.redis) == (False, "away")
        assert "Redis forbids its user what huoma does" in str(readiness.reason)
        seen = await Process.of(context, weak, clock).phone().scan(made.slug)
        assert (seen.status, seen.outcome) == (503, "unavailable")
    finally:
        await weak.aclose()
        await redis.execute_command("ACL", "DELUSER", "reader")  # type: ignore[no-untyped-call]


async def test_the_newest_migration_is_named_by_its_file() -> None:
    assert migrate.head() == schema.NEEDED


async def test_a_driver_that_has_lost_its_place_is_an_absence_and_no_fault(database: Database) -> None:
    for error in (
        asyncpg.InternalClientError("lost"),
        asyncpg.ProtocolError("lost"),
        asyncpg.OutdatedSchemaCacheError("lost"),
    ):
        with pytest.raises(StoreAway):
            async with database.reading():
                raise error


@pytest.mark.parametrize(
    "error", [HiredisProtocolError("lost"), RedisClusterException("lost"), NoPermissionError("lost")]
)
def test_a_client_that_has_lost_its_place_is_an_absence_and_no_fault(error: Exception) -> None:
    with pytest.raises(CountersAway), away():
        raise error
