"""Whatever a sweep looks at, it repairs or forgets: it never finds the same thing twice."""

from typing import Any

import pytest
from redis.asyncio import Redis

from app.counters import keys, scripts
from app.domain.code import CodeId
from app.services.erasing import Eraser
from app.store.database import Database
from tests.conftest import Clock
from tests.resting import let_rest
from tests.scanning import Made, Make, Process
from tests.services.test_erasing import carried
from tests.services.test_erasing import pseudonyms as pseudonyms  # noqa: PLC0414

NEVER = 4_000_000_000_000.0


async def due(redis: Redis, made: Made) -> dict[Any, float]:
    found: Any = await redis.zrange(keys.due(made.workspace), 0, -1, withscores=True)
    return dict(found)


async def settled(process: Process, made: Made) -> None:
    """Sweep once, and then find nothing."""
    await process.reconciler.sweep(made.workspace)
    assert await process.reconciler.sweep(made.workspace) == 0


@pytest.mark.parametrize("member", ["a-code-never-made", "", "a|b", "a\nb", "a b", "{x}", b"\xff\xfe", "x" * 200])
async def test_what_names_no_code_is_forgotten(process: Process, code: Make, redis: Redis, member: Any) -> None:
    made = await code(5)
    await redis.zadd(keys.due(made.workspace), {member: 1})
    await settled(process, made)
    assert await due(redis, made) == {}


async def test_a_code_without_holds_is_due_no_more(process: Process, code: Make, redis: Redis) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    await redis.zadd(keys.due(made.workspace), {made.id: 1})
    await settled(process, made)
    assert await due(redis, made) == {}
    assert await made.places(redis) == [(1, 0)]


async def test_a_code_that_rests_is_due_no_more(process: Process, code: Make, redis: Redis) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    await let_rest(process, made)
    await redis.zadd(keys.due(made.workspace), {made.id: 1})
    await settled(process, made)
    assert await due(redis, made) == {}
    assert (await process.phone().scan(made.slug)).outcome == "claimed"
    assert await made.places(redis) == [(2, 1)]


async def test_holds_of_lost_counters_are_due_no_more(process: Process, code: Make, redis: Redis, clock: Clock) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    await redis.delete(keys.meta(made.workspace, CodeId(made.id)))
    clock.forward(seconds=91)
    await settled(process, made)
    assert await due(redis, made) == {}


async def test_a_hold_that_is_announced_too_early_is_announced_again_when_it_ends(
    process: Process, code: Make, redis: Redis
) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    [(name, deadline)] = (await due(redis, made)).items()
    await redis.zadd(keys.due(made.workspace), {made.id: 1})
    await settled(process, made)
    assert await due(redis, made) == {name: deadline}
    assert await made.places(redis) == [(1, 1)]


async def test_a_hold_that_is_no_seat_is_forgotten(process: Process, code: Make, redis: Redis, clock: Clock) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    holds = keys.code_keys(made.workspace, CodeId(made.id))[2]
    odd: Any
    for odd in ("no seat", "", "7", b"\xff\xfe"):
        await redis.zadd(holds, {odd: 1})
    await redis.zadd(keys.due(made.workspace), {made.id: 1})
    clock.forward(seconds=91)
    await settled(process, made)
    assert await redis.exists(holds) == 0
    assert await made.places(redis) == [(0, 0)]
    assert await process.reconciler.verify(made.workspace) == []


async def test_many_late_holds_come_back_in_one_sweep(
    process: Process, code: Make, redis: Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(500)
    for _ in range(120):
        await process.phone().scan(made.slug)
    clock.forward(seconds=91)
    assert await process.reconciler.sweep(made.workspace) == 2, "a hundred at a time"
    assert await made.places(redis) == [(0, 0)]


async def test_a_visitor_is_erased_while_the_last_hold_goes_back(
    process: Process, code: Make, redis: Redis, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch,
    pseudonyms: Any,
) -> None:  # fmt: skip
    made = await code(5)
    phone = process.phone()
    await phone.scan(made.slug)
    visitor = carried(phone)
    run = scripts.GIVE_BACK.run

    async def too_late(*asked: Any) -> Any:
        clock.forward(seconds=91)
        await process.reconciler.sweep(made.workspace)
        await redis.zadd(keys.due(made.workspace), {made.id: NEVER})
        return await run(*asked)

    monkeypatch.setattr(scripts.GIVE_BACK, "run", too_late)
    await Eraser(database, redis, pseudonyms).ask(made.workspace, visitor, clock())
    assert await due(redis, made) == {}
    assert await made.places(redis) == [(0, 0)]


async def test_a_visitor_who_is_erased_gives_back_what_is_held_and_nobody_elses(
    process: Process, code: Make, redis: Redis, database: Database, clock: Clock, pseudonyms: Any
) -> None:
    made = await code(5)
    gone, stays = process.phone(), process.phone()
    for phone in (gone, stays):
        await phone.scan(made.slug)
    await Eraser(database, redis, pseudonyms).ask(made.workspace, carried(gone), clock())
    assert await process.reconciler.sweep(made.workspace) == 1
    assert await made.places(redis) == [(1, 1)]
    assert len(await due(redis, made)) == 1
