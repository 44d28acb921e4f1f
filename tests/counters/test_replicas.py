"""Replicas that must have heard before anything is told, and masters that die, against real servers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from secrets import token_hex

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.counters.scripts import Script
from app.counters.server import connect
from app.counters.wire import Wire
from app.domain.errors import CountersAway
from chaos.many import Many, Member, running_cluster, running_sentinels
from tests.running import server_folder

COUNT = Script("count", "return redis.call('INCR', KEYS[1])")
TIMEOUT = 1.0
# A failover takes some seconds of its own, and this machine may be busy.
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module", params=[running_sentinels, running_cluster], ids=["sentinels", "cluster"])
def many(request: pytest.FixtureRequest) -> Iterator[Many]:
    run: Callable[..., AbstractContextManager[Many]] = request.param
    with server_folder() as folder, run(Path(folder), replicas=1) as many:
        yield many


@pytest.fixture
async def redis(many: Many) -> AsyncIterator[Redis]:
    redis = connect(many.url, connections=4, timeout_seconds=TIMEOUT, replicas=1)
    yield redis
    await redis.aclose()


@pytest.fixture
async def wire(redis: Redis) -> AsyncIterator[Wire]:
    wire = Wire(redis, timeout_seconds=TIMEOUT, replicas=1)
    yield wire
    await wire.aclose()


@pytest.fixture(params=["wire", "redis"])
def way(request: pytest.FixtureRequest) -> Redis | Wire:
    """Be each of the two ways by which scripts travel."""
    way: Redis | Wire = request.getfixturevalue(request.param)
    return way


@pytest.fixture
def key() -> str:
    return f"count:{token_hex(4)}"


def master_and_replica(many: Many, key: str) -> tuple[Member, Member]:
    master = many.masters()[0] if many.sentinels else many.master_of(key)
    [[_, port, _]] = master.ask("ROLE")[2]
    return master, next(member for member in many.members if member.port == int(port))


@contextmanager
def paused(member: Member) -> Iterator[None]:
    assert member.pid
    os.kill(member.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(member.pid, signal.SIGCONT)


def read(replica: Member, key: str) -> object:
    """Ask a replica itself; in a cluster it would send us to its master otherwise."""
    with replica.client() as client:
        if "cluster-enabled" in replica.settings:
            client.execute_command("READONLY")
        return client.get(key)


async def test_what_is_told_is_in_the_replica(many: Many, way: Redis | Wire, key: str) -> None:
    _, replica = master_and_replica(many, key)
    for n in range(1, 50):
        assert await COUNT.run(way, [key], []) == n
        assert read(replica, key) == str(n)


async def test_what_no_replica_has_heard_is_not_told_and_was_done_once(
    many: Many, way: Redis | Wire, redis: Redis, key: str
) -> None:
    _, replica = master_and_replica(many, key)
    await COUNT.run(way, [key], [])
    with paused(replica):
        began = asyncio.get_running_loop().time()
        with pytest.raises(CountersAway):
            await COUNT.run(way, [key], [])
        assert asyncio.get_running_loop().time() - began < TIMEOUT
        assert await redis.get(key) == "2", "reading waits for nobody"
    assert await eventually(way, key) == 3


async def test_a_master_that_dies_takes_nothing_along_that_was_told(
    many: Many, wire: Wire, redis: Redis, key: str
) -> None:
    master, replica = master_and_replica(many, key)
    told: list[int] = []
    stop = asyncio.Event()

    async def count(way: Wire | Redis) -> None:
        while not stop.is_set():
            try:
                told.append(await COUNT.run(way, [key], []))
            except CountersAway:
                await asyncio.sleep(0.02)

    counting = [asyncio.create_task(count(way)) for way in (wire, wire, wire, redis)]
    await until(lambda: len(told) > 200)
    master.kill()
    await until(lambda: replica.role() == "master")
    # Whoever was master comes back as a replica of the one that took over, and is heard.
    master.start()
    before = len(told)
    await until(lambda: len(told) > before + 200)
    stop.set()
    await asyncio.gather(*counting)
    assert master.role() == "slave"
    assert len(set(told)) == len(told), "nothing is counted twice"
    assert int(await redis.get(key) or 0) >= max(told), "nothing is lost"


async def test_a_master_that_was_replaced_and_does_not_know_tells_nothing(many: Many, wire: Wire, key: str) -> None:
    master, replica = master_and_replica(many, key)
    told = await COUNT.run(wire, [key], [])
    alone = connect(f"redis://127.0.0.1:{master.port}", connections=1, timeout_seconds=TIMEOUT)
    late = Wire(alone, timeout_seconds=TIMEOUT, replicas=1)
    with paused(master):
        await until(lambda: replica.role() == "master")
    with pytest.raises(CountersAway):
        await COUNT.run(late, [key], [])
    assert await eventually(wire, key) > told
    await until(lambda: master.role() == "slave")
    await late.aclose()
    await alone.aclose()


async def eventually(way: Redis | Wire, key: str) -> int:
    """Count once, as soon as that is possible."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return int(await COUNT.run(way, [key], []))
            except CountersAway:
                await asyncio.sleep(0.05)


async def until(done: Callable[[], bool]) -> None:
    """Wait for something that servers do. Who is made master by sentinels hangs up on everybody, on us, too."""

    def holds() -> bool:
        with suppress(RedisConnectionError):
            return done()
        return False

    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.05)
