"""A code that nobody scans leaves Redis, and comes back exactly as it was."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from app import worker
from app.counters import audit, keys, versions
from app.counters import rests as counted_rests
from app.domain.code import CodeId
from app.domain.workspace import Workspace
from app.services.resting import Rester
from app.store import rests, tables
from app.store.database import Database
from app.web.api import ApiContext
from tests.conftest import Clock
from tests.kinds.conftest import _link as link
from tests.kinds.test_staff import adviser, meet, staff
from tests.resting import age, kept_in_redis, let_rest, number
from tests.running import group_payload
from tests.scanning import Made, Make, Phone, Process


class Died(BaseException):
    """End a process in the middle of its work."""


async def die(*_: object, **__: object) -> None:
    raise Died


async def seen_elsewhere(process: Process, made: Made) -> Phone:
    """Be a visitor whose cookie does not know that his QR was seen; only the bitmap does."""
    phone, elsewhere = process.phone(), process.phone()
    await elsewhere.look(await phone.scan(made.slug))
    return phone


async def rows(database: Database, made: Made) -> list[bool]:
    """Tell which rests of a code the record has: whether each is complete."""
    async with database.reading() as connection:
        return list(
            await connection.scalars(sa.select(tables.rests.c.complete).where(tables.rests.c.code_id == made.id))
        )


async def waiting(redis: Redis, made: Made) -> int:
    return int(await redis.xlen(keys.events(made.workspace)))


def count(metric: str) -> float:
    return REGISTRY.get_sample_value(metric) or 0.0


async def test_a_code_that_rests_leaves_nothing_and_comes_back_as_it_was(
    process: Process, another_process: Process, code: Make, redis: Redis, database: Database
) -> None:
    made = await code(2, 3)
    unproven = await seen_elsewhere(process, made)
    last = await process.phone().visit(made.slug)
    before = (count("huoma_codes_rested_total"), count("huoma_codes_woken_total"))

    assert await let_rest(process, made) == 1
    assert await kept_in_redis(redis, made) == set()
    assert await process.reconciler.verify(made.workspace) == []
    again = await another_process.phone().visit(made.slug)

    assert (again.outcome, again.target, number(again)) == ("claimed", made.targets[1], number(last) + 1)
    assert (await unproven.scan(made.slug)).outcome == "returned", "the bitmap came back"
    assert (await process.phone().visit(made.slug)).target == made.targets[1]
    assert await made.places(redis) == [(2, 0), (2, 0)]
    assert await process.reconciler.verify(made.workspace) == []
    assert await rows(database, made) == []
    assert (count("huoma_codes_rested_total"), count("huoma_codes_woken_total")) == (before[0] + 1, before[1] + 1)


async def test_a_code_with_an_open_hold_does_not_rest(process: Process, code: Make, redis: Redis) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    assert await let_rest(process, made) == 0
    assert await made.places(redis) == [(1, 1)]


async def test_waking_records_nothing_that_waits_of_another_code(process: Process, code: Make, redis: Redis) -> None:
    made, busy = await code(5), await code(5)
    await process.phone().visit(made.slug)
    await process.drain.all_of(made.workspace)
    await let_rest(process, made)
    entry: Any = {"now": "1", "events": f"f|{busy.id}|wechat|0...0.0.v|full"}
    async with redis.pipeline() as pipe:
        for _ in range(10_000):
            pipe.xadd(keys.events(made.workspace), entry)
        await pipe.execute()
    before = await waiting(redis, made)

    assert (await process.phone().visit(made.slug)).outcome == "claimed"

    assert before >= 10_000
    assert await waiting(redis, made) == before + 2
    assert await made.places(redis) == [(2, 0)]


async def test_a_code_may_rest_and_wake_before_anything_of_it_is_recorded(
    process: Process, code: Make, redis: Redis
) -> None:
    made = await code(3)
    await process.phone().visit(made.slug)
    for _ in range(2):
        told = await waiting(redis, made)
        assert await let_rest(process, made) == 1
        await process.phone().visit(made.slug)
        assert await waiting(redis, made) == told + 2
    assert await made.places(redis) == [(3, 0)]
    assert (await process.phone().scan(made.slug)).outcome == "full"
    assert await process.reconciler.verify(made.workspace) == []


async def test_many_processes_wake_one_code_at_once(
    context: ApiContext, redis: Redis, clock: Clock, code: Make, database: Database, process: Process
) -> None:
    made, busy = await code(8), await code(200)
    await process.phone().visit(made.slug)
    await process.drain.all_of(made.workspace)
    await let_rest(process, made)
    await process.phone().scan(busy.slug)
    processes = [Process.of(context, redis, clock) for _ in range(6)]

    met = await asyncio.gather(*(one.phone().visit(made.slug) for one in processes for _ in range(2)))

    outcomes = sorted(seen.outcome for seen in met)
    assert outcomes == ["claimed"] * 7 + ["full"] * 5
    assert len({number(seen) for seen in met if seen.image}) == 7
    assert await waiting(redis, made) > 7, "nobody had to record what waits"
    assert await rows(database, made) == []
    assert await process.reconciler.verify(made.workspace) == []


async def test_resting_in_the_middle_of_a_crowd_gives_nothing_twice(
    context: ApiContext, redis: Redis, clock: Clock, api: httpx.AsyncClient, workspace: Workspace
) -> None:
    processes = [Process.of(context, redis, clock) for _ in range(3)]
    goals = [f"https://shop.example/{i}" for i in range(3)]
    made = await link(api, *({"url": goal, "member_limit": 20} for goal in goals[:2]), goals[2])
    mine, met = (workspace.id, CodeId(made["id"])), Counter[str]()

    async def visitor(process: Process, late: int) -> None:
        for _ in range(late * 20):
            await asyncio.sleep(0)
        seen = await process.phone().scan(made["slug"])
        met[seen.headers.get("location", seen.outcome)] += 1

    for _ in range(8):
        coming = [visitor(one, late) for late in range(4) for one in processes]
        await asyncio.gather(*coming, *(one.rester.rest([mine]) for one in processes))
        assert await processes[0].rester.rest([mine]) == 1

    # Who meets one rest after another is asked to come again.
    assert set(met) <= {*goals, "unavailable"}
    assert [met[goal] for goal in goals[:2]] == [20, 20]
    assert await processes[0].reconciler.verify(workspace.id) == []


@pytest.mark.parametrize("moment", ["keep", "rest"])
async def test_a_worker_that_dies_before_the_code_is_forgotten_changes_nothing(
    process: Process, code: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    made = await code(3)
    await process.phone().visit(made.slug)
    with monkeypatch.context() as patch:
        patch.setattr(rests if moment == "keep" else counted_rests, moment, die)
        with pytest.raises(Died):
            await let_rest(process, made)
    await process.phone().visit(made.slug)
    assert await made.places(redis) == [(2, 0)]
    assert await let_rest(process, made) == 1, "a later attempt takes the place of the first"
    await process.phone().visit(made.slug)
    assert await made.places(redis) == [(3, 0)]
    assert await process.reconciler.verify(made.workspace) == []


async def test_a_worker_that_dies_when_the_code_is_forgotten_loses_nothing(
    process: Process, code: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    made = await code(3)
    unproven = await seen_elsewhere(process, made)
    with monkeypatch.context() as patch:
        patch.setattr(rests, "settle", die)
        with pytest.raises(Died):
            await let_rest(process, made)
    assert await kept_in_redis(redis, made) == set()
    assert await rows(database, made) == [False]
    before = await unproven.scan(made.slug)
    after = await process.phone().visit(made.slug)
    assert (before.outcome, number(after)) == ("returned", number(before) + 1)
    assert await made.places(redis) == [(2, 0)]
    assert await process.reconciler.verify(made.workspace) == []


async def test_a_rest_that_did_not_come_about_is_never_believed(
    process: Process, code: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    made = await code(3)
    await process.phone().visit(made.slug)
    with monkeypatch.context() as patch:
        patch.setattr(counted_rests, "rest", die)
        with pytest.raises(Died):
            await let_rest(process, made)
    await process.phone().visit(made.slug)
    await redis.delete(*keys.code_keys(made.workspace, CodeId(made.id)))
    assert await rows(database, made) == [False]
    assert (await process.phone().visit(made.slug)).outcome == "claimed"
    assert (await process.phone().visit(made.slug)).outcome == "full"
    assert await made.places(redis) == [(3, 0)]


async def test_who_dies_before_waking_a_code_leaves_it_to_the_next(
    process: Process, another_process: Process, code: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(3)
    unproven = await seen_elsewhere(process, made)
    await let_rest(process, made)
    with monkeypatch.context() as patch:
        patch.setattr(versions, "publish", die)
        with pytest.raises(Died):
            await another_process.recaller.publish(CodeId(made.id))
    assert await kept_in_redis(redis, made) == set()
    assert (await unproven.scan(made.slug)).outcome == "returned"
    assert await made.places(redis) == [(1, 0)]


@pytest.mark.parametrize("lost", ["dropped", "gone"])
async def test_a_rest_that_is_over_is_never_believed(
    process: Process, another_process: Process, code: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch,
    database: Database, lost: str,
) -> None:  # fmt: skip
    made = await code(3)
    await process.phone().visit(made.slug)
    await let_rest(process, made)
    with monkeypatch.context() as patch:
        patch.setattr(rests, "forget", die)
        with pytest.raises(Died):
            await another_process.recaller.publish(CodeId(made.id))
    await process.phone().visit(made.slug)
    assert await rows(database, made) == [True]
    if lost == "dropped":
        await audit.drop(redis, made.workspace, CodeId(made.id))
    else:
        await process.drain.all_of(made.workspace)
        await redis.delete(*keys.code_keys(made.workspace, CodeId(made.id)))
    assert (await process.phone().visit(made.slug)).outcome == "claimed"
    assert (await process.phone().visit(made.slug)).outcome == "full"
    assert await made.places(redis) == [(3, 0)]
    assert await rows(database, made) == []


async def test_a_reader_who_was_slow_for_a_whole_life_of_the_code_undoes_nothing(
    process: Process, another_process: Process, code: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(2)
    await process.phone().visit(made.slug)
    await let_rest(process, made)
    read_all, go_on = asyncio.Event(), asyncio.Event()
    put = process.recaller._put

    async def slow_once(*arguments: Any) -> Any:
        if not read_all.is_set():
            read_all.set()
            await go_on.wait()
        return await put(*arguments)

    monkeypatch.setattr(process.recaller, "_put", slow_once)
    slow = asyncio.create_task(process.recaller.publish(CodeId(made.id)))
    await read_all.wait()
    assert (await another_process.phone().visit(made.slug)).outcome == "claimed"
    await let_rest(another_process, made)
    go_on.set()
    await slow
    assert await made.places(redis) == [(2, 0)]
    assert (await process.phone().visit(made.slug)).outcome == "full"


async def test_a_worker_that_was_slow_for_a_whole_life_of_the_code_forgets_nothing(
    process: Process, another_process: Process, code: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(5)
    unproven = await seen_elsewhere(process, made)
    packed, go_on = asyncio.Event(), asyncio.Event()
    rest = counted_rests.rest

    async def slow_once(*arguments: Any) -> Any:
        if not packed.is_set():
            packed.set()
            await go_on.wait()
        return await rest(*arguments)

    monkeypatch.setattr(counted_rests, "rest", slow_once)
    slow = asyncio.create_task(let_rest(process, made))
    await packed.wait()
    assert await let_rest(another_process, made) == 1
    assert (await unproven.scan(made.slug)).outcome == "returned"
    go_on.set()
    assert await slow == 0
    assert await made.places(redis) == [(1, 0)]


async def test_a_code_that_is_scanned_while_it_is_packed_stays_awake(
    process: Process, code: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    rest = counted_rests.rest

    async def late(*arguments: Any) -> Any:
        await process.phone().visit(made.slug)
        return await rest(*arguments)

    monkeypatch.setattr(counted_rests, "rest", late)
    assert await let_rest(process, made) == 0
    assert await made.places(redis) == [(2, 0)]
    assert await rows(database, made) == []


async def test_who_comes_when_another_has_just_woken_the_code_records_nothing(
    process: Process, another_process: Process, code: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    await let_rest(process, made)
    asked, go_on = asyncio.Event(), asyncio.Event()
    in_force = versions.in_force

    async def slow_once(*arguments: Any) -> Any:
        answer = await in_force(*arguments)
        if not asked.is_set():
            asked.set()
            await go_on.wait()
        return answer

    monkeypatch.setattr(versions, "in_force", slow_once)
    slow = asyncio.create_task(process.phone().visit(made.slug))
    await asked.wait()
    assert (await another_process.phone().visit(made.slug)).outcome == "claimed"
    told = await waiting(redis, made)
    go_on.set()
    assert (await slow).outcome == "claimed"
    assert await waiting(redis, made) == told + 2


async def test_an_edit_of_a_resting_code_is_seen_by_the_next_scan(
    process: Process, code: Make, api: httpx.AsyncClient, redis: Redis
) -> None:
    made = await code(2, 2)
    await process.phone().visit(made.slug)
    await let_rest(process, made)
    (await api.patch(f"/targets/{made.targets[0]}", json={"status": "paused"})).raise_for_status()
    born = {"payload": group_payload(9), "member_limit": 5, "members": 4}
    new = (await api.post(f"/codes/{made.id}/targets", json=born)).raise_for_status().json()["id"]
    made.targets.append(new)
    await let_rest(process, made)
    assert await kept_in_redis(redis, made) == set(), "not even the mark of an edit"

    assert [(await process.phone().visit(made.slug)).target for _ in range(4)] == [
        made.targets[1], made.targets[1], new, None,
    ]  # fmt: skip
    assert await made.places(redis) == [(1, 0), (2, 0), (5, 0)]
    assert await process.reconciler.verify(made.workspace) == []


async def test_a_code_that_is_being_edited_does_not_rest(
    process: Process, code: Make, database: Database, redis: Redis
) -> None:
    made = await code(2)
    async with database.writing() as tx:
        await tx.execute(sa.select(tables.codes.c.id).where(tables.codes.c.id == made.id).with_for_update())
        assert await let_rest(process, made) == 0
    assert await kept_in_redis(redis, made) != set()


async def test_a_head_count_wakes_a_code(process: Process, code: Make, api: httpx.AsyncClient, redis: Redis) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    await let_rest(process, made)
    answer = await api.post(f"/targets/{made.targets[0]}/members", json={"count": 4})
    assert answer.json()["taken"] == 4
    assert (await process.phone().visit(made.slug)).outcome == "claimed"
    assert (await process.phone().visit(made.slug)).outcome == "full"
    await let_rest(process, made)
    assert (await process.phone().visit(made.slug)).outcome == "full"
    assert await process.reconciler.verify(made.workspace) == []


async def test_a_resting_code_is_shown_by_the_record(process: Process, code: Make, api: httpx.AsyncClient) -> None:
    made = await code(1, 5)
    await process.phone().visit(made.slug)
    await process.drain.all_of(made.workspace)
    await let_rest(process, made)
    items = (await api.get(f"/codes/{made.id}/targets")).raise_for_status().json()["items"]
    assert [(one["taken"], one["state"]) for one in items] == [(1, "full"), (0, "live")]
    told = (await api.get(f"/codes/{made.id}/explain")).raise_for_status().json()
    assert told["outcome"] == "claimed"
    assert [one["reason"] for one in told["targets"]] == ["full", None]


async def test_caps_hold_over_a_rest(process: Process, api: httpx.AsyncClient) -> None:
    account = await adviser(api, "A", 3)
    made = await staff(api, account)
    assert await meet(process, made, visitors=2) == {"A": 2}
    workspace = (await api.get("/workspace")).json()["id"]
    assert await process.rester.rest([(workspace, made["id"])]) == 1
    assert await meet(process, made, visitors=2) == {"A": 1, "nobody": 1}


async def test_a_closed_code_rests_and_says_so(process: Process, code: Make, api: httpx.AsyncClient) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    (await api.delete(f"/codes/{made.id}")).raise_for_status()
    await let_rest(process, made)
    assert (await process.phone().scan(made.slug)).outcome == "closed"


async def test_what_rested_in_another_life_of_redis_is_not_believed(
    process: Process, code: Make, redis: Redis, database: Database
) -> None:
    made = await code(5)
    old = await process.phone().visit(made.slug)
    await let_rest(process, made)
    await process.drain.all_of(made.workspace)
    async for key in redis.scan_iter(f"huoma:{{{made.workspace}}}:*"):
        await redis.delete(key)
    new = await process.phone().visit(made.slug)
    assert number(new) > number(old) + 1000
    assert await made.places(redis) == [(2, 0)]
    assert await rows(database, made) == []
    assert await process.reconciler.verify(made.workspace) == []


async def test_a_rebuild_does_not_believe_a_rest(
    process: Process, code: Make, redis: Redis, database: Database
) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    await let_rest(process, made)
    async with database.writing() as tx:
        mine = tables.rests.c.code_id == made.id
        await tx.execute(sa.update(tables.rests).where(mine).values(counts=f'["{made.targets[0]}","4"]'))
    [difference] = await process.reconciler.verify(made.workspace)
    assert (difference.what, difference.counted, difference.recorded) == ("places taken", 4, 1)

    await process.reconciler.rebuild(made.workspace, from_record=True)

    assert await made.places(redis) == [(1, 0)]
    assert await process.reconciler.verify(made.workspace) == []


async def test_only_a_code_that_nobody_asks_for_is_found_idle(process: Process, code: Make, redis: Redis) -> None:
    idle, scanned, young = [await code(5) for _ in range(3)]
    for made in (idle, scanned, young):
        await process.phone().visit(made.slug)
    for made in (idle, scanned):
        await age(redis, made, 3600)
    await process.phone().visit(scanned.slug)
    while await process.rester.some() or process.rester._cursor:
        pass
    assert await kept_in_redis(redis, idle) == set()
    assert await scanned.places(redis) == [(2, 0)]
    assert await young.places(redis) == [(1, 0)]


async def test_the_worker_lets_idle_codes_rest_beside_its_work(
    process: Process, code: Make, redis: Redis, database: Database, clock: Clock
) -> None:
    # What other tests have left behind would keep the worker busy.
    await redis.flushdb()
    made = await code(5)
    await process.phone().scan(made.slug)
    clock.forward(seconds=91)
    await age(redis, made, 3600)
    parts = process.parts(database, redis, clock)
    await worker.one_round(parts)
    assert await kept_in_redis(redis, made)
    await age(redis, made, 3600)
    async with asyncio.timeout(30):
        while await kept_in_redis(redis, made):
            await worker.let_some_rest(parts)


async def test_nothing_rests_when_it_is_told_so(process: Process, code: Make, redis: Redis, database: Database) -> None:
    made = await code(5)
    await age(redis, made, 10_000)
    rester = Rester(database, redis, after_seconds=0)
    assert [await rester.some() for _ in range(100)] == [0] * 100
    assert await kept_in_redis(redis, made) != set()


async def test_nothing_rests_where_redis_knows_no_idle_times(
    process: Process, code: Make, redis: Redis, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    made = await code(5)
    caplog.set_level("INFO")
    rester = Rester(database, redis, after_seconds=1)
    await redis.config_set("maxmemory-policy", "allkeys-lfu")
    try:
        while await rester.some() or rester._cursor:
            pass
        for _ in range(100):
            await rester.some()
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
    assert await kept_in_redis(redis, made) != set()
    assert caplog.text.count("no_code_rests_under_this_maxmemory_policy") == 1


async def test_a_code_of_many_targets_comes_back_whole(
    process: Process, code: Make, redis: Redis, api: httpx.AsyncClient
) -> None:
    made = await code()
    rows = [{"payload": group_payload(i), "members": i % 3 + 1} for i in range(1000)]
    (await api.post(f"/codes/{made.id}/targets/batch", json={"targets": rows})).raise_for_status()
    await process.phone().visit(made.slug)
    counted = keys.code_keys(made.workspace, CodeId(made.id))[1]
    before = await redis.hgetall(counted)
    assert await let_rest(process, made) == 1
    await process.recaller.publish(CodeId(made.id))
    assert await redis.hgetall(counted) == before
    assert len(before) > 1000
