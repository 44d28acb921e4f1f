"""Whatever is wrong with the servers: one sentence, no traceback, an exit status that is not 0."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from redis import Redis

from app.cli import main
from app.embedded import EmbeddedServers
from app.services.keeping_workspaces import create_workspace
from app.store import migrate, schema
from app.store.database import Database
from tests.running import server_folder

Start = Callable[..., str]
SECRET = "s3cr3t-of-the-servers"
REFUSED_BY_REDIS = {
    "noscript": ("~*", "&*", "+@all", "-@scripting"),
    "wrongkeys": ("~other:*", "&*", "+@all"),
    "reader": ("~*", "&*", "+@read", "+@connection", "+@scripting"),
    "nostream": ("~*", "&*", "+@all", "-@stream"),
}


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedServers]:
    """Run servers with users that are refused, and databases that are not what the code needs."""
    with server_folder() as folder, EmbeddedServers(folder) as servers:
        rules = folder / "postgres" / "data" / "pg_hba.conf"
        rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
        sql(
            servers, f"create role guarded login password '{SECRET}'", "select pg_reload_conf()",
            *(f"create database {name}" for name in ("empty", "older", "newer", "strange", "closed")),
        )  # fmt: skip
        asyncio.run(prepare(servers.servers.database_url))
        redis = Redis(unix_socket_path=str(servers.redis.sockets / "redis.sock"))
        redis.acl_setuser("guarded", enabled=True, passwords=[f"+{SECRET}"], keys=["~*"], categories=["+@all"])
        for name, may in REFUSED_BY_REDIS.items():
            redis.execute_command("ACL", "SETUSER", name, "on", "nopass", *may)  # type: ignore[no-untyped-call]
        redis.acl_setuser("weak", enabled=True, nopass=True, keys=["~*"], commands=["+get"])
        yield servers


async def prepare(url: str) -> None:
    await migrate.upgrade(url)
    database = Database(url, pool_size=1, connect_seconds=5, statement_seconds=20)
    await create_workspace(database, "春日", "Asia/Shanghai", datetime.now(UTC))
    await database.close()


def sql(servers: EmbeddedServers, *statements: str, database: str = "huoma") -> None:
    async def run() -> None:
        connection = await asyncpg.connect(host=str(servers.postgres.sockets), user="huoma", database=database)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(run())


@pytest.fixture
def start(
    embedded: EmbeddedServers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Start:
    """Run a command that is to fail; return what it said."""

    def start(command: str, database: str = "huoma", user: str = "huoma", redis: str = "", **settings: str) -> str:
        url = embedded.servers.database_url.replace("huoma@/huoma", f"{user}@/{database}")
        redis_url = embedded.servers.redis_url + redis
        given = {
            "database_url": url, "redis_url": redis_url, "secret": "a secret for tests only",
            "data_dir": str(tmp_path), "port": "0", **settings,
        }  # fmt: skip
        for name, value in given.items():
            monkeypatch.setenv(f"HUOMA_{name.upper()}", value)
        assert main(command.split()) == 2
        said = capsys.readouterr()
        *logged, last = said.err.strip().splitlines()
        assert last.startswith("huoma: ")
        assert all(line.startswith("{") for line in logged), said.err
        assert SECRET not in said.err
        return last

    return start


STARTS = ("serve", "worker", "verify", "rebuild", "workspaces list")


@pytest.mark.parametrize("command", STARTS)
def test_a_database_that_was_not_migrated(start: Start, command: str) -> None:
    assert "has not been migrated: run `huoma migrate`" in start(command, "empty")


@pytest.mark.parametrize("command", ["serve", "worker", "verify"])
def test_a_database_that_an_older_version_migrated(start: Start, embedded: EmbeddedServers, command: str) -> None:
    sql(
        embedded, "create table if not exists alembic_version (version_num text)", "delete from alembic_version",
        "insert into alembic_version values ('0004')", database="older",
    )  # fmt: skip
    assert f"is at migration 0004, and this version of huoma needs {schema.NEEDED}" in start(command, "older")


def test_a_database_that_a_newer_version_migrated_cannot_be_migrated(start: Start, embedded: EmbeddedServers) -> None:
    sql(
        embedded, "create table if not exists alembic_version (version_num text)", "delete from alembic_version",
        "insert into alembic_version values ('9999')", database="newer",
    )  # fmt: skip
    said = start("migrate", "newer")
    assert f"is at migration 9999, and this version of huoma knows none after {schema.NEEDED}" in said


def test_a_database_that_lacks_a_table(start: Start, embedded: EmbeddedServers) -> None:
    sql(
        embedded, "create table if not exists alembic_version (version_num text)", "delete from alembic_version",
        f"insert into alembic_version values ('{schema.NEEDED}')", database="strange",
    )  # fmt: skip
    assert "The database lacks account_days." in start("serve", "strange")


@pytest.mark.parametrize("command", [*STARTS, "migrate"])
def test_a_database_that_is_not_there(start: Start, command: str) -> None:
    assert 'database "nowhere" does not exist' in start(command, "nowhere")


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "workspaces list"])
def test_a_wrong_password(start: Start, command: str) -> None:
    assert "PostgreSQL refuses the user or the password" in start(command, user="guarded:wrong")


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_user_without_permissions(start: Start, embedded: EmbeddedServers, command: str) -> None:
    sql(
        embedded, "create table if not exists alembic_version (version_num text)",
        "revoke all on schema public from public", "grant usage on schema public to guarded", database="closed",
    )  # fmt: skip
    said = start(command, "closed", user=f"guarded:{SECRET}")
    assert "permission denied" in said


@pytest.fixture(scope="module")
def users(embedded: EmbeddedServers) -> None:
    """Make users of the migrated database who may less than huoma needs."""
    every = "on all tables in schema public"
    sql(
        embedded,
        "create role standing login", "alter role standing set default_transaction_read_only = on",
        f"grant select, insert, update, delete {every} to standing",
        "create role selecting login", f"grant select {every} to selecting",
        "create role web login", f"grant select, insert, update, delete {every} to web",
        "create role keeper", f"grant select, insert, update, delete {every} to keeper",
        "grant create on schema public to keeper", "alter table events owner to keeper",
        "create role copying login in role keeper", "revoke temporary on database huoma from public",
    )  # fmt: skip


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize(
    ("command", "user", "says"),
    [
        ("serve", "standing", "PostgreSQL takes no writes here"),
        ("worker", "standing", "PostgreSQL takes no writes here"),
        ("serve", "selecting", "may not read and change account_days, accounts,"),
        ("worker", "selecting", "may not read and change account_days, accounts,"),
        ("verify", "selecting", "may not read and change account_days, accounts,"),
        ("worker", "web", "must own the table events"),
        ("worker", "copying", "must be granted TEMPORARY"),
    ],
)
def test_a_database_user_that_may_not_write(start: Start, command: str, user: str, says: str) -> None:
    assert says in start(command, user=user)


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize("user", REFUSED_BY_REDIS)
def test_a_redis_user_that_may_not_run_what_a_scan_runs(start: Start, command: str, user: str) -> None:
    assert "Redis forbids its user what huoma does" in start(command, redis=f"?username={user}&password=any")


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize(
    ("redis", "says"),
    [
        ("?username=guarded&password=wrong", "Redis refuses the name or the password"),
        ("?username=weak&password=any", "Redis forbids its user"),
        ("?db=99", "Redis does not have the database"),
    ],
)
def test_a_redis_that_refuses(start: Start, command: str, redis: str, says: str) -> None:
    assert says in start(command, redis=redis)


def test_a_redis_that_wants_a_password(start: Start, embedded: EmbeddedServers) -> None:
    redis = Redis(unix_socket_path=str(embedded.redis.sockets / "redis.sock"))
    redis.config_set("requirepass", SECRET)
    try:
        assert "Redis refuses the name or the password of HUOMA_REDIS_URL" in start("serve")
        assert "Redis refuses the name or the password of HUOMA_REDIS_URL" in start("worker", redis="?protocol=2")
    finally:
        redis.config_set("requirepass", "")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://huoma@localhost/huoma", "begins with postgresql"),
        ("postgresql+asyncpg://huoma@localhost/huoma?sslmode=require", "does not know: sslmode. TLS is `ssl=require`"),
        (f"postgres//huoma:{SECRET}@localhost", "must look like postgresql+asyncpg://"),
    ],
)
def test_an_address_that_cannot_be_one(start: Start, url: str, says: str) -> None:
    assert says in start("worker", database_url=url)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://127.0.0.1:1", "Redis cannot be reached"),
        ("redis+cluster://127.0.0.1:1", "Redis cannot be reached"),
        (f"redis+sentinel://:{SECRET}@127.0.0.1:1/mymaster", "no sentinel of HUOMA_REDIS_URL names a master"),
    ],
)
def test_a_redis_that_is_away(start: Start, url: str, says: str) -> None:
    assert says in start("verify", redis_url=url)


def test_a_postgresql_that_is_away(start: Start) -> None:
    assert "PostgreSQL cannot be reached" in start("migrate", database_url="postgresql+asyncpg://h@127.0.0.1:1/h")


@pytest.mark.parametrize("command", ["serve", "up"])
@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("absent.ttf", None, "cannot open resource"),
        ("broken.ttf", b"\0\1\0\0 and nothing more", "cannot be used as a font"),
        ("web.woff2", b"wOF2 and more", "cannot be used as a font"),
    ],
)
def test_a_font_that_is_none(
    start: Start, tmp_path: Path, command: str, name: str, data: bytes | None, says: str
) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    said = start(command, caption_font=str(path))
    assert says in said
    assert "HUOMA_CAPTION_FONT" in said


@pytest.mark.parametrize("command", ["verify", "workspaces list"])
def test_a_command_that_draws_nothing_needs_no_font(start: Start, command: str) -> None:
    assert "PostgreSQL cannot be reached" in start(
        command, caption_font="/absent.ttf", database_url="postgresql+asyncpg://h@127.0.0.1:1/h"
    )


@pytest.mark.parametrize("command", [*STARTS, "migrate"])
@pytest.mark.parametrize(("has", "lacks"), [("DATABASE_URL", "REDIS_URL"), ("REDIS_URL", "DATABASE_URL")])
def test_one_server_that_is_set_and_one_that_is_not(
    start: Start, tmp_path: Path, command: str, has: str, lacks: str
) -> None:
    """The other one would be that of a service that runs in the data directory, and would forget its prints."""
    said = start(command, **{lacks.lower(): ""})
    assert f"HUOMA_{has} is set and HUOMA_{lacks} is not: set both, or neither." in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_no_secret(start: Start, command: str) -> None:
    assert "Set HUOMA_SECRET to the same random text" in start(command, secret="")


@pytest.mark.parametrize("command", ["verify", "rebuild", "workspaces list"])
def test_a_data_directory_that_holds_nothing(start: Start, tmp_path: Path, command: str) -> None:
    said = start(command, database_url="", redis_url="", data_dir=str(tmp_path / "elsewhere"))
    assert "elsewhere holds no data; name the directory that does with HUOMA_DATA_DIR." in said
    assert not (tmp_path / "elsewhere").exists()


def test_a_data_directory_that_cannot_be_made(start: Start) -> None:
    said = start("migrate", database_url="", redis_url="", data_dir="/proc/nowhere")
    assert "/proc/nowhere cannot be made" in said
    assert "HUOMA_DATA_DIR" in said
