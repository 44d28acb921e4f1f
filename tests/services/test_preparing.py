"""The days of events are there before they are needed, and whoever reads events keeps nobody from recording."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import keys
from app.domain.errors import StoreAway
from app.domain.workspace import Workspace
from app.services.preparing import DAYS_AHEAD, PAUSE, Preparer
from app.store import partitions, records
from app.store.database import Database
from tests.conftest import Clock
from tests.scanning import Make, Process
from tests.services.test_draining import told


async def days(database: Database) -> set[date]:
    async with database.reading() as connection:
        return set(await partitions.days(connection))


async def today(database: Database) -> date:
    async with database.reading() as connection:
        found = await connection.scalar(sa.text("select (now() at time zone 'utc')::date"))
        assert isinstance(found, date)
        return found


async def test_the_first_event_of_a_day_waits_for_no_reader_of_events(
    process: Process, code: Make, database: Database, clock: Clock
) -> None:
    clock.now = datetime(2031, 1, 1, 0, 0, 1, tzinfo=UTC)
    made = await code(5)
    async with database.reading() as dump:
        await dump.execute(sa.text("lock table events in access share mode"))
        await process.phone().scan(made.slug)
        async with asyncio.timeout(10):
            await process.drain.all_of(made.workspace)
            assert await told(database, made.workspace) == ["c"]
    assert date(2031, 1, 1) in await days(database)


async def test_the_first_event_of_a_day_waits_for_no_transaction_that_records(
    process: Process, code: Make, database: Database, clock: Clock
) -> None:
    made = await code(5)
    clock.now = datetime(2031, 1, 3, tzinfo=UTC)
    async with database.writing() as other:
        await other.execute(sa.text("lock table events in row exclusive mode"))
        await process.phone().scan(made.slug)
        async with asyncio.timeout(10):
            await process.drain.all_of(made.workspace)
    # Its group has expired by then.
    assert await told(database, made.workspace) == ["f"]


async def test_a_day_that_cannot_be_made_now_keeps_only_its_own_events_waiting(
    process: Process, code: Make, database: Database, redis: Redis, clock: Clock, workspace: Workspace,
    stranger: Workspace,
) -> None:  # fmt: skip
    made = await code(5)
    known, new = clock.now, datetime(2031, 1, 5, tzinfo=UTC)
    await partitions.make(database, known.date())

    async def happens(where: Workspace, at: datetime) -> None:
        line = f"p|{made.id if where is workspace else ''}|wechat|0...0.0.v|"
        await redis.xadd(keys.events(where.id), {"now": int(at.timestamp() * 1000), "events": line})
        await redis.set(keys.epoch(where.id), "life", nx=True)

    await happens(workspace, new)
    await happens(stranger, known)
    async with database.writing() as maintenance:
        # As VACUUM and CREATE INDEX CONCURRENTLY do.
        await maintenance.execute(sa.text("lock table events in share update exclusive mode"))
        async with asyncio.timeout(10):
            with pytest.raises(StoreAway):
                await process.drain.once(workspace.id)
            # What waits holds no lock.
            async with database.writing() as tx:
                assert await records.lock_position(tx, workspace.id, wait=False) is not None
            await process.drain.all_of(stranger.id)
            assert await told(database, stranger.id) == ["p"]
    await process.drain.all_of(workspace.id)
    assert await told(database, workspace.id) == ["p"]


async def test_days_are_made_ahead_once(database: Database, clock: Clock, workspace: Workspace) -> None:
    first = await today(database)
    preparers = [Preparer(database, clock) for _ in range(3)]
    found = await asyncio.gather(*(one.some() for one in preparers), return_exceptions=True)
    assert all(isinstance(one, int | StoreAway) for one in found)
    await Preparer(database, clock).some()
    assert {first + timedelta(days=n) for n in range(DAYS_AHEAD + 1)} <= await days(database)
    preparer = Preparer(database, clock)
    assert await preparer.some() == 0
    async with database.writing() as tx:
        await tx.execute(sa.text(f"drop table {partitions.name_of(first + timedelta(days=DAYS_AHEAD))}"))
    records.dropped(first + timedelta(days=DAYS_AHEAD))
    assert await preparer.some() == 0, "it was asked a moment ago"
    clock.now += PAUSE
    assert await preparer.some() == 1


async def test_a_day_made_ahead_is_like_one_that_migrations_would_make(database: Database) -> None:
    day = date(2031, 2, 1)
    await partitions.make(database, day)
    await partitions.make(database, day)
    async with database.reading() as connection:
        indexes = list(
            await connection.scalars(
                sa.text(f"select indexdef from pg_indexes where tablename = '{partitions.name_of(day)}'")
            )
        )
        attached = await connection.scalar(
            sa.text(
                "select count(*) from pg_inherits i join pg_index x on x.indexrelid = i.inhparent"
                " where x.indrelid = 'events'::regclass and x.indisprimary"
            )
        )
        tables = len(await partitions.days(connection))
    assert len(indexes) == 2
    assert attached == tables


async def test_many_may_make_the_same_day_at_the_same_time(database: Database) -> None:
    for n in range(5):
        day = date(2031, 3, 1) + timedelta(days=n)
        await asyncio.gather(*(partitions.make(database, day) for _ in range(6)))
        assert day in await days(database)
