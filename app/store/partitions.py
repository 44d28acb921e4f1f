"""Make the days of events before they are needed, let old ones go, whole, and keep what they had counted."""

from datetime import date, timedelta
from typing import Any, Final

import asyncpg
import sqlalchemy as sa

from app.domain.errors import StoreAway
from app.domain.event import UNCOUNTED
from app.store import records
from app.store.database import Database, Reading, Writing, bound_locks

# A partition holds a day of everybody's events, and is read once.
_SECONDS: Final = 600
# Shorter than PostgreSQL waits before it looks for a deadlock, so that a drain is rarely the one to begin again.
_LOCK_TIMEOUT: Final = "400ms"
_PREFIX: Final = "events_"


async def days(connection: Reading) -> list[date]:
    """Name the days that have a partition, the oldest first. Cost: one query. Raises: StoreAway."""
    query = sa.text(
        "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = 'events'::regclass"
    )
    names = [str(row[0]) for row in await connection.execute(query)]
    return sorted(date.fromisoformat(name.removeprefix(_PREFIX)) for name in names)


def name_of(day: date) -> str:
    """Name the partition of a day."""
    return f"{_PREFIX}{day:%Y%m%d}"


async def make(database: Database, day: date) -> None:
    """Make the partition of a day, unless there is one. Several may: one does it.

    A table is made by itself and then attached, so that other days are read and written meanwhile. A table that is made
    as a partition waits for every reader of `events`, and every writer waits for it.
    Source: PostgreSQL manual, ALTER TABLE, ATTACH PARTITION: SHARE UPDATE EXCLUSIVE on the parent; read 2026-11-25.
    Raises: StoreAway — also when a lock is in the way for too long; Unreadable — the day is too far ahead.
    """
    name = name_of(day)
    try:
        async with database.writing() as tx:
            driver = await _begun(tx)
            # Whoever makes one waits only so long for the table, and keeps this lock no longer.
            await driver.execute("set local lock_timeout = '5s'")
            await driver.execute("select pg_advisory_xact_lock(hashtext('huoma events partition'))")
            await driver.execute(f"set local lock_timeout = '{_LOCK_TIMEOUT}'")
            if not await driver.fetchval("select to_regclass($1)", name):
                await records.insist_on_nearness(driver, day)
                await driver.execute(f"create table {name} (like events including defaults including indexes)")
                await driver.execute(
                    f"alter table events attach partition {name} "
                    f"for values from ('{day}T00:00:00Z') to ('{day + timedelta(days=1)}T00:00:00Z')"
                )
    except (asyncpg.DuplicateTableError, asyncpg.UniqueViolationError):
        # Another process made it a moment ago: PostgreSQL may still remember, in this transaction, that there was none.
        return


async def make_ahead(database: Database, days_ahead: int) -> int:
    """Make the partitions of today and of some days to come, by the clock of the database; return how many were made.

    Cost: two queries when all are there.
    Raises: StoreAway — what is missing will be made another time.
    """
    async with database.reading() as connection:
        today = (await connection.execute(sa.text("select (now() at time zone 'utc')::date"))).scalar_one()
        there = set(await days(connection))
    missing = [day for n in range(days_ahead + 1) if (day := today + timedelta(days=n)) not in there]
    for day in missing:
        await make(database, day)
    return len(missing)


async def drop(database: Database, day: date) -> bool:
    """Drop a day of events, and move what it had counted into the tables `past_…`, both or neither.

    False when somebody is using it, or does the same. Nobody can write to the day meanwhile, and it may be read.
    Raises: StoreAway.
    """
    try:
        async with database.writing() as tx:
            done = await _drop(tx, name_of(day))
    except StoreAway as error:
        if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
            return False
        raise
    if done:
        records.dropped(day)
    return done


async def erase(database: Database, day: date, workspace: str, names: list[str]) -> None:
    """Take visitors' names out of a day of events; nothing when it was dropped. Raises: StoreAway."""
    async with database.writing() as tx:
        driver = await _begun(tx)
        # A day is locked for long while it is being dropped.
        await bound_locks(tx)
        if await driver.fetchval("select to_regclass($1)", name_of(day)):
            await driver.execute(
                f"update {name_of(day)} set visitor = '' where workspace_id = $1 and visitor = any($2::text[])",  # noqa: S608
                workspace,
                names,
                timeout=_SECONDS,
            )


async def _drop(tx: Writing, partition: str) -> bool:
    driver = await _begun(tx)
    await driver.execute(f"set local lock_timeout = '{_LOCK_TIMEOUT}'")
    if not await driver.fetchval("select pg_try_advisory_xact_lock(hashtext('huoma events retention'))"):
        return False
    if not await driver.fetchval("select to_regclass($1)", partition):
        return False
    await driver.execute(f"lock table {partition} in share mode")
    await driver.execute(_KEEP_PLACES.format(partition), timeout=_SECONDS)
    await driver.execute(_KEEP_KINDS.format(partition), sorted(UNCOUNTED), timeout=_SECONDS)
    await driver.execute(_KEEP_ADDS.format(partition), timeout=_SECONDS)
    await driver.execute(f"drop table {partition}")
    return True


async def _begun(tx: Writing) -> Any:
    # Only a statement that is not the driver's own begins the transaction.
    await tx.execute(sa.text("select 1"))
    driver = (await tx.get_raw_connection()).driver_connection
    assert driver is not None
    # The server's own bound is for statements that read less than a day; the client gives up first.
    await driver.execute(f"set local statement_timeout = '{_SECONDS + 10}s'")
    return driver


# The last head count of a target may stand in any day, or in one that was dropped before. Places seen before it count
# no more; of those in this day, only who came after it is kept, and of those kept before, only if it was known then.
_KEEP_PLACES: Final = """
    with e as (
        select * from {0} where target_id <> ''
    ), touched as (
        select distinct workspace_id, target_id from e
    ), last as (
        select distinct on (workspace_id, target_id) workspace_id, target_id, ms, seq, no from (
            select workspace_id, target_id, entry_ms as ms, entry_seq as seq, n as no from events where kind = 'b'
            union all
            select workspace_id, target_id, rebased_ms, rebased_seq, rebased_n from past_places
            union all
            select workspace_id, target_id, -1, -1, -1 from touched
        ) as b join touched using (workspace_id, target_id) order by workspace_id, target_id, ms desc, seq desc, no desc
    )
    insert into past_places as p (workspace_id, target_id, held, seen, rebased_ms, rebased_seq, rebased_n)
    select workspace_id, target_id,
        count(*) filter (where kind = 'c')
            - count(*) filter (where kind in ('s', 'x')) - coalesce(sum(seat) filter (where kind = 'k'), 0),
        count(*) filter (where kind in ('s', 't') and (entry_ms, entry_seq, n) > (ms, seq, no))
            + coalesce(sum(seat) filter (where kind = 'k' and (entry_ms, entry_seq, n) > (ms, seq, no)), 0),
        ms, seq, no
    from e join last using (workspace_id, target_id) group by workspace_id, target_id, ms, seq, no
    on conflict (workspace_id, target_id) do update set
        held = p.held + excluded.held,
        seen = excluded.seen + case
            when (p.rebased_ms, p.rebased_seq, p.rebased_n)
                = (excluded.rebased_ms, excluded.rebased_seq, excluded.rebased_n) then p.seen
            else 0
        end,
        rebased_ms = excluded.rebased_ms, rebased_seq = excluded.rebased_seq, rebased_n = excluded.rebased_n
"""
_KEEP_KINDS: Final = """
    insert into past_kinds as p (workspace_id, code_id, kind, n)
    select workspace_id, code_id, kind, count(*) from {0} where kind <> all($1::text[])
    group by workspace_id, code_id, kind
    on conflict (workspace_id, code_id, kind) do update set n = p.n + excluded.n
"""
_KEEP_ADDS: Final = """
    insert into past_adds as p (workspace_id, account_id, day, adds)
    select workspace_id, account_id, day,
        count(*) filter (where kind in ('c', 't')) - count(*) filter (where kind = 'x')
            + coalesce(sum(seat) filter (where kind = 'k' and target_id = ''), 0)
    from {0} where account_id <> '' group by workspace_id, account_id, day
    on conflict (workspace_id, account_id, day) do update set adds = p.adds + excluded.adds
"""
