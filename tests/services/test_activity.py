"""An idle workspace costs a worker nothing, an active one is looked at in every round, and none is forgotten."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from app import worker
from app.counters import activity, keys
from app.counters.server import connect
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway
from app.domain.workspace import Workspace
from app.parts import Parts
from app.services.activity import Activity
from app.services.keeping_workspaces import create_workspace
from app.services.rounds import ALL_EVERY, ALL_EVERY_BLIND, NOTED_EVERY, PAUSE_MAX, QUIET_AFTER, Rounds
from app.store.database import Database
from tests.conftest import Clock
from tests.scanning import Make, Process
from tests.services.test_draining import told

ROUND = worker.IDLE_SECONDS
SOME = 150


@pytest.fixture
async def rounds(process: Process, redis: Redis, clock: Clock) -> Rounds:
    # Counters that other tests left behind are of workspaces that the record may lack.
    await redis.delete(keys.ACTIVE)
    return Rounds(process.drain, redis, clock)


@pytest.fixture
def parts(process: Process, database: Database, redis: Redis, clock: Clock) -> Parts:
    return process.parts(database, redis, clock)


async def happens(redis: Redis, clock: Clock, workspace: WorkspaceId) -> None:
    """Write an event, and no note of it."""
    line = "p||wechat|0...0.0.v|"
    await redis.xadd(keys.events(workspace), {"now": int(clock().timestamp() * 1000), "events": line})
    await redis.set(keys.epoch(workspace), "life", nx=True)


async def record(process: Process, workspace: WorkspaceId) -> None:
    await process.drain.all_of(workspace)


async def settle_down(rounds: Rounds, process: Process, clock: Clock) -> None:
    """Look until nothing is active any more."""
    for workspace in await rounds.unsettled():
        await process.reconciler.sweep(workspace)
        await process.drain.all_of(workspace)
    for _ in range(4):
        clock.forward(seconds=QUIET_AFTER.total_seconds() + 2)
        for workspace in await rounds.unsettled():
            await process.reconciler.sweep(workspace)
            await process.drain.all_of(workspace)


async def lengths_asked(redis: Redis) -> int:
    stats: Any = await redis.info("commandstats")
    return int(stats.get("cmdstat_xlen", {"calls": 0})["calls"])


async def test_idle_workspaces_are_not_asked_about_in_every_round(
    rounds: Rounds, process: Process, database: Database, redis: Redis, clock: Clock
) -> None:
    for n in range(SOME):
        await create_workspace(database, f"idle {n}", "Asia/Shanghai", clock())
    await settle_down(rounds, process, clock)
    count = len(await process.drain.workspaces())
    assert count >= SOME
    before, rounds_made = await lengths_asked(redis), 50
    for _ in range(rounds_made):
        clock.forward(seconds=ROUND)
        assert await rounds.unsettled() == []
    # Ten seconds' share of the slow round, and the part of one that is rounded up in every round.
    share = count * rounds_made * ROUND / ALL_EVERY.total_seconds()
    assert await lengths_asked(redis) - before <= share + rounds_made


async def test_a_workspace_of_which_a_note_was_made_is_looked_at_in_the_next_round(
    rounds: Rounds, process: Process, redis: Redis, clock: Clock, workspace: Workspace
) -> None:
    await settle_down(rounds, process, clock)
    noting = Activity(redis, clock)
    await happens(redis, clock, workspace.id)
    noting.note(workspace.id)
    await noting.sent()
    clock.forward(seconds=ROUND)
    assert await rounds.unsettled() == [workspace.id]
    await record(process, workspace.id)
    # What happens a moment later needs no note.
    clock.forward(seconds=NOTED_EVERY.total_seconds())
    await happens(redis, clock, workspace.id)
    assert await rounds.unsettled() == [workspace.id]
    await record(process, workspace.id)


async def test_idle_workspaces_cost_those_who_watch_the_lag_nothing(
    process: Process, database: Database, redis: Redis, clock: Clock, workspace: Workspace
) -> None:
    """`/readyz` and `/metrics` look at those in which something happens, and at a share of the others."""
    for n in range(SOME):
        await create_workspace(database, f"idle {n}", "Asia/Shanghai", clock())
    await redis.delete(keys.ACTIVE)
    watcher = process.parts(database, redis, clock).watcher
    count, asked_again = len(await process.drain.workspaces()), timedelta(seconds=5)
    before = await lengths_asked(redis)
    nothing = await watcher.behind()
    assert await lengths_asked(redis) - before >= 2 * count, "all of them, the first time"

    await happens(redis, clock, workspace.id)
    await activity.note(redis, [workspace.id])
    before, times = await lengths_asked(redis), 6
    for _ in range(times):
        clock.forward(seconds=asked_again.total_seconds())
        assert (await watcher.behind()).entries == nothing.entries + 1
    # Two lengths of each: the share of the slow round, and what waits or is noted.
    few = len(await activity.noted(redis)) + nothing.entries + nothing.unreadable + 2
    share = count * asked_again / ALL_EVERY
    assert await lengths_asked(redis) - before <= 2 * times * (share + few)
    await record(process, workspace.id)
    clock.forward(seconds=asked_again.total_seconds())
    assert (await watcher.behind()).entries == nothing.entries


async def test_what_waits_unnoted_is_seen_by_those_who_watch_the_lag(
    process: Process, database: Database, redis: Redis, clock: Clock, workspace: Workspace
) -> None:
    watcher = process.parts(database, redis, clock).watcher
    nothing = await watcher.behind()
    await happens(redis, clock, workspace.id)
    await redis.xadd(keys.unreadable(workspace.id), {"events": "?"})
    for _ in range(13):
        clock.forward(seconds=5)
        found = await watcher.behind()
    assert (found.entries, found.unreadable) == (nothing.entries + 1, nothing.unreadable + 1)
    assert workspace.id in found.with_unreadable
    await redis.delete(keys.unreadable(workspace.id))
    await record(process, workspace.id)


async def test_a_workspace_is_noted_once_in_a_while_and_many_with_one_command(redis: Redis, clock: Clock) -> None:
    noting = Activity(redis, clock)
    some = [WorkspaceId(f"noted{n}") for n in range(50)]

    async def commands() -> int:
        stats: Any = await redis.info("commandstats")
        return int(stats.get("cmdstat_sadd", {"calls": 0})["calls"])

    before = await commands()
    for _ in range(3):
        for one in some:
            noting.note(one)
        await noting.sent()
    assert await commands() == before + 1
    clock.forward(seconds=NOTED_EVERY.total_seconds())
    noting.note(some[0])
    await noting.sent()
    assert await commands() == before + 2
    assert set(some) <= await activity.noted(redis)
    await activity.forget(redis, some)
    assert not set(some) & await activity.noted(redis)


async def test_scans_note_their_workspace(process: Process, code: Make, redis: Redis, clock: Clock) -> None:
    made = await code(5)
    noting = Activity(redis, clock)
    process.batcher._happened = noting.note
    await process.phone().scan(made.slug)
    await noting.sent()
    assert made.workspace in await activity.noted(redis)


async def test_an_event_whose_note_was_lost_is_found_by_the_slow_round(
    rounds: Rounds, process: Process, redis: Redis, clock: Clock, workspace: Workspace
) -> None:
    await settle_down(rounds, process, clock)
    await happens(redis, clock, workspace.id)
    waited = 0.0
    while workspace.id not in await rounds.unsettled():
        waited += 1
        clock.forward(seconds=1)
        assert waited <= ALL_EVERY.total_seconds() + 2
    await record(process, workspace.id)


async def test_while_notes_cannot_be_read_all_workspaces_are_looked_at_soon(
    rounds: Rounds, process: Process, redis: Redis, clock: Clock, workspace: Workspace
) -> None:
    await settle_down(rounds, process, clock)
    await happens(redis, clock, workspace.id)
    server_of_notes = connect("redis://127.0.0.1:1", connections=1, timeout_seconds=1)
    noted = activity.noted
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(activity, "noted", lambda _: noted(server_of_notes))
            waited = 0.0
            while workspace.id not in await rounds.unsettled():
                waited += ROUND
                clock.forward(seconds=ROUND)
                assert waited <= ALL_EVERY_BLIND.total_seconds() + 2 * ROUND
    finally:
        await server_of_notes.aclose()
    await record(process, workspace.id)


async def test_a_hold_that_ends_in_a_quiet_workspace_is_taken_back_when_it_is_late(
    rounds: Rounds, process: Process, code: Make, redis: Redis, clock: Clock
) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    assert made.workspace in await rounds.unsettled()
    await process.drain.all_of(made.workspace)
    clock.forward(seconds=40)
    assert made.workspace not in await rounds.unsettled()
    clock.forward(seconds=2)
    assert made.workspace not in await rounds.unsettled()
    clock.forward(seconds=49)
    assert made.workspace in await rounds.unsettled()
    await process.reconciler.sweep(made.workspace)
    await process.drain.all_of(made.workspace)
    assert await made.places(redis) == [(0, 0)]


async def test_what_happens_while_a_workspace_is_left_is_found(
    rounds: Rounds, process: Process, redis: Redis, clock: Clock, workspace: Workspace
) -> None:
    await settle_down(rounds, process, clock)
    await activity.note(redis, [workspace.id])
    assert await rounds.unsettled() == []
    clock.forward(seconds=QUIET_AFTER.total_seconds())
    # It is looked at, then its event and its note come, and then it is taken out of the set.
    leave = activity.forget

    async def late(*asked: Any) -> None:
        await happens(redis, clock, workspace.id)
        await activity.note(redis, [workspace.id])
        await leave(*asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activity, "forget", late)
        assert await rounds.unsettled() == []
    assert workspace.id not in await activity.noted(redis)
    clock.forward(seconds=1)
    assert await rounds.unsettled() == [workspace.id]
    await record(process, workspace.id)


@pytest.mark.parametrize("member", ["", "no workspace", b"\xff"])
async def test_what_is_no_workspace_is_passed_over(
    rounds: Rounds, process: Process, redis: Redis, clock: Clock, member: Any
) -> None:
    await settle_down(rounds, process, clock)
    await redis.sadd(keys.ACTIVE, member)
    assert await rounds.unsettled() == []
    await redis.srem(keys.ACTIVE, member)


async def test_a_workspace_that_the_record_lacks_is_named_and_keeps_no_other_waiting(
    parts: Parts,
    process: Process,
    database: Database,
    redis: Redis,
    clock: Clock,
    workspace: Workspace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Redis is newer than a dump that was restored."""
    lacking = WorkspaceId("made-after-the-dump")
    for one in (lacking, workspace.id):
        await happens(redis, clock, one)
        await activity.note(redis, [one])
    crew = worker.Crew(parts)
    for _ in range(3):
        await crew.begin()
        await crew.finish()
    assert await told(database, workspace.id) == ["p"]
    said: list[Any] = [one for one in caplog.records if one.getMessage() == "workspace_left_out"]
    assert said == []
    named: list[Any] = [one for one in caplog.records if one.getMessage() == "record_lacks_a_workspace"]
    assert [one.fields["workspace"] for one in named] == [lacking]
    assert await redis.xlen(keys.events(lacking)) == 0
    assert await redis.xlen(keys.unreadable(lacking)) == 1
    await redis.delete(keys.ACTIVE, keys.LACKING, keys.unreadable(lacking), keys.epoch(lacking))


async def test_what_ails_one_workspace_keeps_no_other_waiting(
    parts: Parts,
    process: Process,
    database: Database,
    redis: Redis,
    clock: Clock,
    workspace: Workspace,
    stranger: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A master that refuses writes does so to the drain's note, after it has let itself be read."""
    for one in (workspace, stranger):
        await happens(redis, clock, one.id)
    once = process.drain.once

    async def refused(which: WorkspaceId, **options: Any) -> int:
        if which == workspace.id:
            raise CountersAway
        return await once(which, **options)

    monkeypatch.setattr(process.drain, "once", refused)
    crew = worker.Crew(parts)
    for _ in range(3):
        await crew.begin()
        await crew.finish()
    assert await told(database, stranger.id) == ["p"]
    assert await told(database, workspace.id) == []
    assert sum(str(workspace.id) in one.getMessage() for one in caplog.records) <= 1
    monkeypatch.undo()
    clock.forward(seconds=PAUSE_MAX.total_seconds())
    await crew.begin()
    await crew.finish()
    assert await told(database, workspace.id) == ["p"]


async def test_a_workspace_that_takes_long_keeps_no_other_waiting(
    parts: Parts,
    process: Process,
    database: Database,
    redis: Redis,
    clock: Clock,
    workspace: Workspace,
    stranger: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew, release, once = worker.Crew(parts), asyncio.Event(), process.drain.once

    async def slow(which: WorkspaceId, **options: Any) -> int:
        if which == workspace.id:
            await release.wait()
        return await once(which, **options)

    monkeypatch.setattr(process.drain, "once", slow)
    await happens(redis, clock, workspace.id)
    await crew.begin()
    await asyncio.sleep(0)
    await happens(redis, clock, stranger.id)
    await activity.note(redis, [stranger.id])
    await crew.begin()
    async with asyncio.timeout(10):
        while await told(database, stranger.id) != ["p"]:
            await asyncio.sleep(0.02)
    release.set()
    await crew.finish()
    assert await told(database, workspace.id) == ["p"]


def test_a_workspace_that_is_scanned_all_the_time_is_never_left() -> None:
    assert QUIET_AFTER - timedelta(seconds=1) > 2 * NOTED_EVERY
