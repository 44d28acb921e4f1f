"""Real servers for every test, a workspace of its own for each, and the one clock that tests may set."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import pytest
from hypothesis import settings
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from app.counters.server import connect
from app.domain.workspace import Scope, Workspace
from app.embedded import EmbeddedServers, Servers
from app.qr.reader import Reader
from app.services.draining import Drain
from app.services.keeping_keys import insert_key
from app.services.keeping_workspaces import create_workspace
from app.services.recalling import Recaller
from app.store import partitions
from app.store.database import Database
from app.web.api import ApiContext, build_api
from tests.running import fill_with_migrated_database, server_folder
from tests.scanning import Make, Process, make

PUBLIC_URL = "https://qr.example"
# The day on which the samples were drawn, in the evening of Shanghai.
START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)

# How long an example takes says more of the machine than of the code.
settings.register_profile("huoma", deadline=None)
settings.load_profile("huoma")


class Clock:
    """Tell the time that the test has set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with server_folder() as folder, EmbeddedServers(fill_with_migrated_database(folder)) as embedded:
        # What is written survives the process as before; only a machine that fails would lose it.
        with SyncRedis.from_url(embedded.servers.redis_url) as redis:
            redis.config_set("appendfsync", "no")
        yield embedded.servers


@pytest.fixture(scope="session")
async def database(servers: Servers) -> AsyncIterator[Database]:
    await _spare_the_disk(servers.database_url)
    database = Database(servers.database_url, pool_size=20, connect_seconds=5, statement_seconds=20)
    # As a worker has made it days before.
    await partitions.make(database, START.date())
    yield database
    await database.close()


async def _spare_the_disk(url: str) -> None:
    """Let PostgreSQL leave it to the kernel when its files are written, as Redis does."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute("alter system set fsync = off")
        await connection.execute("select pg_reload_conf()")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
async def redis(servers: Servers) -> AsyncIterator[Redis]:
    redis = connect(servers.redis_url, connections=20, timeout_seconds=5)
    yield redis
    await redis.aclose()


@pytest.fixture(scope="session")
async def away_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Redis]:
    """Be a Redis that is not there."""
    redis = connect(f"unix://{tmp_path_factory.mktemp('nobody')}/redis.sock", connections=2, timeout_seconds=1)
    yield redis
    await redis.aclose()


@pytest.fixture(scope="session")
async def reader() -> AsyncIterator[Reader]:
    reader = Reader()
    yield reader
    await reader.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recaller(database: Database, redis: Redis, clock: Clock) -> Recaller:
    return Recaller(database, redis, Drain(database, redis), clock, slugs=1000, codes=1000)


@pytest.fixture
def context(database: Database, redis: Redis, recaller: Recaller, reader: Reader, clock: Clock) -> ApiContext:
    return ApiContext.of(
        database=database, redis=redis, publisher=recaller, reader=reader, public_url=PUBLIC_URL, clock=clock
    )


@pytest.fixture
async def workspace(database: Database, clock: Clock) -> Workspace:
    return (await create_workspace(database, "春日", "Asia/Shanghai", clock()))[0]


@pytest.fixture
async def stranger(database: Database, clock: Clock) -> Workspace:
    return (await create_workspace(database, "someone else", "Asia/Shanghai", clock()))[0]


def client(context: ApiContext, key: str | None = None) -> httpx.AsyncClient:
    """Ask the API as the holder of a key."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    transport = httpx.ASGITransport(build_api(context), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://api.test/api/v1", headers=headers)


async def key_to(context: ApiContext, workspace: Workspace, scope: Scope) -> str:
    """Give a key to a workspace."""
    async with context.database.writing() as tx:
        return (await insert_key(tx, workspace.id, scope.value, scope, context.clock())).secret


@pytest.fixture
async def api(context: ApiContext, workspace: Workspace) -> AsyncIterator[httpx.AsyncClient]:
    async with client(context, await key_to(context, workspace, Scope.ADMIN)) as api:
        yield api


@pytest.fixture
async def stranger_api(context: ApiContext, stranger: Workspace) -> AsyncIterator[httpx.AsyncClient]:
    async with client(context, await key_to(context, stranger, Scope.ADMIN)) as api:
        yield api


@pytest.fixture(scope="session")
def samples() -> Path:
    return Path(__file__).parent / "samples"


@pytest.fixture
def process(context: ApiContext, redis: Redis, clock: Clock) -> Process:
    return Process.of(context, redis, clock)


@pytest.fixture
def another_process(context: ApiContext, redis: Redis, clock: Clock) -> Process:
    return Process.of(context, redis, clock)


@pytest.fixture
def code(api: httpx.AsyncClient, workspace: Workspace) -> Make:
    """Make a code: `await code(200, 200)` has two targets of 200 places."""
    return partial(make, api, workspace.id)
