"""Record what happened exactly once, whatever happens meanwhile."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app import worker
from app.counters import audit, keys, stream
from app.domain.code import CodeId, WorkspaceId
from app.domain.event import EventKind
from app.domain.workspace import Workspace
from app.services import draining
from app.store import records
from app.store.database import Database
from app.store.tables import events, target_totals
from tests.conftest import START, Clock
from tests.scanning import Made, Make, Process
from tests.telling import Teller


async def told(database: Database, workspace: WorkspaceId) -> list[str]:
    async with database.reading() as connection:
        rows = await connection.execute(
            sa.select(events.c.kind)
            .where(events.c.workspace_id == workspace)
            .order_by(events.c.entry_ms, events.c.entry_seq, events.c.n)
        )
        return [row[0] for row in rows]


async def totals(database: Database, made: Made) -> list[tuple[int, int, int]]:
    async with database.reading() as connection:
        rows = await connection.execute(
            sa.select(
                target_totals.c.target_id, target_totals.c.members, target_totals.c.held, target_totals.c.seen
            ).where(target_totals.c.code_id == made.id)
        )
        by_target = {row[0]: (row[1], row[2], row[3]) for row in rows}
    return [by_target[target] for target in made.targets]


@pytest.fixture
async def day(database: Database, stranger: Workspace) -> None:
    """Have a partition for the day, and a process that has seen it."""
    teller = Teller(database, stranger.id, "")
    for _ in range(2):
        await teller.tell(teller.event(EventKind.PREVIEW, START))


async def test_every_event_is_recorded_once_and_in_order(
    process: Process, code: Make, database: Database, clock: Clock
) -> None:
    made = await code(2)
    phone = process.phone()
    await phone.visit(made.slug)
    await phone.scan(made.slug)
    await process.phone().scan(made.slug)
    await process.phone().scan(made.slug)
    await process.phone("mpcrawler").scan(made.slug)
    clock.forward(seconds=91)
    await process.reconciler.sweep(made.workspace)

    await process.drain.all_of(made.workspace)
    await process.drain.all_of(made.workspace)

    assert await told(database, made.workspace) == ["c", "s", "r", "c", "f", "p", "x"]
    assert await totals(database, made) == [(0, 0, 1)]
    assert await process.reconciler.verify(made.workspace) == []


async def test_two_drains_at_once_record_everything_once(
    process: Process, another_process: Process, code: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "ENTRIES", 3)
    monkeypatch.setattr(draining, "EVENTS", 5)
    made = await code(50)
    for _ in range(25):
        await process.phone().scan(made.slug)
    await asyncio.gather(*(one.drain.all_of(made.workspace) for one in (process, another_process)))
    assert await told(database, made.workspace) == ["c"] * 25
    assert await totals(database, made) == [(0, 25, 0)]


async def test_a_crash_before_the_commit_records_nothing_and_loses_nothing(
    process: Process, code: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)

    async def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(records, "_move_totals", crash)
        with pytest.raises(KeyboardInterrupt):
            await process.drain.once(made.workspace)
    assert await told(database, made.workspace) == []
    await process.drain.all_of(made.workspace)
    assert await told(database, made.workspace) == ["c", "s"]


async def test_a_crash_after_the_commit_records_nothing_twice(
    process: Process, code: Make, database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 16: an event that comes twice, or late, is recorded once."""
    made = await code(5)
    await process.phone().visit(made.slug)

    async def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stream, "forget", crash)
        with pytest.raises(KeyboardInterrupt):
            await process.drain.once(made.workspace)
    assert await redis.xlen(keys.events(made.workspace)) == 2
    await process.drain.all_of(made.workspace)
    assert await told(database, made.workspace) == ["c", "s"]
    assert await totals(database, made) == [(0, 0, 1)]
    assert await redis.xlen(keys.events(made.workspace)) == 0


@pytest.mark.usefixtures("day")
async def test_a_batch_of_many_slices_is_recorded_whole_or_not_at_all(
    process: Process, code: Make, database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "ENTRIES", 2)
    made = await code(50)
    for _ in range(5):
        await process.phone().scan(made.slug)

    async def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(records, "_move_totals", crash)
        with pytest.raises(KeyboardInterrupt):
            await process.drain.once(made.workspace)
    assert await told(database, made.workspace) == []
    assert await redis.xlen(keys.events(made.workspace)) == 5

    assert await process.drain.once(made.workspace) == 5

    assert await told(database, made.workspace) == ["c"] * 5
    assert await totals(database, made) == [(0, 5, 0)]
    assert await redis.xlen(keys.events(made.workspace)) == 0


@pytest.mark.usefixtures("day")
async def test_a_batch_ends_where_another_life_of_redis_begins(
    process: Process, another_process: Process, code: Make, database: Database, redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(draining, "ENTRIES", 2)
    made = await code(50)
    for _ in range(4):
        await process.phone().scan(made.slug)
    read_after, reads = stream.read_after, 0

    async def lost_before_the_second(*args: Any) -> stream.Reading:
        nonlocal reads
        reads += 1
        if reads == 2:
            async for key in redis.scan_iter(f"huoma:{{{made.workspace}}}:*"):
                await redis.delete(key)
            await redis.set(keys.epoch(made.workspace), "another life")
            line = f"p|{made.id}|wechat|0...0.0.v|"
            await redis.xadd(keys.events(made.workspace), {"now": int(START.timestamp() * 1000), "events": line})
        return await read_after(*args)

    with monkeypatch.context() as patch:
        patch.setattr(stream, "read_after", lost_before_the_second)
        await process.drain.once(made.workspace)
    assert await told(database, made.workspace) == ["c", "c"]
    assert await redis.xlen(keys.events(made.workspace)) == 1

    await another_process.drain.all_of(made.workspace)
    assert sorted(await told(database, made.workspace)) == ["c", "c", "p"]
    assert await redis.xlen(keys.events(made.workspace)) == 0


async def test_two_drains_that_meet_a_new_day_do_not_wait_for_each_other(
    process: Process, another_process: Process, database: Database, redis: Redis, workspace: Workspace,
    stranger: Workspace, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(draining, "ENTRIES", 1)
    monkeypatch.setattr(records, "_partitions", set())
    drains = {workspace.id: process.drain, stranger.id: another_process.drain}

    async def happen(one: WorkspaceId, day: int) -> None:
        now = int(datetime(2031, 1, day, 12, tzinfo=UTC).timestamp() * 1000)
        await redis.xadd(keys.events(one), {"now": now, "events": "p||wechat|0...0.0.v|"})

    for one, drain in drains.items():
        await redis.set(keys.epoch(one), "a life")
        await happen(one, 1)
        await drain.all_of(one)
        await happen(one, 1)
        await happen(one, 2)
    append, written, both = records.append, 0, asyncio.Event()

    async def together(*args: Any) -> None:
        nonlocal written
        await append(*args)
        written += 1
        if written == 2:
            both.set()
        await both.wait()

    monkeypatch.setattr(records, "append", together)
    await asyncio.gather(*(drain.all_of(one) for one, drain in drains.items()))
    for one in drains:
        assert await told(database, one) == ["p"] * 3


@pytest.mark.usefixtures("day")
async def test_a_batch_reads_no_further_than_it_may(
    process: Process, code: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "ENTRIES", 2)
    monkeypatch.setattr(draining, "EVENTS", 3)
    made = await code(50)
    for _ in range(7):
        await process.phone().scan(made.slug)
    assert [await process.drain.once(made.workspace) for _ in range(3)] == [4, 3, 0]
    assert await told(database, made.workspace) == ["c"] * 7


async def test_the_stream_is_never_shortened_beyond_the_record(process: Process, code: Make, redis: Redis) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    epoch = await stream.epoch_of(redis, made.workspace)
    await process.drain.all_of(made.workspace)
    await process.phone().visit(made.slug)
    await stream.forget(redis, made.workspace, "another life", "9999999999999-0")
    assert await redis.xlen(keys.events(made.workspace)) == 2
    assert await stream.epoch_of(redis, made.workspace) == epoch


async def test_a_new_life_of_redis_is_recorded_from_its_start(
    process: Process, code: Make, redis: Redis, database: Database
) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    await process.drain.all_of(made.workspace)
    async for key in redis.scan_iter(f"huoma:{{{made.workspace}}}:*"):
        await redis.delete(key)

    await process.phone().visit(made.slug)
    await process.drain.all_of(made.workspace)

    assert await told(database, made.workspace) == ["c", "s", "c", "s"]
    assert await totals(database, made) == [(0, 0, 2)]
    assert await process.reconciler.verify(made.workspace) == []


async def test_lost_counters_are_rebuilt_by_the_next_scan(
    process: Process, another_process: Process, code: Make, redis: Redis, clock: Clock, database: Database
) -> None:
    made = await code(2, 2)
    kept = process.phone()
    await kept.visit(made.slug)
    await process.phone().scan(made.slug)
    await audit.drop(redis, made.workspace, CodeId(made.id))

    third = await another_process.phone().visit(made.slug)

    assert third.target == made.targets[1], "what was held is taken for good"
    assert await made.places(redis) == [(2, 0), (1, 0)]
    assert (await kept.visit(made.slug)).outcome == "returned"
    clock.forward(days=1)
    assert (await process.phone().scan(made.slug)).target == made.targets[1]
    assert await process.reconciler.verify(made.workspace) == []
    assert (await totals(database, made))[0] == (0, 0, 2)


async def test_a_scan_of_lost_counters_does_not_wait_for_a_long_drain(
    process: Process, code: Make, redis: Redis, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.recalling.PATIENCE_SECONDS", 0.3)
    made = await code(2)
    phone = process.phone()
    await phone.visit(made.slug)
    await audit.drop(redis, made.workspace, CodeId(made.id))
    async with database.writing() as drain:
        await records.lock_position(drain, made.workspace, wait=True)
        waiting = await process.phone().scan(made.slug)
        assert (waiting.status, waiting.outcome, waiting.headers["retry-after"]) == (503, "unavailable", "3")
    async with asyncio.timeout(20):
        while (await process.phone().scan(made.slug)).outcome != "claimed":
            await asyncio.sleep(0.1)
    assert (await phone.scan(made.slug)).outcome == "returned"
    assert await process.reconciler.verify(made.workspace) == []


async def test_a_seat_given_before_a_loss_is_never_given_again(process: Process, code: Make, redis: Redis) -> None:
    made = await code(10)
    phone = process.phone()
    page = await phone.scan(made.slug)
    await audit.drop(redis, made.workspace, CodeId(made.id))
    new = await process.phone().visit(made.slug)
    assert page.image
    assert new.image
    before, after = (int(image.rsplit("/", 1)[1].split(".")[0]) for image in (page.image, new.image))
    assert after > before + 1000


async def test_rebuild_restores_every_code(process: Process, code: Make, redis: Redis) -> None:
    made = [await code(3) for _ in range(3)]
    for one in made:
        await process.phone().visit(one.slug)
    assert (await process.reconciler.rebuild(made[0].workspace)).codes == 3
    for one in made:
        assert await one.places(redis) == [(1, 0)]
    assert await process.reconciler.verify(made[0].workspace) == []


async def test_verify_names_a_counter_that_drifted(process: Process, code: Make, redis: Redis) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    await redis.hincrby(keys.code_keys(made.workspace, CodeId(made.id))[1], made.targets[0], 1)
    [difference] = await process.reconciler.verify(made.workspace)
    assert (difference.target, difference.what, difference.counted, difference.recorded) == (
        made.targets[0], "places taken", 2, 1,
    )  # fmt: skip


async def test_verify_names_a_total_that_drifted(process: Process, code: Make, database: Database) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    await process.drain.all_of(made.workspace)
    async with database.writing() as tx:
        await tx.execute(sa.update(target_totals).where(target_totals.c.code_id == made.id).values(seen=7))
    found = {difference.what for difference in await process.reconciler.verify(made.workspace)}
    assert found == {"seen by events", "places taken"}


async def test_verify_is_clean_while_visitors_come(process: Process, code: Make) -> None:
    made = await code(100)

    async def visitors() -> None:
        for _ in range(40):
            await process.phone().visit(made.slug)

    coming = asyncio.create_task(visitors())
    while not coming.done():
        assert await process.reconciler.verify(made.workspace) == []
    await coming


async def test_a_head_count_is_recorded_with_what_came_before_and_after(
    process: Process, code: Make, api: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    made = await code(200)
    await process.phone().visit(made.slug)
    held = process.phone()
    page = await held.scan(made.slug)
    (await api.post(f"/targets/{made.targets[0]}/members", json={"count": 150})).raise_for_status()
    await held.look(page)
    await process.phone().visit(made.slug)
    await process.drain.all_of(made.workspace)
    assert await totals(database, made) == [(150, 0, 2)]
    assert await made.places(redis) == [(152, 0)]
    assert await process.reconciler.verify(made.workspace) == []


async def test_members_at_birth_count_from_the_first_scan(
    process: Process, code: Make, api: httpx.AsyncClient, redis: Redis
) -> None:
    made = await code()
    target = {"payload": "https://weixin.qq.com/g/A5nVjzz8Gwb8ewCI", "member_limit": 3, "members": 2}
    (await api.post(f"/codes/{made.id}/targets", json=target)).raise_for_status()
    assert (await process.phone().visit(made.slug)).outcome == "claimed"
    assert (await process.phone().visit(made.slug)).outcome == "full"


async def test_what_ails_one_workspace_keeps_no_other_waiting(
    process: Process, code: Make, redis: Redis, database: Database, clock: Clock, stranger: Workspace
) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    await redis.set(keys.events(stranger.id), "no stream")
    await worker.one_round(process.parts(database, redis, clock))
    assert await told(database, made.workspace) == ["c", "s"]
    await redis.delete(keys.events(stranger.id))
