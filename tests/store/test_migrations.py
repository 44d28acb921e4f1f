"""Migrations make what the code expects, and take it away again."""

from datetime import UTC

from alembic import command
from sqlalchemy import select, text

from app.domain.code import Slug, WorkspaceId
from app.embedded import Servers
from app.store import migrate, retellings
from app.store.codes import read_wechat_only
from app.store.database import Database
from app.store.snapshots import find_slug
from app.store.tables import codes


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


async def test_what_happened_before_there_were_hours_is_counted(servers: Servers, database: Database) -> None:
    url = servers.database_url.replace("/huoma?", "/counted?")
    async with database.engine.connect() as connection:
        await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(
            text("create database counted")
        )

    def first_only(connection: object) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    await migrate.locked(url, first_only)
    old = Database(url, pool_size=1, connect_seconds=5, statement_seconds=20)
    # Twenty past one in New York twice over, since clocks go back in between, and a quarter to three in Kathmandu.
    moments = {"ny": ["2026-11-01T05:20Z", "2026-11-01T05:40Z", "2026-11-01T06:20Z"], "ktm": ["2026-11-01T09:00Z"]}
    async with old.writing() as tx:
        await tx.exec_driver_sql(
            "create table events_20261101 partition of events for values from ('2026-11-01Z') to ('2026-11-02Z')"
        )
        for workspace, zone in (("ny", "America/New_York"), ("ktm", "Asia/Kathmandu")):
            await tx.exec_driver_sql(f"insert into workspaces values ('{workspace}', 'n', '{zone}')")
            for n, at in enumerate(moments[workspace]):
                await tx.exec_driver_sql(
                    f"insert into events select '{at}', '{workspace}', 1, {n}, i, kind, 'c{workspace}', 't', '', 0, 1,"
                    " 2, 'v', 'wechat' from unnest(array['c', 'b', 'k']) with ordinality as k (kind, i)"
                )

    await migrate.upgrade(url)

    async with old.reading() as connection:
        rows = await connection.execute(text("select * from stat_hours order by workspace_id, hour"))
        found = {(row.workspace_id, row.hour.astimezone(UTC).isoformat()[:16], row.kind, row.n) for row in rows}
        assert found == {
            ("ktm", "2026-11-01T08:15", "c", 1),
            ("ny", "2026-11-01T05:00", "c", 2),
            ("ny", "2026-11-01T06:00", "c", 1),
        }
        for workspace in ("ny", "ktm"):
            for apart in (retellings.kinds_apart, retellings.hours_apart):
                assert [one async for one in apart(connection, WorkspaceId(workspace))] == []
    await old.close()


async def test_pairs_of_slugs_that_differ_in_case_only_stay_and_the_oldest_is_found_in_any(
    servers: Servers, database: Database
) -> None:
    url = servers.database_url.replace("/huoma?", "/pairs?")
    async with database.engine.connect() as connection:
        await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("create database pairs"))

    def before(connection: object) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0010")

    await migrate.locked(url, before)
    old = Database(url, pool_size=1, connect_seconds=5, statement_seconds=20)
    async with old.writing() as tx:
        await tx.exec_driver_sql("insert into workspaces values ('w', 'n', 'Asia/Shanghai')")
        for number, slug in enumerate(("spring", "Spring", "SPRING", "alone")):
            await tx.exec_driver_sql(
                "insert into codes (id, workspace_id, name, kind, strategy, slug, hold_seconds, sticky_days)"
                f" values ('c{number}', 'w', 'n', 'group', 'fill', '{slug}', 90, 30)"
            )
            await tx.exec_driver_sql(
                f"insert into slugs (slug, workspace_id, code_id) values ('{slug}', 'w', 'c{number}')"
            )

    await migrate.upgrade(url)

    async with old.reading() as connection:
        found = [await find_slug(connection, Slug(slug)) for slug in ("spring", "Spring", "SPRING", "sPRING", "ALONE")]
        assert [one and one.code for one in found] == ["c0", "c1", "c2", "c0", "c3"]
        assert {read_wechat_only(row) for row in await connection.execute(select(codes))} == {None}
    await old.close()
