"""Old days of events go whole, what they had counted stays, and the record still agrees with itself."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from app.domain.event import Event, EventKind
from app.domain.workspace import Workspace
from app.embedded import Servers
from app.services.ageing import Ager
from app.store import partitions, records, retellings
from app.store.database import Database
from app.store.tables import events, stat_hours, target_totals
from tests.conftest import START, Clock
from tests.scanning import Make, Process
from tests.store.test_records import lives
from tests.telling import Teller

K = EventKind


@pytest.fixture
def drop(database: Database) -> Callable[[date], Any]:
    """Drop a day, waiting for whoever is using it."""

    async def drop(day: date) -> bool:
        for _ in range(50):
            if await partitions.drop(database, day):
                return True
            await asyncio.sleep(0.05)
        return False

    return drop


async def agrees(database: Database, workspace: Workspace) -> None:
    async with database.reading() as connection:
        totals = await records.totals_of(connection, workspace.id)
        again = {target: told[:2] for target, told in (await retellings.places(connection, workspace.id)).items()}
        assert {target: row[2:] for target, row in totals.items()} == dict.fromkeys(totals, (0, 0)) | again
        for apart in (retellings.kinds_apart, retellings.hours_apart, retellings.adds_apart, retellings.seats_apart):
            assert [one async for one in apart(connection, workspace.id)] == []


async def left(database: Database, workspace: Workspace) -> list[date]:
    async with database.reading() as connection:
        rows = await connection.execute(sa.select(events.c.at).where(events.c.workspace_id == workspace.id))
        return sorted({row.at.astimezone(UTC).date() for row in rows})


def moved(event: Event, days: int) -> Event:
    at = event.at_ms + days * 86_400_000
    return Event(event.entry, event.n, at, event.kind, event.code, event.client, event.seat, event.detail)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_dropped_in_whatever_order_the_rest_still_adds_up(
    database: Database, workspace: Workspace, code: Make, drop: Callable[[date], Any], seed: int
) -> None:
    made = await code(200, 200, 200)
    teller, chance = Teller(database, workspace.id, made.id), Random(seed)
    told = lives(teller, made.targets, chance)
    # Clocks differ: what came later in the stream may belong to an earlier day, and be dropped before or long after.
    first = 10 * seed - 4_000
    spread = [moved(event, first + n // 100 + chance.choice([-1, 0, 0, 0, 1])) for n, event in enumerate(told)]
    for start in range(0, len(spread), 40):
        await teller.tell(*spread[start : start + 40])
        await agrees(database, workspace)
        if start % 80 == 0:
            days = await left(database, workspace)
            assert await drop(chance.choice(days))
            await agrees(database, workspace)
    for day in await left(database, workspace):
        assert await drop(day)
        await agrees(database, workspace)
    async with database.reading() as connection:
        assert await retellings.places(connection, workspace.id) != {}


async def test_days_are_dropped_once_their_last_event_is_old_enough(
    database: Database, workspace: Workspace, process: Process, code: Make, clock: Clock
) -> None:
    made = await code(50)
    teller = Teller(database, workspace.id, made.id)
    clock.now = datetime(2019, 6, 30, 0, 0, 1, tzinfo=UTC)
    ages = {days: clock.now.replace(hour=12) - timedelta(days=days) for days in (91, 90, 1)}
    for n, at in enumerate(ages.values(), 1):
        await teller.tell(teller.event(K.TAKEN, at, made.targets[0], number=n, account="ann"))
    for keeps_all in (0, -1, -1_000):
        assert await Ager(database, clock, days=keeps_all).some() == 0
    async with database.reading() as connection:
        hours = await connection.scalar(sa.select(sa.func.sum(stat_hours.c.n)).where(stat_hours.c.code_id == made.id))
    ager = Ager(database, clock, days=90)
    dropped = 0
    for _ in range(50):
        dropped += await ager.some()
        clock.forward(minutes=1)
        if dropped:
            break
    assert await left(database, workspace) == [ages[90].date(), ages[1].date()]
    assert await ager.some() == 0
    async with database.reading() as connection:
        assert hours == await connection.scalar(
            sa.select(sa.func.sum(stat_hours.c.n)).where(stat_hours.c.code_id == made.id)
        )
        assert (
            await connection.scalar(sa.select(target_totals.c.seen).where(target_totals.c.target_id == made.targets[0]))
            == 3
        )
    assert [one for one in await process.reconciler.verify(workspace.id) if one.teller == "events"] == []


async def test_a_day_may_take_longer_than_what_anybody_else_asks(
    servers: Servers, database: Database, workspace: Workspace, code: Make, clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    clock.now = datetime(2017, 5, 6, 12, tzinfo=UTC)
    made = await code(50)
    teller = Teller(database, workspace.id, made.id)
    await teller.tell(teller.event(K.TAKEN, clock.now, made.targets[0], number=1))
    hurried = Database(servers.database_url, pool_size=2, connect_seconds=5, statement_seconds=0.6, idle_seconds=0.2)
    try:
        day = clock.now.date()
        async with database.writing() as slow:
            await slow.execute(sa.text(f"lock table {partitions.name_of(day)} in share mode"))
            erasing = asyncio.create_task(partitions.erase(hurried, day, workspace.id, ["nobody"]))
            await asyncio.sleep(1.2)
        await erasing
        monkeypatch.setattr(partitions, "_KEEP_PLACES", "select pg_sleep(1.2);" + partitions._KEEP_PLACES)
        assert await partitions.drop(hurried, day)
    finally:
        await hurried.close()
    assert await left(database, workspace) == []


async def test_what_happens_late_on_a_day_that_was_dropped_is_recorded(
    process: Process, code: Make, database: Database, workspace: Workspace, drop: Callable[[date], Any], clock: Clock
) -> None:
    clock.now = datetime(2018, 3, 4, 12, tzinfo=UTC)
    made = await code(50)
    for _ in range(2):
        # Twice, so that this process believes that it knows the day.
        await process.phone().visit(made.slug)
        await process.drain.all_of(workspace.id)
    assert await drop(clock().date())
    # Dropped by another process, of which this one knows nothing.
    records._partitions.add(clock().date())
    await process.phone().visit(made.slug)
    await process.drain.all_of(workspace.id)
    assert await left(database, workspace) == [clock().date()]
    assert [one for one in await process.reconciler.verify(workspace.id) if one.teller == "events"] == []
    assert await drop(clock().date())
    await agrees(database, workspace)
    assert await process.reconciler.verify(workspace.id) == []


async def test_a_day_that_is_being_written_is_left_for_later(
    database: Database, workspace: Workspace, code: Make, drop: Callable[[date], Any]
) -> None:
    made = await code(5)
    teller = Teller(database, workspace.id, made.id)
    at = datetime(2017, 1, 1, tzinfo=UTC)
    await teller.tell(teller.event(K.PREVIEW, at))
    async with database.writing() as tx:
        await tx.execute(sa.text("lock table events_20170101 in row exclusive mode"))
        assert not await partitions.drop(database, at.date())
    assert await left(database, workspace) == [at.date()]
    together = await asyncio.gather(*(partitions.drop(database, at.date()) for _ in range(3)))
    assert sum(together) <= 1
    assert sum(together) or await drop(at.date())
    assert not await partitions.drop(database, at.date())
    await agrees(database, workspace)


async def test_what_is_written_while_a_day_is_read_is_not_lost(
    database: Database, workspace: Workspace, code: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(5)
    teller = Teller(database, workspace.id, made.id)
    at = datetime(2016, 1, 1, tzinfo=UTC)
    for _ in range(2):
        await teller.tell(teller.event(K.PREVIEW, at))
    monkeypatch.setattr(partitions, "_KEEP_ADDS", "select pg_sleep(1.5);" + partitions._KEEP_ADDS)
    dropping = asyncio.create_task(partitions.drop(database, at.date()))
    await asyncio.sleep(0.7)
    late = teller.event(K.PREVIEW, at)
    # As the drain does: it may be refused once for the lock, and again until the day is gone.
    for _ in range(10):
        try:
            await teller.tell(late)
            break
        except records.DayDroppedError:
            continue
    await dropping
    async with database.reading() as connection:
        counted = sa.select(sa.func.sum(stat_hours.c.n)).where(stat_hours.c.code_id == made.id)
        assert await connection.scalar(counted) == 3
    await agrees(database, workspace)


async def test_what_dropped_days_had_counted_is_not_beyond_doubt(
    database: Database, workspace: Workspace, process: Process, code: Make, drop: Callable[[date], Any]
) -> None:
    made = await code(5)
    teller = Teller(database, workspace.id, made.id)
    at = START - timedelta(days=3_333)
    await teller.tell(teller.event(K.TAKEN, at, made.targets[0], number=1, account="ann"))
    assert await drop(at.date())
    async with database.writing() as tx:
        await tx.execute(sa.update(target_totals).where(target_totals.c.target_id == made.targets[0]).values(seen=2))
    found = [one for one in await process.reconciler.verify(workspace.id) if one.teller == "events"]
    assert [(one.what, one.counted, one.recorded) for one in found] == [("seen by events", 1, 2)]
