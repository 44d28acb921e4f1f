"""A Redis at `maxmemory`: what frees memory works, what needs some is refused whole, and nothing is given or lost."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from app.counters import audit, counts, keys, stream
from app.counters.server import connect
from app.domain.code import CodeId, TargetId
from app.domain.errors import CountersAway
from app.embedded.redis import RedisServer
from app.services.sifting import SieveMaker
from app.store.database import Database
from tests.conftest import Clock
from tests.resting import kept_in_redis
from tests.running import server_folder
from tests.scanning import Make, Process
from tests.services.test_draining import told, totals


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    """Be a Redis of the test's own, which it may fill."""
    with server_folder() as folder:
        server = RedisServer(folder / "redis")
        server.start()
        redis = connect(server.url, connections=20, timeout_seconds=5)
        try:
            yield redis
        finally:
            await redis.aclose()
            server.stop()


async def fill(redis: Redis) -> None:
    """Leave no memory for anything."""
    await redis.config_set("maxmemory", 1)


async def content(redis: Redis) -> str:
    """Name all that the server holds."""
    raw: Any = redis
    return str(await raw.execute_command("DEBUG", "DIGEST"))


async def test_the_drain_empties_a_full_redis(process: Process, code: Make, redis: Redis, database: Database) -> None:
    made = await code(50)
    for _ in range(5):
        await process.phone().visit(made.slug)
    await fill(redis)
    await process.drain.all_of(made.workspace)
    assert await stream.backlog(redis, made.workspace) == 0
    assert sorted(await told(database, made.workspace)) == ["c"] * 5 + ["s"] * 5
    assert await totals(database, made) == [(0, 0, 5)]


async def test_an_entry_is_set_aside_in_a_full_redis(process: Process, code: Make, redis: Redis) -> None:
    made = await code(50)
    await process.phone().visit(made.slug)
    await redis.xadd(keys.events(made.workspace), {"now": "1", "events": "nonsense"})
    await process.phone().scan(made.slug)
    await fill(redis)
    await process.drain.all_of(made.workspace)
    assert await stream.backlog(redis, made.workspace) == 0


async def test_late_holds_come_back_in_a_full_redis(
    process: Process, code: Make, redis: Redis, database: Database, clock: Clock
) -> None:
    swept, scanned = await code(5), await code(5)
    for made in (swept, scanned):
        await process.phone().scan(made.slug)
    clock.forward(seconds=91)
    await fill(redis)
    assert (await process.phone().scan(scanned.slug)).outcome == "unavailable"
    assert await scanned.places(redis) == [(0, 0)], "the scan took back what was late, and nothing else"
    assert await process.reconciler.sweep(swept.workspace) == 1
    assert await swept.places(redis) == [(0, 0)]
    await process.drain.all_of(swept.workspace)
    assert sorted(await told(database, swept.workspace)) == ["c", "c", "x", "x"]


async def test_a_full_redis_gives_no_place_and_shows_each_visitor_the_one_that_is_there(
    process: Process, code: Make, redis: Redis, database: Database
) -> None:
    made = await code(50)
    seen, held = process.phone(), process.phone()
    await seen.visit(made.slug)
    page = await held.scan(made.slug)
    await fill(redis)

    new = await process.phone().scan(made.slug)
    assert (new.status, new.outcome) == (503, "unavailable")
    again = await seen.scan(made.slug)
    assert (again.outcome, again.target) == ("returned", made.targets[0])
    picture = await held.look(page)
    assert picture.headers["content-type"] == "image/png"
    assert await made.places(redis) == [(2, 0)], "what was held is seen"
    # In one call with what frees memory, a newcomer gets nothing either.
    late = await held.scan(made.slug)
    assert late.outcome == "returned"
    await process.drain.all_of(made.workspace)
    assert sorted(await told(database, made.workspace)) == ["c", "c", "s", "s"], "returns need memory to be recorded"
    await redis.config_set("maxmemory", 0)
    assert (await process.phone().scan(made.slug)).outcome == "claimed"
    assert await process.reconciler.verify(made.workspace) == []


async def test_a_newcomer_gets_nothing_in_one_call_with_what_frees_memory(
    process: Process, code: Make, redis: Redis, clock: Clock
) -> None:
    made = await code(50)
    await process.phone().scan(made.slug)
    meta = keys.meta(made.workspace, CodeId(made.id))
    seats = await redis.hget(meta, "seats")
    clock.forward(seconds=91)
    await fill(redis)
    for _ in range(3):
        assert (await process.phone().scan(made.slug)).outcome == "unavailable"
    assert await made.places(redis) == [(0, 0)]
    assert await redis.hget(meta, "seats") == seats


async def test_a_group_can_be_paused_in_a_full_redis(
    process: Process, another_process: Process, code: Make, api: httpx.AsyncClient, redis: Redis
) -> None:
    made = await code(50, 50)
    phone = another_process.phone()
    assert (await phone.visit(made.slug)).target == made.targets[0]
    await fill(redis)
    (await api.patch(f"/targets/{made.targets[0]}", json={"status": "paused"})).raise_for_status()
    assert (await phone.scan(made.slug)).target != made.targets[0]
    assert (await process.phone().scan(made.slug)).outcome == "unavailable"
    await redis.config_set("maxmemory", 0)
    assert (await phone.scan(made.slug)).target == made.targets[1]


async def test_a_code_rests_in_a_full_redis_and_comes_back_when_there_is_room(
    process: Process, code: Make, redis: Redis
) -> None:
    made = await code(50)
    phone = process.phone()
    await phone.visit(made.slug)
    await fill(redis)
    assert await process.rester.rest([(made.workspace, CodeId(made.id))]) == 1
    assert await kept_in_redis(redis, made) == set()
    before = await content(redis)
    assert (await process.phone().scan(made.slug)).outcome == "unavailable"
    assert await content(redis) == before
    await redis.config_set("maxmemory", 0)
    assert (await phone.scan(made.slug)).outcome == "returned"
    assert await made.places(redis) == [(1, 0)]
    assert await process.reconciler.verify(made.workspace) == []


@pytest.fixture
def refused(
    api: httpx.AsyncClient, redis: Redis, database: Database, process: Process, clock: Clock
) -> dict[str, Callable[[Any], Awaitable[object]]]:
    """Ask for each thing that needs memory: nothing of it may be done."""

    async def a_scan(made: Any) -> None:
        assert (await process.phone().scan(made.slug)).outcome == "unavailable"

    async def a_code(_: Any) -> None:
        answer = await api.post("/codes", json={"name": "new", "kind": "group", "slug": "quite-new"})
        assert answer.status_code == 503

    async def a_head_count(made: Any) -> None:
        with pytest.raises(CountersAway):
            await counts.rebase(redis, made.workspace, CodeId(made.id), TargetId(made.targets[0]), 7, clock())

    async def a_rebuild(made: Any) -> None:
        with pytest.raises(CountersAway):
            await audit.drop(redis, made.workspace, CodeId(made.id))

    async def a_sieve(_: Any) -> None:
        with pytest.raises(CountersAway):
            await SieveMaker(database, redis).make()

    return {one.__name__: one for one in (a_scan, a_code, a_head_count, a_rebuild, a_sieve)}


@pytest.mark.parametrize("what", ["a_scan", "a_code", "a_head_count", "a_rebuild", "a_sieve"])
async def test_what_a_full_redis_refuses_has_changed_nothing(
    process: Process,
    code: Make,
    redis: Redis,
    database: Database,
    refused: dict[str, Callable[[Any], Awaitable[object]]],
    what: str,
) -> None:
    await SieveMaker(database, redis).make()
    made = await code(50)
    await process.phone().visit(made.slug)
    await fill(redis)
    before = await content(redis)
    await refused[what](made)
    assert await content(redis) == before


async def test_all_holds_of_an_erased_visitor_end_in_a_full_redis(
    process: Process, code: Make, redis: Redis, clock: Clock
) -> None:
    codes = [await code(5, hold_seconds=600) for _ in range(3)]
    holds = [keys.code_keys(made.workspace, CodeId(made.id))[2] for made in codes]
    for made, key in zip(codes, holds, strict=True):
        await process.phone().scan(made.slug)
        [seat] = [str(seat) for seat in await redis.zrange(key, 0, -1)]
        # One visitor has a hold of each code.
        await redis.zadd(key, {seat.rsplit(".", 1)[0] + ".one": await redis.zscore(key, seat) or 0})
        await redis.zrem(key, seat)
    await fill(redis)
    await audit.give_back(redis, codes[0].workspace, "one")
    for key in holds:
        [seat] = [str(seat) for seat in await redis.zrange(key, 0, -1)]
        assert await redis.zscore(key, seat) == 0
    await redis.config_set("maxmemory", 0)
