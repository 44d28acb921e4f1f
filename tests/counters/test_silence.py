"""Redis falls silent: stopped, as on a machine that hangs. Nobody waits for it longer than he must."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from app.counters.scripts import Script
from app.counters.server import away, connect
from app.counters.wire import Wire
from app.domain.errors import CountersAway
from app.embedded import RedisServer
from tests.running import server_folder

TIMEOUT_SECONDS = 1.0
# What a busy machine adds.
SLACK_SECONDS = 2.0
COUNT = Script("count", "return redis.call('INCR', KEYS[1])")

Ask = Callable[[], Coroutine[Any, Any, int]]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """Run a server apart from that of the other tests, since it will be stopped."""
    with server_folder() as folder:
        server = RedisServer(folder / "redis")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
async def pool(server: RedisServer) -> AsyncIterator[Redis]:
    redis = connect(server.url, connections=3, timeout_seconds=TIMEOUT_SECONDS)
    yield redis
    await redis.aclose()


@pytest.fixture(params=["scans", "everything else"])
async def ask(pool: Redis, request: pytest.FixtureRequest) -> AsyncIterator[Ask]:
    """Count, over the wire that scans take, or over redis-py; both have met the server."""
    wire = Wire(pool, timeout_seconds=TIMEOUT_SECONDS)
    over: Redis | Wire = wire if request.param == "scans" else pool

    async def count() -> int:
        return int(await COUNT.run(over, [f"count {request.param}"], []))

    await asyncio.gather(*(count() for _ in range(3)))
    yield count
    await wire.aclose()


@contextmanager
def silent(server: RedisServer) -> Iterator[None]:
    """Stop the server until the block ends."""
    pid = server.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def refused(ask: Ask) -> float:
    began = time.monotonic()
    with pytest.raises(CountersAway):
        await ask()
    return time.monotonic() - began


async def test_nobody_waits_behind_those_who_wait(server: RedisServer, ask: Ask) -> None:
    with silent(server):
        # More than there are connections, so that some wait for one of those.
        first = await asyncio.gather(*(refused(ask) for _ in range(20)))
        trying = asyncio.create_task(refused(ask))
        await asyncio.sleep(0.1)
        others = [await refused(ask) for _ in range(100)]
        took = await trying
    assert max(first) < TIMEOUT_SECONDS + SLACK_SECONDS
    assert took > 0.5 * TIMEOUT_SECONDS, "somebody must look whether it is back"
    assert sum(others) < 0.8 * TIMEOUT_SECONDS


async def test_it_is_met_again_by_the_first_who_asks(server: RedisServer, ask: Ask) -> None:
    with silent(server):
        await asyncio.gather(*(refused(ask) for _ in range(5)))
    before = await ask()
    assert [await ask() for _ in range(3)] == [before + 1, before + 2, before + 3]


async def test_who_tries_is_answered_when_it_goes_on(server: RedisServer, ask: Ask) -> None:
    with silent(server):
        await asyncio.gather(*(refused(ask) for _ in range(5)))
        trying = asyncio.create_task(ask())
        await asyncio.sleep(0.2)
    assert await trying > 0
    await asyncio.gather(*(ask() for _ in range(10)))


async def test_what_was_not_sent_is_never_counted(server: RedisServer, ask: Ask) -> None:
    before = await ask()
    with silent(server):
        await refused(ask)
        for _ in range(2):
            # Each of these finds nobody who answers, and so has not said what it wants.
            await refused(ask)
    # What was sent before anybody knew is run when the server goes on.
    assert await ask() <= before + 2


async def test_a_server_that_is_killed_is_not_waited_for_and_met_again(server: RedisServer, ask: Ask) -> None:
    server.kill()
    assert sum([await refused(ask) for _ in range(20)]) < TIMEOUT_SECONDS
    server.start()
    assert await ask() > 0


async def test_a_connection_that_is_cut_makes_nobody_wait(server: RedisServer, pool: Redis, ask: Ask) -> None:
    assert await ask() > 0
    with away():
        await pool.client_kill_filter(_type="normal", skipme=False)
    for _ in range(3):
        await asyncio.gather(*(told(ask) for _ in range(3)))
    await asyncio.gather(*(ask() for _ in range(10)))


async def told(ask: Ask) -> None:
    """Ask; a connection that was cut meanwhile may be met once."""
    try:
        await ask()
    except CountersAway:
        return
