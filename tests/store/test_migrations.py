"""Migrations make what the code expects, and take it away again."""

from alembic import command
from sqlalchemy import text

from app.embedded import Servers
from app.store import migrate
from app.store.database import Database


async def test_the_migrated_database_is_what_the_tables_say(servers: Servers, database: Database) -> None:
    assert await migrate.current(servers.database_url) == migrate.head()
    assert await migrate.differences(servers.database_url) == []


async def test_events_are_partitioned_by_day_and_have_no_default(database: Database) -> None:
    async with database.reading() as connection:
        found = await connection.execute(text("select pg_get_partkeydef('events'::regclass)"))
        assert found.scalar_one() == "RANGE (at)"
        default = await connection.execute(
            text("select partdefid from pg_partitioned_table where partrelid = 'events'::regclass")
        )
        assert default.scalar_one() == 0


async def test_every_table_but_workspaces_names_its_workspace(database: Database) -> None:
    async with database.reading() as connection:
        tables = await connection.execute(
            text(
                "select relname from pg_class where relkind in ('r', 'p') and not relispartition"
                " and relnamespace = 'public'::regnamespace"
                " and not exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'workspace_id')"
            )
        )
        assert {row[0] for row in tables} == {"workspaces", "alembic_version"}


async def test_the_first_migration_can_be_undone_and_done_again(servers: Servers, database: Database) -> None:
    url = servers.database_url.replace("/huoma?", "/undone?")
    async with database.engine.connect() as connection:
        await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("create database undone"))
    await migrate.upgrade(url)

    def undo(connection: object) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    await migrate.locked(url, undo)
    assert await migrate.current(url) is None
    await migrate.upgrade(url)
    assert await migrate.differences(url) == []
