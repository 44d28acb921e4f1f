"""Private servers keep their data, keep to themselves, and never outlive their owner."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.embedded import DirectoryInUseError, EmbeddedServers, PostgresServer, RedisServer, Servers, running
from app.embedded.locks import is_held, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the embedded servers need unix sockets")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")

OWNER = """
import sys
from pathlib import Path
from app.embedded import EmbeddedServers
EmbeddedServers(Path(sys.argv[1])).start()
print("up", flush=True)
sys.stdin.read()
"""


def query(url: str, statement: str) -> object:
    async def ask() -> object:
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None

    return asyncio.run(ask())


def remember(servers: Servers, word: str) -> None:
    query(servers.database_url, "CREATE TABLE IF NOT EXISTS words (word text)")
    query(servers.database_url, f"INSERT INTO words VALUES ('{word}')")
    Redis.from_url(servers.redis_url).set("word", word)


def remembered(servers: Servers) -> tuple[object, object]:
    word = query(servers.database_url, "SELECT max(word) FROM words")
    return word, Redis.from_url(servers.redis_url, decode_responses=True).get("word")


def processes_in(directory: Path) -> list[int]:
    """Every process whose working directory lies in the data directory: both servers and all that they forked."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(directory):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture
def place() -> Iterator[Path]:
    # Not pytest's own directory: every pytest that starts makes that one private again, which as root shuts out the
    # system user that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="huoma-test-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def embedded(place: Path) -> Iterator[EmbeddedServers]:
    with EmbeddedServers(place) as servers:
        yield servers


@pytest.fixture
def owner(place: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", OWNER, str(place)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
        process.kill()


def test_a_second_start_finds_the_data_of_the_first(place: Path) -> None:
    with EmbeddedServers(place) as first:
        remember(first.servers, "活码")
    with EmbeddedServers(place) as second:
        assert remembered(second.servers) == ("活码", "活码")


def test_two_instances_live_side_by_side(place: Path) -> None:
    with EmbeddedServers(place / "one") as one, EmbeddedServers(place / "two") as two:
        remember(one.servers, "one")
        remember(two.servers, "two")
        assert remembered(one.servers) == ("one", "one")
        assert remembered(two.servers) == ("two", "two")


def test_a_second_owner_is_refused_and_told_who_the_first_is(embedded: EmbeddedServers) -> None:
    with pytest.raises(DirectoryInUseError, match=rf"process {os.getpid()}\)"):
        EmbeddedServers(embedded.data_dir).start()
    remember(embedded.servers, "still here")
    assert remembered(embedded.servers) == ("still here", "still here")


@on_linux
def test_stop_leaves_no_process(place: Path) -> None:
    with EmbeddedServers(place):
        assert len(processes_in(place)) > 2
    assert processes_in(place) == []


@on_linux
def test_servers_of_a_killed_owner_go_away_by_themselves(place: Path, owner: "subprocess.Popen[str]") -> None:
    owner.kill()
    assert until(lambda: processes_in(place) == [], 20)


@on_linux
def test_a_start_right_after_a_killed_owner_finds_its_data(place: Path, owner: "subprocess.Popen[str]") -> None:
    servers = running(place)
    assert servers is not None
    remember(servers, "kept")
    owner.kill()
    owner.wait()
    with EmbeddedServers(place) as again:
        assert remembered(again.servers) == ("kept", "kept")


@on_linux
def test_a_start_after_everything_was_killed_finds_the_data(place: Path, owner: "subprocess.Popen[str]") -> None:
    servers = running(place)
    assert servers is not None
    remember(servers, "kept")
    for process in processes_in(place):
        os.kill(process, signal.SIGSTOP)
    owner.kill()
    for process in processes_in(place):
        os.kill(process, signal.SIGKILL)
    owner.wait()
    with EmbeddedServers(place) as again:
        assert remembered(again.servers) == ("kept", "kept")


def test_each_server_can_be_killed_and_started_again_at_the_same_address(embedded: EmbeddedServers) -> None:
    before = embedded.servers
    remember(before, "kept")
    embedded.redis.kill()
    embedded.postgres.kill()
    embedded.redis.start()
    embedded.postgres.start()
    assert embedded.servers == before
    assert remembered(before) == ("kept", "kept")


def test_what_cannot_be_revived_keeps_nothing_else_down_and_comes_back_later(place: Path) -> None:
    with EmbeddedServers(place) as embedded:
        remember(embedded.servers, "kept")
        embedded.postgres.kill()
        embedded.redis.kill()
        log = next(path for path in place.joinpath("redis", "data").rglob("*.aof") if path.stat().st_size)
        kept = log.read_bytes()
        log.write_bytes(b"no commands")

        said = list(embedded.revive())

        assert said[:2] == [f"{name} ended by itself; starting it again." for name in ("PostgreSQL", "Redis")]
        assert said[2].startswith("Redis: Redis did not start")
        assert embedded.postgres.pid
        assert not embedded.whole
        log.write_bytes(kept)
        assert len(list(embedded.revive())) == 1
        assert embedded.whole
        assert remembered(embedded.servers) == ("kept", "kept")


def test_servers_started_in_a_thread_outlive_it(place: Path) -> None:
    redis = RedisServer(place / "redis")
    thread = threading.Thread(target=redis.start)
    thread.start()
    thread.join()
    try:
        # Were the server to hear of the thread's end, it would leave within this.
        assert not until(lambda: redis.pid is None, 1)
        assert Redis.from_url(redis.url).ping()
    finally:
        redis.stop()


def test_postgres_alone_needs_no_redis(place: Path) -> None:
    postgres = PostgresServer(place / "postgres")
    postgres.start()
    try:
        assert query(postgres.url, "SELECT current_database()") == "huoma"
        assert query(postgres.url, "SHOW listen_addresses") == ""
    finally:
        postgres.stop()


@pytest.mark.parametrize("name", ["深" * 40, "with, comma", "with: colon", "文 'quote' \"two\" & 100% #?"])
def test_any_data_directory_will_do(place: Path, name: str) -> None:
    with EmbeddedServers(place / name) as embedded:
        remember(embedded.servers, "far away")
        embedded.postgres.kill()
        embedded.postgres.start()
        assert remembered(embedded.servers) == ("far away", "far away")
        away = embedded.postgres.sockets
    assert not list(away.glob(".s.PGSQL*"))


def test_running_servers_can_be_joined_and_stopped_ones_cannot(place: Path) -> None:
    assert running(place) is None
    with EmbeddedServers(place) as embedded:
        assert running(place) == embedded.servers
    assert running(place) is None


def test_a_torn_last_write_does_not_stop_redis(place: Path) -> None:
    redis = RedisServer(place)
    redis.start()
    Redis.from_url(redis.url).set("word", "whole")
    redis.kill()
    log = next(path for path in place.joinpath("data").rglob("*.aof") if path.stat().st_size)
    with log.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nwo")
    redis.start()
    try:
        assert Redis.from_url(redis.url).get("word") == b"whole"
    finally:
        redis.stop()


def test_a_failed_start_leaves_nothing_behind(place: Path) -> None:
    embedded = EmbeddedServers(place)
    (place / "redis").write_text("a file where a directory belongs")
    with pytest.raises(FileExistsError):
        embedded.start()
    assert not is_held(place / "lock")
    assert embedded.postgres.pid is None
