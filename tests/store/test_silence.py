"""PostgreSQL falls silent: stopped, as on a machine that hangs. Nobody waits for it longer than he must."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.code import WorkspaceId
from app.domain.errors import StoreAway
from app.embedded import PostgresServer
from app.embedded.locks import until
from app.store.database import Database
from app.store.patience import Patience
from bench import cpu
from chaos.proxy import proxied
from tests.running import server_folder

CONNECT_SECONDS = 1.0
# What a busy machine adds; still far from the time that a statement may take.
SLACK_SECONDS = 3.0
STATEMENT_SECONDS = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Run a server apart from that of the other tests, since it will be stopped."""
    with server_folder() as folder:
        server = PostgresServer(folder / "postgres")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
async def quick(server: PostgresServer) -> AsyncIterator[Database]:
    database = Database(
        server.url,
        pool_size=3,
        connect_seconds=CONNECT_SECONDS,
        statement_seconds=STATEMENT_SECONDS,
        watchful=True,
    )
    await asyncio.gather(*(ask(database) for _ in range(3)))
    yield database
    await database.close()


@contextmanager
def silent(server: PostgresServer) -> Iterator[None]:
    """Stop every process of the server until the block ends."""
    assert server.pid
    os.kill(server.pid, signal.SIGSTOP)
    family = cpu.family(server.pid)
    try:
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def ask(database: Database, statement: str = "select 1") -> float:
    """Ask something; tell how long it took to be answered, or to be told that nobody answers."""
    began = time.monotonic()
    with suppress(StoreAway):
        async with database.reading() as connection:
            await connection.execute(sa.text(statement))
    return time.monotonic() - began


async def refused(database: Database) -> float:
    began = time.monotonic()
    with pytest.raises(StoreAway):
        async with database.reading():
            pass
    return time.monotonic() - began


async def test_nobody_waits_behind_those_who_wait(server: PostgresServer, quick: Database) -> None:
    with silent(server):
        # More than there are connections, so that some wait for one of those.
        first = await asyncio.gather(*(refused(quick) for _ in range(20)))
        trying = asyncio.create_task(refused(quick))
        await asyncio.sleep(0.1)
        others = [await refused(quick) for _ in range(20)]
        await trying
    assert max(first) < CONNECT_SECONDS + SLACK_SECONDS
    assert sum(others) < CONNECT_SECONDS


async def test_nobody_waits_for_a_turn_behind_those_who_wait(server: PostgresServer, quick: Database) -> None:
    """One workspace has one turn at a time: each would find out in its own that nobody answers."""
    workspace = WorkspaceId("busy")

    async def told(way: Callable[[WorkspaceId], AbstractAsyncContextManager[Any]]) -> float:
        began = time.monotonic()
        with pytest.raises(StoreAway):
            async with way(workspace), quick.reading():
                pass
        return time.monotonic() - began

    with silent(server):
        for way in (quick.viewing, quick.editing, quick.code_turn):
            together = await asyncio.gather(*(told(way) for _ in range(20)))
            assert max(together) < 2 * CONNECT_SECONDS + SLACK_SECONDS


async def test_it_is_met_again_by_the_first_who_asks(server: PostgresServer, quick: Database) -> None:
    with silent(server):
        await asyncio.gather(*(refused(quick) for _ in range(5)))
    for _ in range(5):
        async with quick.writing() as connection:
            assert await connection.scalar(sa.text("select 1")) == 1


async def test_who_tries_is_answered_when_it_goes_on(server: PostgresServer, quick: Database) -> None:
    with silent(server):
        await refused(quick)
        trying = asyncio.create_task(ask(quick))
        await asyncio.sleep(0.2)
        began = time.monotonic()
    await trying
    assert time.monotonic() - began < SLACK_SECONDS
    await asyncio.gather(*(ask(quick) for _ in range(5)))


async def test_what_was_asked_before_is_given_up(server: PostgresServer, quick: Database) -> None:
    began = time.monotonic()
    # All of the pool: whoever looks must not need one of them.
    asked = [asyncio.create_task(ask(quick, "select pg_sleep(0.5)")) for _ in range(3)]
    await asyncio.sleep(0.2)
    with silent(server):
        await asyncio.gather(*asked)
    assert time.monotonic() - began < 3 * CONNECT_SECONDS + SLACK_SECONDS
    assert await ask(quick) < SLACK_SECONDS


async def test_what_is_only_to_be_closed_is_given_up(server: PostgresServer, quick: Database) -> None:
    asked, stopped = asyncio.Event(), asyncio.Event()

    async def close_late() -> None:
        async with quick.reading() as connection:
            await connection.execute(sa.text("select 1"))
            asked.set()
            await stopped.wait()

    closing = asyncio.create_task(close_late())
    await asked.wait()
    began = time.monotonic()
    with silent(server):
        stopped.set()
        await asyncio.gather(closing, return_exceptions=True)
    assert time.monotonic() - began < 3 * CONNECT_SECONDS + SLACK_SECONDS


async def test_what_takes_long_is_not_taken_for_silence(quick: Database) -> None:
    async with quick.reading() as connection:
        assert await connection.scalar(sa.text(f"select 1 from pg_sleep({2.5 * CONNECT_SECONDS})")) == 1


async def test_waiting_for_a_connection_is_not_taken_for_silence(quick: Database) -> None:
    long = [asyncio.create_task(ask(quick, f"select pg_sleep({2.2 * CONNECT_SECONDS})")) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert await refused(quick) > CONNECT_SECONDS * 0.8
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(refused(quick)) for _ in range(2)]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in waiting), "they may wait, though another did in vain"
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert min(await asyncio.gather(*long)) > 2 * CONNECT_SECONDS


async def test_a_server_that_was_restarted_costs_nobody_a_request(server: PostgresServer, quick: Database) -> None:
    await asyncio.gather(*(ask(quick) for _ in range(3)))
    server.kill()
    await refused(quick)
    server.start()
    for _ in range(3):
        async with quick.reading() as connection:
            assert await connection.scalar(sa.text("select 1")) == 1


async def test_who_hangs_up_leaves_no_connection_behind(server: PostgresServer, quick: Database) -> None:
    with silent(server):
        asking = [asyncio.create_task(ask(quick)) for _ in range(5)]
        await asyncio.sleep(0.2)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    for _ in range(3):
        await asyncio.gather(*(ask(quick) for _ in range(3)))
    assert quick.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_what_was_opened_for_who_is_cancelled_in_that_moment_goes_back(quick: Database) -> None:
    patience, opened, come = Patience(CONNECT_SECONDS), await quick.engine.connect(), asyncio.Event()

    async def opening() -> AsyncConnection:
        await come.wait()
        return opened

    asking = asyncio.create_task(patience.open(opening()))
    await asyncio.sleep(0)
    opener = next(iter(patience._opening))
    # When `open` waits no more and does not know it yet.
    opener.add_done_callback(lambda _: asking.cancel())
    come.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    for _ in range(100):
        if opened.closed:
            break
        await asyncio.sleep(0.01)
    assert opened.closed


async def test_a_server_that_was_stopped_in_order_costs_nobody_a_request(
    server: PostgresServer, quick: Database
) -> None:
    await asyncio.gather(*(ask(quick) for _ in range(3)))
    assert server.pid
    os.kill(server.pid, signal.SIGINT)
    assert await asyncio.to_thread(until, lambda: server.pid is None, 30)
    await asyncio.to_thread(server.start)
    for _ in range(3):
        async with quick.reading() as connection:
            assert await connection.scalar(sa.text("select 1")) == 1


async def test_wherever_a_connection_is_cut_the_store_is_away_and_nothing_worse(server: PostgresServer) -> None:
    with proxied(str(server.sockets / server.socket_name)) as proxy:
        database = Database(
            f"postgresql+asyncpg://huoma@127.0.0.1:{proxy.port}/huoma",
            pool_size=1,
            connect_seconds=CONNECT_SECONDS,
            statement_seconds=STATEMENT_SECONDS,
        )
        assert await ask(database) < SLACK_SECONDS
        for length in range(350, 550, 4):
            proxy.cut_replies((length, length))
            # Several in a row: some die as soon as they are open, and so do those that are opened instead.
            for _ in range(3):
                await ask(database)
        proxy.cut_replies(None)
        assert proxy.cuts > 50
        await ask(database)
        async with database.reading() as connection:
            assert await connection.scalar(sa.text("select 1")) == 1
        await database.close()
