"""The clock of a process is set back by an hour: what waits for a minute waits for no hour."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import httpx
import pytest
from redis.asyncio import Redis

from app import worker
from app.counters import claims, keys, stream
from app.counters.server import connect
from app.counters.wire import Wire
from app.domain.code import CodeId
from app.domain.errors import CountersAway
from app.domain.workspace import Workspace
from app.services.batching import Batcher
from app.services.rounds import ALL_EVERY, PAUSE_MAX, Rounds
from app.services.watching import REREAD_EVERY, Rereader, Watcher
from app.store.database import Database
from tests.conftest import Clock
from tests.scanning import Make, Process
from tests.services.test_activity import happens
from tests.services.test_draining import told
from tests.web.api.steps import make_account, make_code, make_target

HOUR = timedelta(hours=1).total_seconds()


async def test_a_workspace_that_failed_is_recorded(
    process: Process, database: Database, redis: Redis, clock: Clock, workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    parts = process.parts(database, redis, clock)
    crew = worker.Crew(parts)

    async def away(*_: object, **__: object) -> int:
        raise CountersAway

    with monkeypatch.context() as patched:
        patched.setattr(parts.drain, "once", away)
        await happens(redis, clock, workspace.id)
        await crew.begin()
        await crew.finish()
    clock.forward(seconds=-HOUR)
    for _ in range(2):
        clock.forward(seconds=PAUSE_MAX.total_seconds())
        await crew.begin()
        await crew.finish()
    assert await told(database, workspace.id) == ["p"]


async def test_an_event_whose_note_was_lost_is_found(
    process: Process, redis: Redis, clock: Clock, workspace: Workspace
) -> None:
    rounds = Rounds(process.drain, redis, clock)
    await rounds.unsettled()
    clock.forward(seconds=-HOUR)
    await rounds.unsettled()
    await happens(redis, clock, workspace.id)
    found = set()
    for _ in range(4):
        clock.forward(seconds=ALL_EVERY.total_seconds() / 2)
        found |= set(await rounds.unsettled())
    assert workspace.id in found


async def test_what_waits_is_counted(
    process: Process, redis: Redis, database: Database, clock: Clock, workspace: Workspace
) -> None:
    watcher = Watcher(database, redis, clock)
    before = (await watcher.behind()).entries
    clock.forward(seconds=-HOUR)
    await happens(redis, clock, workspace.id)
    assert (await watcher.behind()).entries == before + 1


async def test_what_was_set_aside_is_read_again(
    process: Process, code: Make, redis: Redis, database: Database, clock: Clock
) -> None:
    made = await code(5)
    parts = process.parts(database, redis, clock)
    rereader = Rereader(parts.drain, parts.watcher, clock)
    await rereader.some()
    await process.phone().scan(made.slug)
    await stream.set_aside(redis, made.workspace, await stream.epoch_of(redis, made.workspace), stream.START)
    clock.forward(seconds=-HOUR)
    for _ in range(2):
        await rereader.some()
        clock.forward(seconds=REREAD_EVERY.total_seconds())
    assert await redis.xlen(keys.unreadable(made.workspace)) == 0


async def test_a_target_that_had_expired_is_shown(process: Process, api: httpx.AsyncClient, clock: Clock) -> None:
    made = await make_code(api)
    expires_at = (clock() + timedelta(hours=3)).isoformat()
    await make_target(api, made, expires_at=expires_at)
    clock.forward(seconds=4 * HOUR)
    assert (await process.phone().scan(made["slug"])).outcome != "claimed"
    clock.forward(seconds=-4 * HOUR)
    assert (await process.phone().scan(made["slug"])).outcome == "claimed"


async def test_who_is_not_on_shift_is_not_shown(process: Process, api: httpx.AsyncClient, clock: Clock) -> None:
    """And what was said of the next opening is said anew."""
    made = await make_code(api, kind="staff")
    account = await make_account(api, shifts=[{"days": ["sat"], "from": "19:00", "to": "23:00"}])
    await make_target(api, made, payload="https://u.wechat.com/setback01", account_id=account["id"])
    clock.forward(seconds=1.5 * HOUR)
    assert (await process.phone().scan(made["slug"])).outcome == "claimed"
    clock.forward(seconds=-HOUR)
    assert (await process.phone().scan(made["slug"])).outcome == "full"


@pytest.fixture
async def silent() -> AsyncIterator[Redis]:
    """Be a Redis that takes connections and says nothing."""

    async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    redis = connect(f"redis://127.0.0.1:{port}/0", connections=2, timeout_seconds=0.2)
    yield redis
    await redis.aclose()
    server.close()


async def test_a_redis_that_was_silent_is_asked_by_all(
    process: Process, code: Make, silent: Redis, clock: Clock
) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    entry = await process.recaller.entry(CodeId(made.id))
    batcher = Batcher(Wire(silent, timeout_seconds=0.2), clock)
    ask = claims.note("p", 0, "v", "wechat")

    async def second_is_refused_at_once() -> bool:
        asked = [asyncio.create_task(batcher.ask(entry, None, ask)) for _ in range(2)]
        for _ in range(5):
            await asyncio.sleep(0)
        refused = asked[1].done()
        for met in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(met, CountersAway)
        return refused

    assert not await second_is_refused_at_once()
    assert await second_is_refused_at_once()
    clock.forward(seconds=-HOUR)
    assert not await second_is_refused_at_once()
