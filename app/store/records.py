"""Write events and move totals: the record's half of the drain. Everything here happens in the caller's transaction."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.domain.code import AccountId, CodeId, TargetId, WorkspaceId
from app.domain.event import Packed, Unreadable
from app.domain.tally import Moves, Tally
from app.store import ghosts
from app.store.database import Database, Reading, Writing
from app.store.tables import account_days, code_totals, codes, stream_positions, target_totals, targets, workspaces

# Where an entry stands, and then a line as `Packed.lines` spells it.
_COLUMNS: Final = (
    "at", "workspace_id", "entry_ms", "entry_seq", "n",
    "kind", "code_id", "client", "seat", "target_id", "account_id", "day", "channel", "visitor", "detail",
)  # fmt: skip

# Codes and targets of a page, at most.
_CODES: Final = 500
_TARGETS: Final = 50_000
# Rows sent to PostgreSQL together: so many that it works while the next are made, and few enough to be small.
_ROWS: Final = 1_000
# No clock is ahead by ten years: what says so comes from a foreign program.
FAR_DAYS: Final = 3_653
_LAST_DAY_MS: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) * 1000


@dataclass(frozen=True, slots=True)
class Position:
    """Say how far into which life of a stream the record has come."""

    epoch: str
    entry: str


class LackingError(Unreadable):
    """Say that events name a target or a code that the record does not have."""


class WorkspaceLackingError(Exception):
    """Say that the record has no such workspace, as after the restore of a dump that is older than it."""

    def __init__(self, workspace: WorkspaceId) -> None:
        super().__init__(f"the record has no workspace {workspace}: its events wait in Redis until it is restored")


class AlreadyRecorded(Exception):  # noqa: N818  # It tells of a crash, and is none.
    """Say that the record has an entry already; nothing of the transaction may be kept."""


async def list_workspaces(connection: Reading) -> list[WorkspaceId]:
    """Name every workspace. Cost: one query."""
    return [WorkspaceId(row[0]) for row in await connection.execute(sa.select(workspaces.c.id))]


async def lock_position(connection: Writing, workspace: WorkspaceId, *, wait: bool) -> Position | None:
    """Take the right to record a workspace's events until the transaction ends.

    None when another process has it and `wait` is false.
    Raises: WorkspaceLackingError.
    """
    try:
        await connection.execute(
            insert(stream_positions).values(workspace_id=workspace, epoch="", entry="0-0").on_conflict_do_nothing()
        )
    except sa.exc.IntegrityError as error:
        # The only key that this table has beside its own names the workspace.
        raise WorkspaceLackingError(workspace) from error
    row = (
        await connection.execute(
            sa.select(stream_positions.c.epoch, stream_positions.c.entry)
            .where(stream_positions.c.workspace_id == workspace)
            .with_for_update(skip_locked=not wait)
        )
    ).one_or_none()
    return None if row is None else Position(row[0], row[1])


def prepared(entries: Iterable[Packed]) -> bool:
    """Tell whether this process knows that there is a partition for each of some entries."""
    with suppress(ValueError, OverflowError, OSError):
        return all(instant_of(entry).date() in _partitions for entry in entries)
    return False


def has_day(day: date) -> bool:
    """Tell whether this process knows that there is a partition for a day."""
    return day in _partitions


async def recorded(connection: Writing, workspace: WorkspaceId, entries: Sequence[Packed]) -> int:
    """Count the first of some entries, up to the last that the record has. Cost: one query."""
    names = [entry.entry.split("-") for entry in entries]
    rows = await (await _driver(connection)).fetch(
        _RECORDED,
        workspace,
        [instant_of(entry) for entry in entries],
        [int(ms) for ms, _ in names],
        [int(seq) for _, seq in names],
    )
    found = {(row[0], row[1]) for row in rows}
    return max((i + 1 for i, (ms, seq) in enumerate(names) if (int(ms), int(seq)) in found), default=0)


class DayDroppedError(Exception):
    """A day's partition went, or goes, while it is written to; who begins again finds or makes one."""


class DayMissingError(DayDroppedError):
    """A day has no partition: `partitions.make` makes one, in a transaction of its own."""

    def __init__(self, day: date) -> None:
        super().__init__(str(day))
        self.day = day


async def append(
    connection: Writing,
    workspace: WorkspaceId,
    entries: Iterable[Packed],
    tally: Tally,
    name: Callable[[str], str] = str,
) -> None:
    """Record the events of some entries, and count them into `tally`; `settle` must follow.

    Shapes: `name` tells how the record calls a visitor.
    Raises: Unreadable — an entry cannot be recorded; AlreadyRecorded; DayDroppedError; DayMissingError. Nothing of this
        transaction may be kept then.
    Cost: one COPY. PostgreSQL works on some rows while the next are made.
    """
    driver = await _driver(connection)
    with _readable():
        days = sorted({instant_of(entry).date() for entry in entries})
    for day in days:
        await _insist_on_partition(driver, day)
    rows = _rows(workspace, entries, tally, name)
    try:
        with _readable():
            await driver.copy_to_table("events", source=rows, columns=_COLUMNS, format="text", delimiter="|")
    except asyncpg.UniqueViolationError as error:
        raise AlreadyRecorded from error
    except (asyncpg.CheckViolationError, asyncpg.DeadlockDetectedError) as error:
        # Said of a row for which there is no partition, since somebody dropped it behind our back; or who is dropping
        # it waits for us, while we wait for him.
        _partitions.clear()
        raise DayDroppedError from error


async def settle(connection: Writing, workspace: WorkspaceId, tally: Tally, position: Position) -> None:
    """Move totals and hours by what was counted, and store how far the record has come.

    Raises: Unreadable — an event is of a kind that nobody knows, or holds a number that has no room; LackingError.
    Cost: one COPY and at most nine statements, whatever the number of events.
    """
    driver = await _driver(connection)
    with _readable():
        tally.close()
        await _move_totals(driver, workspace, tally.moves)
        await _count_hours(driver, workspace, tally.hours)
    lacking = await ghosts.first_lacking(driver, workspace, tally)
    if lacking is not None:
        raise LackingError(lacking)
    await connection.execute(
        sa.update(stream_positions)
        .where(stream_positions.c.workspace_id == workspace)
        .values(epoch=position.epoch, entry=position.entry, moved_at=sa.func.now())
    )


@contextmanager
def _readable() -> Iterator[None]:
    """Call unreadable what is so in itself, and nothing else: what ails servers or tables is no fault of an entry.

    The fault is in the data when PostgreSQL names a data exception or a constraint: SQLSTATE classes 22 and 23 in
    appendix A of its manual, read 2026-11-25. The caller judges what belongs to the table: a row without a
    partition, and a row that is there already.
    """
    try:
        yield
    except (Unreadable, asyncpg.CheckViolationError, asyncpg.UniqueViolationError):
        raise
    except asyncpg.ForeignKeyViolationError as error:
        raise LackingError(f"{error.constraint_name}: {error.detail}") from error
    except (ValueError, OverflowError, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        raise Unreadable(type(error).__name__) from error


async def _rows(
    workspace: WorkspaceId, entries: Iterable[Packed], tally: Tally, name: Callable[[str], str]
) -> AsyncIterator[bytes]:
    """Spell entries as COPY reads them: `Packed.lines` vouches that nothing has to be escaped."""
    rows: list[str] = []
    for entry in entries:
        lines = entry.numbered()
        tally.add(entry.at_ms, [line for _, line in lines])
        ms, seq = entry.entry.split("-")
        head = f"{instant_of(entry).isoformat()}|{workspace}|{ms}|{seq}|"
        for n, line in lines:
            place, visitor, detail = line.rsplit("|", 2)
            rows.append(f"{head}{n}|{place}|{visitor and name(visitor)}|{detail}\n")
        if len(rows) >= _ROWS:
            yield "".join(rows).encode()
            rows.clear()
    yield "".join(rows).encode()


async def _driver(connection: Writing) -> Any:
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    return driver


def instant_of(entry: Packed) -> datetime:
    """Tell when the events of an entry happened. Raises: Unreadable — there is no such day to record them on."""
    # A day before or after these has no partition that could be named, or none that ends.
    if not 0 <= entry.at_ms < _LAST_DAY_MS:
        raise Unreadable(f"entry {entry.entry} is of no time")
    return datetime.fromtimestamp(entry.at_ms / 1000, UTC)


# Days whose partition this process has seen; old ones may have been dropped since.
_partitions: set[date] = set()


def dropped(day: date) -> None:
    """Note that a day has no partition any more."""
    _partitions.discard(day)


async def insist_on_nearness(driver: Any, day: date) -> None:
    """Refuse a day so far ahead of PostgreSQL's clock that its partition would never be dropped. Raises: Unreadable."""
    if await driver.fetchval("select $1::date - (now() at time zone 'utc')::date > $2::int", day, FAR_DAYS):
        raise Unreadable(f"{day} is too far ahead")


async def _insist_on_partition(driver: Any, day: date) -> None:
    if day in _partitions:
        return
    if not await driver.fetchval("select to_regclass($1)", f"events_{day:%Y%m%d}"):
        await insist_on_nearness(driver, day)
        raise DayMissingError(day)
    _partitions.add(day)


async def _move_totals(driver: Any, workspace: WorkspaceId, moves: Moves) -> None:
    if moves.targets:
        # In the order of the index, so that neighbours are met together.
        moved = [(target, m.code, m.held, m.seen) for target, m in sorted(moves.targets.items())]
        await driver.execute(_MOVE_TARGETS, workspace, *_columns_of(moved))
        rebased = [(target, m.members, m.seen) for target, m in moves.targets.items() if m.members is not None]
        if rebased:
            await driver.execute(_REBASE_TARGETS, workspace, *_columns_of(rebased))
    if moves.seats:
        await driver.execute(_MOVE_SEATS, workspace, *_columns_of(list(moves.seats.items())))
    if moves.adds:
        await driver.execute(_MOVE_ADDS, workspace, *_columns_of([(a, d, n) for (a, d), n in moves.adds.items()]))


async def _count_hours(driver: Any, workspace: WorkspaceId, hours: Mapping[datetime, Mapping[str, int]]) -> None:
    """Add up by way of a table of the session's own: for a hundred thousand rows that is twice as fast as arrays."""
    rows = [f"{hour.isoformat()}|{key}|{n}\n" for hour in sorted(hours) for key, n in sorted(hours[hour].items())]
    if rows:
        await driver.execute(_BEGIN_COUNTED)
        source = BytesIO("".join(rows).encode())
        await driver.copy_to_table("hours_counted", source=source, format="text", delimiter="|")
        await driver.execute(_COUNT_HOURS, workspace)


def _columns_of(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


_RECORDED: Final = """
    select e.entry_ms, e.entry_seq from unnest($2::timestamptz[], $3::bigint[], $4::bigint[]) as m (at, ms, seq)
    join events as e on e.at = m.at and e.workspace_id = $1 and e.entry_ms = m.ms and e.entry_seq = m.seq and e.n = 0
"""
_MOVE_TARGETS: Final = """
    insert into target_totals as t (workspace_id, target_id, code_id, held, seen)
    select $1, m.* from unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) as m
    on conflict (target_id) do update set held = t.held + excluded.held, seen = t.seen + excluded.seen
"""
_REBASE_TARGETS: Final = """
    update target_totals as t set members = m.members, seen = m.seen
    from unnest($2::text[], $3::bigint[], $4::bigint[]) as m (target, members, seen)
    where t.workspace_id = $1 and t.target_id = m.target
"""
_MOVE_SEATS: Final = """
    insert into code_totals as t (workspace_id, code_id, seats)
    select $1, m.code, m.seats from unnest($2::text[], $3::bigint[]) as m (code, seats)
    on conflict (code_id) do update set seats = greatest(t.seats, excluded.seats)
"""
_MOVE_ADDS: Final = """
    insert into account_days as t (workspace_id, account_id, day, adds)
    select $1, m.account, m.day, m.adds from unnest($2::text[], $3::int[], $4::bigint[]) as m (account, day, adds)
    on conflict (workspace_id, account_id, day) do update set adds = t.adds + excluded.adds
"""
_BEGIN_COUNTED: Final = """
    create temp table if not exists hours_counted (
        hour timestamptz, code_id text, kind text, target_id text, channel int, account_id text, client text,
        detail text, n bigint
    ) on commit delete rows
"""
_COUNT_HOURS: Final = """
    insert into stat_hours as t (
        workspace_id, hour, code_id, kind, target_id, channel, account_id, client, detail, n
    )
    select $1, m.* from hours_counted as m
    on conflict (code_id, hour, kind, target_id, channel, account_id, client, detail) do update set n = t.n + excluded.n
"""


async def totals_of(
    connection: Reading | Writing, workspace: WorkspaceId, of: Sequence[CodeId] | None = None
) -> dict[TargetId, tuple[CodeId, int, int, int]]:
    """Read (code, members, held, seen) of every target of a workspace, or of some of its codes. Cost: one query."""
    query = (
        sa.select(
            targets.c.id,
            targets.c.code_id,
            *(sa.func.coalesce(target_totals.c[name], 0) for name in ("members", "held", "seen")),
        )
        .select_from(targets.outerjoin(target_totals, target_totals.c.target_id == targets.c.id))
        .where(targets.c.workspace_id == workspace)
    )
    rows = await connection.execute(query if of is None else query.where(targets.c.code_id.in_(of)))
    return {TargetId(row[0]): (CodeId(row[1]), row[2], row[3], row[4]) for row in rows}


async def seats_of(connection: Reading | Writing, of: Sequence[CodeId]) -> dict[CodeId, int]:
    """Read the last seat given of some codes; one that gave none is left out. Cost: one query."""
    query = sa.select(code_totals.c.code_id, code_totals.c.seats).where(code_totals.c.code_id.in_(of))
    return {CodeId(row[0]): row[1] for row in await connection.execute(query)}


async def version_of(connection: Reading | Writing, code: CodeId) -> int:
    """Read the version of a code. Cost: one query by primary key."""
    return int((await connection.execute(sa.select(codes.c.version).where(codes.c.id == code))).scalar_one())


async def pages_of_codes(database: Database, workspace: WorkspaceId) -> AsyncIterator[list[CodeId]]:
    """Name every code of a workspace, some at a time, in their order: few where they have many targets.

    Cost: one query for each 500 codes. Raises: StoreAway.
    """
    last = ""
    while True:
        query = (
            sa.select(codes.c.id, sa.func.count(targets.c.id))
            .select_from(codes.outerjoin(targets, targets.c.code_id == codes.c.id))
            .where(codes.c.workspace_id == workspace, codes.c.id > last)
            .group_by(codes.c.id)
            .order_by(codes.c.id)
            .limit(_CODES)
        )
        async with database.reading() as connection:
            rows = (await connection.execute(query)).all()
        if not rows:
            return
        page: list[CodeId] = []
        size = 0
        for code, having in rows:
            if page and size + having > _TARGETS:
                break
            page.append(CodeId(code))
            size += having
        yield page
        last = page[-1]


async def codes_there(connection: Reading | Writing, of: Sequence[CodeId]) -> set[CodeId]:
    """Tell which of some codes the record has. Cost: one query by primary key."""
    rows = await connection.execute(sa.select(codes.c.id).where(codes.c.id.in_(of)))
    return {CodeId(row[0]) for row in rows}


async def adds_of(connection: Reading | Writing, workspace: WorkspaceId, day: int) -> dict[AccountId, int]:
    """Read the adds of every account on one local day. Cost: one query."""
    rows = await connection.execute(
        sa.select(account_days.c.account_id, account_days.c.adds).where(
            account_days.c.workspace_id == workspace, account_days.c.day == day
        )
    )
    return {AccountId(row[0]): row[1] for row in rows}
