"""Let things happen in the one order in which they would hurt."""

import asyncio
import random
from collections import Counter
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from app import worker
from app.counters import audit, claims, keys, versions
from app.domain.code import CodeId
from app.services import batching
from app.services.once import Once
from app.store.database import Database
from app.web.api import ApiContext
from tests.conftest import Clock
from tests.running import group_payload
from tests.scanning import Made, Make, Process

BROWSER = "Mozilla/5.0 (Linux; Android 14) Chrome/120 Mobile Safari/537.36"


async def lose_everything(redis: Redis, made: Made) -> None:
    async for key in redis.scan_iter(f"huoma:{{{made.workspace}}}:*"):
        await redis.delete(key)


async def test_a_scan_that_waited_behind_returning_holds_is_not_told_full(
    process: Process, code: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(5)
    for _ in range(5):
        await process.phone().scan(made.slug)
    assert (await process.phone().scan(made.slug)).outcome == "full"
    clock.forward(seconds=91)
    on_the_wire, go_on = asyncio.Event(), asyncio.Event()
    settle = claims.settle

    async def slow(*arguments: Any) -> Any:
        on_the_wire.set()
        await go_on.wait()
        return await settle(*arguments)

    monkeypatch.setattr(batching, "settle", slow)
    first = asyncio.create_task(process.phone().scan(made.slug))
    await on_the_wire.wait()
    second = asyncio.create_task(process.phone().scan(made.slug))
    while process.batcher.waiting(made.workspace) < 1:
        await asyncio.sleep(0)
    go_on.set()

    assert [(await scan).outcome for scan in (first, second)] == ["claimed", "claimed"]


async def test_a_crowd_at_the_moment_holds_return_finds_every_place(process: Process, code: Make, clock: Clock) -> None:
    made = await code(80)
    await asyncio.gather(*(process.phone().scan(made.slug) for _ in range(80)))
    assert (await process.phone().scan(made.slug)).outcome == "full"
    clock.forward(seconds=91)

    async def later(i: int) -> str:
        for _ in range(i):
            await asyncio.sleep(0)
        return (await process.phone().scan(made.slug)).outcome

    assert Counter(await asyncio.gather(*(later(i) for i in range(60)))) == {"claimed": 60}


async def test_the_picture_of_a_code_closed_elsewhere_is_not_shown(
    process: Process, another_process: Process, code: Make, api: httpx.AsyncClient
) -> None:
    made = await code(5)
    phone = another_process.phone()
    seen = await phone.visit(made.slug)
    (await api.delete(f"/codes/{made.id}")).raise_for_status()
    picture = await phone.look(seen)
    assert (picture.status_code, picture.headers["x-huoma-outcome"]) == (410, "closed")
    assert (await another_process.phone("mpcrawler").scan(made.slug)).outcome == "closed"


@pytest.mark.parametrize(("before", "after"), [("everybody", "outside_wechat"), ("wechat", "claimed")])
async def test_who_may_scan_is_an_edit_that_the_next_scan_sees(
    another_process: Process, code: Make, api: httpx.AsyncClient, before: str, after: str
) -> None:
    made = await code(5, wechat_only=before == "wechat")
    await another_process.phone().scan(made.slug)
    (await api.patch(f"/codes/{made.id}", json={"wechat_only": before != "wechat"})).raise_for_status()
    assert (await another_process.phone(BROWSER).scan(made.slug)).outcome == after


async def test_a_process_finds_room_behind_hundreds_of_groups_that_another_has_filled(
    process: Process, another_process: Process, code: Make, api: httpx.AsyncClient
) -> None:
    made = await code(1)
    rows = [{"payload": group_payload(10 + i), "member_limit": 1} for i in range(600)]
    (await api.post(f"/codes/{made.id}/targets/batch", json={"targets": rows})).raise_for_status()
    assert (await another_process.phone().scan(made.slug)).outcome == "claimed"
    assert {(await process.phone().scan(made.slug)).outcome for _ in range(550)} == {"claimed"}
    assert (await another_process.phone().scan(made.slug)).outcome == "claimed"


async def test_a_preview_after_a_loss_keeps_no_worker_busy(process: Process, code: Make, redis: Redis) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    await process.drain.all_of(made.workspace)
    await lose_everything(redis, made)
    await process.phone("mpcrawler").scan(made.slug)
    await process.drain.all_of(made.workspace)
    assert await process.drain.once(made.workspace) == 0


async def test_a_stream_that_nobody_has_begun_keeps_no_worker_busy(process: Process, code: Make, redis: Redis) -> None:
    made = await code(5)
    await lose_everything(redis, made)
    await redis.xadd(keys.events(made.workspace), {"now": "1", "events": f"p|{made.id}||0...0.0."})
    assert await process.drain.once(made.workspace) == 0
    await process.drain.all_of(made.workspace)


async def test_a_seat_of_one_life_of_redis_is_no_seat_of_the_next(
    process: Process, code: Make, redis: Redis, clock: Clock
) -> None:
    made = await code(50)
    old = process.phone()
    await old.scan(made.slug)
    await lose_everything(redis, made)
    clock.forward(seconds=1)
    await process.phone().visit(made.slug)
    assert (await old.scan(made.slug)).outcome == "claimed"
    assert await made.places(redis) == [(2, 1)]


async def test_a_slow_publisher_does_not_undo_a_second_rebuild(
    process: Process, another_process: Process, code: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(3)
    await process.phone().visit(made.slug)
    await process.drain.all_of(made.workspace)
    read_all, go_on = asyncio.Event(), asyncio.Event()
    publish = versions.publish

    async def slow_once(*arguments: Any, **named: Any) -> Any:
        if not read_all.is_set():
            read_all.set()
            await go_on.wait()
        return await publish(*arguments, **named)

    monkeypatch.setattr(versions, "publish", slow_once)
    await audit.drop(redis, made.workspace, CodeId(made.id))
    slow = asyncio.create_task(process.recaller.refresh(CodeId(made.id)))
    await read_all.wait()
    assert [(await another_process.phone().visit(made.slug)).outcome for _ in range(2)] == ["claimed"] * 2
    await another_process.drain.all_of(made.workspace)
    await audit.drop(redis, made.workspace, CodeId(made.id))
    go_on.set()
    await slow

    assert (await process.phone().visit(made.slug)).outcome == "full"
    assert await made.places(redis) == [(3, 0)]


async def test_rebuilds_and_edits_in_the_middle_of_a_crowd_give_nothing_twice(
    context: ApiContext, redis: Redis, clock: Clock, code: Make, api: httpx.AsyncClient
) -> None:
    """Trap 1: counters are moved, never written as an absolute value."""
    processes = [Process.of(context, redis, clock) for _ in range(3)]
    made = await code(20, 20)
    shown = Counter[str]()

    async def visitor(i: int) -> None:
        for _ in range(i * 3):
            await asyncio.sleep(0)
        phone, elsewhere = (random.choice(processes).phone() for _ in range(2))
        seen = await phone.scan(made.slug)
        elsewhere.client.cookies = phone.client.cookies
        if seen.image:
            shown[(await elsewhere.look(seen)).headers["x-huoma-outcome"]] += 1

    async def rebuild() -> None:
        for _ in range(4):
            await random.choice(processes).reconciler.rebuild(made.workspace)

    async def edit() -> None:
        for n in range(6):
            (await api.patch(f"/targets/{made.targets[0]}", json={"weight": n + 1})).raise_for_status()

    await asyncio.gather(rebuild(), edit(), *(visitor(i) for i in range(90)))
    assert shown["claimed"] + shown["returned"] <= 40
    assert await processes[0].reconciler.verify(made.workspace) == []


async def test_a_head_count_asked_for_twice_is_taken_once(
    process: Process, code: Make, api: httpx.AsyncClient, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(2)
    await process.phone().visit(made.slug)
    question = {"Idempotency-Key": "count-1"}

    async def lost(*_: object, **__: object) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(Once, "keep", lost)
        answer = await api.post(f"/targets/{made.targets[0]}/members", json={"count": 1}, headers=question)
        assert answer.status_code == 503
    assert (await process.phone().visit(made.slug)).outcome == "claimed"
    again = await api.post(f"/targets/{made.targets[0]}/members", json={"count": 1}, headers=question)
    assert again.is_success
    assert (await process.phone().scan(made.slug)).outcome == "full"
    assert await made.places(redis) == [(2, 0)]


async def test_a_redis_without_memory_is_away_and_nothing_breaks(
    process: Process, code: Make, redis: Redis, database: Database, clock: Clock, api: httpx.AsyncClient
) -> None:
    made = await code(5)
    kept = process.phone()
    await kept.visit(made.slug)
    await redis.config_set("maxmemory", "1")
    try:
        new, old = await process.phone().scan(made.slug), await kept.scan(made.slug)
        edit = await api.patch(f"/codes/{made.id}", json={"name": "x"})
    finally:
        await redis.config_set("maxmemory", "0")
    assert (new.outcome, old.outcome, edit.status_code) == ("unavailable", "returned", 200)
    assert (await process.phone().scan(made.slug)).outcome == "claimed"
    parts = process.parts(database, redis, clock)
    await worker.one_round(parts)
    assert await process.reconciler.verify(made.workspace) == []


async def test_verify_looks_at_targets_that_nobody_was_given(process: Process, code: Make, redis: Redis) -> None:
    made = await code(5, 5)
    await process.phone().visit(made.slug)
    await redis.hset(keys.code_keys(made.workspace, CodeId(made.id))[1], made.targets[1], "4")
    assert [d.target for d in await process.reconciler.verify(made.workspace)] == [made.targets[1]]


async def test_who_read_between_two_edits_does_not_hide_the_second(
    process: Process, code: Make, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(200, 200)
    (await api.patch(f"/codes/{made.id}", json={"name": "first edit"})).raise_for_status()
    read_all, go_on = asyncio.Event(), asyncio.Event()
    publish = versions.publish

    async def slow_once(*arguments: Any, **named: Any) -> Any:
        if not read_all.is_set():
            read_all.set()
            await go_on.wait()
        return await publish(*arguments, **named)

    monkeypatch.setattr(versions, "publish", slow_once)
    slow = asyncio.create_task(process.recaller.publish(CodeId(made.id)))
    await read_all.wait()
    (await api.patch(f"/targets/{made.targets[0]}", json={"status": "paused"})).raise_for_status()
    go_on.set()
    await slow

    assert (await process.phone().scan(made.slug)).target == made.targets[1]
