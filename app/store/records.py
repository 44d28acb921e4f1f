"""Write events and move totals: the record's half of the drain. Everything here happens in the caller's transaction."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.domain.code import AccountId, CodeId, TargetId, WorkspaceId
from app.domain.event import Event, EventKind
from app.domain.hours import QUARTER, hour_start
from app.store.database import Reading, Writing
from app.store.tables import account_days, codes, stream_positions, target_totals, targets, workspaces

_COLUMNS: Final = (
    "at", "workspace_id", "entry_ms", "entry_seq", "n", "kind", "code_id", "target_id", "account_id", "day", "seat",
    "channel", "visitor", "client", "detail",
)  # fmt: skip

# Told of a target and not of a visitor, and so left out of the hours.
UNCOUNTED: Final = frozenset({EventKind.REBASED, EventKind.KEPT})
_MOVING: Final = UNCOUNTED | {EventKind.CLAIMED, EventKind.TAKEN, EventKind.SEEN, EventKind.RELEASED}

# A row of `stat_hours`, but for the workspace: code, hour, kind, target, channel, account, client, detail.
HourKey = tuple[CodeId, datetime, str, TargetId, int, AccountId, str, str]
_QUARTER_MS: Final = QUARTER // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Position:
    """Say how far into which life of a stream the record has come."""

    epoch: str
    entry: str


@dataclass(slots=True)
class Move:
    """Change one target's totals: by how much, after setting the head count anew where `members` says so."""

    code: CodeId
    members: int | None = None
    held: int = 0
    seen: int = 0


@dataclass(frozen=True, slots=True)
class Moves:
    """Sum up what a run of events does to totals."""

    targets: dict[TargetId, Move]
    seats: dict[CodeId, int]
    adds: dict[tuple[AccountId, int], int]


def fold(events: Iterable[Event]) -> Moves:
    """Sum up events, in their order."""
    moves = Moves({}, {}, {})
    for event in events:
        _fold_one(moves, event)
    return moves


def _fold_one(moves: Moves, event: Event) -> None:
    seat, kind = event.seat, event.kind
    if not seat.target or kind not in _MOVING:
        return
    move = moves.targets.setdefault(seat.target, Move(event.code))
    if kind is EventKind.REBASED:
        move.members, move.seen = seat.number, 0
        return
    if kind in (EventKind.SEEN, EventKind.KEPT):
        kept = 1 if kind is EventKind.SEEN else seat.number
        move.held -= kept
        move.seen += kept
        return
    step = -1 if kind is EventKind.RELEASED else 1
    if kind is EventKind.TAKEN:
        move.seen += 1
    else:
        move.held += step
    if step == 1:
        moves.seats[event.code] = max(moves.seats.get(event.code, 0), seat.number)
    if seat.account:
        moves.adds[seat.account, seat.day] = moves.adds.get((seat.account, seat.day), 0) + step


def by_hour(events: Iterable[Event], time_zone: str) -> Counter[HourKey]:
    """Count events by the local hour they fall into and by all that a report may ask for; `UNCOUNTED` are left out."""
    hours: dict[int, datetime] = {}
    counts: Counter[HourKey] = Counter()
    for event in events:
        if event.kind in UNCOUNTED:
            continue
        # Hours begin at quarters only, so that a zone is asked four times an hour and not for every event.
        quarter = event.at_ms // _QUARTER_MS
        hour = hours.get(quarter)
        if hour is None:
            hour = hours[quarter] = hour_start(datetime.fromtimestamp(event.at_ms / 1000, UTC), time_zone)
        seat = event.seat
        counts[
            event.code, hour, event.kind.value, seat.target, seat.channel, seat.account, event.client, event.detail
        ] += 1
    return counts


async def list_workspaces(connection: Reading) -> list[WorkspaceId]:
    """Name every workspace. Cost: one query."""
    return [WorkspaceId(row[0]) for row in await connection.execute(sa.select(workspaces.c.id))]


async def lock_position(connection: Writing, workspace: WorkspaceId, *, wait: bool) -> Position | None:
    """Take the right to record a workspace's events until the transaction ends.

    None when somebody else has it and `wait` is false.
    """
    await connection.execute(
        insert(stream_positions).values(workspace_id=workspace, epoch="", entry="0-0").on_conflict_do_nothing()
    )
    row = (
        await connection.execute(
            sa.select(stream_positions.c.epoch, stream_positions.c.entry)
            .where(stream_positions.c.workspace_id == workspace)
            .with_for_update(skip_locked=not wait)
        )
    ).one_or_none()
    return None if row is None else Position(row[0], row[1])


async def append(
    connection: Writing, workspace: WorkspaceId, time_zone: str, events: Sequence[Event], position: Position
) -> None:
    """Record events, move totals by them, count them by the hour, and store how far that was.

    Cost: one COPY and at most six statements, whatever the number of events.
    """
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    for day in sorted({datetime.fromtimestamp(event.at_ms / 1000, UTC).date() for event in events}):
        await _make_partition(driver, day)
    await driver.copy_records_to_table("events", columns=_COLUMNS, records=[_row(workspace, e) for e in events])
    await _move_totals(driver, workspace, fold(events))
    await _count_hours(driver, workspace, by_hour(events, time_zone))
    await connection.execute(
        sa.update(stream_positions)
        .where(stream_positions.c.workspace_id == workspace)
        .values(epoch=position.epoch, entry=position.entry, moved_at=sa.func.now())
    )


def _row(workspace: WorkspaceId, event: Event) -> tuple[object, ...]:
    ms, seq = event.entry.split("-")
    seat = event.seat
    return (
        datetime.fromtimestamp(event.at_ms / 1000, UTC),
        workspace,
        int(ms),
        int(seq),
        event.n,
        event.kind.value,
        event.code,
        seat.target,
        seat.account,
        seat.day,
        seat.number,
        seat.channel,
        seat.visitor,
        event.client,
        event.detail,
    )


# Days whose partition this process has seen; a partition is only ever dropped long after its day.
_partitions: set[date] = set()


async def _make_partition(driver: Any, day: date) -> None:
    if day in _partitions:
        return
    name = f"events_{day:%Y%m%d}"
    if not await driver.fetchval("select to_regclass($1)", name):
        # Two drains may meet here; "if not exists" alone lets the second one fail.
        await driver.execute("select pg_advisory_xact_lock(hashtext('huoma events partition'))")
        await driver.execute(
            f"create table if not exists {name} partition of events "
            f"for values from ('{day}T00:00:00Z') to ('{day + timedelta(days=1)}T00:00:00Z')"
        )
        return
    _partitions.add(day)


async def _move_totals(driver: Any, workspace: WorkspaceId, moves: Moves) -> None:
    if moves.targets:
        rows = [(target, m.code, m.members, m.held, m.seen) for target, m in moves.targets.items()]
        await driver.execute(_BEGIN_TARGETS, workspace, *_columns_of([row[:2] for row in rows]))
        await driver.execute(_MOVE_TARGETS, workspace, *_columns_of([(row[0], *row[2:]) for row in rows]))
    if moves.seats:
        await driver.execute(_MOVE_SEATS, workspace, *_columns_of(list(moves.seats.items())))
    if moves.adds:
        await driver.execute(_MOVE_ADDS, workspace, *_columns_of([(a, d, n) for (a, d), n in moves.adds.items()]))


async def _count_hours(driver: Any, workspace: WorkspaceId, counts: Counter[HourKey]) -> None:
    if counts:
        await driver.execute(_COUNT_HOURS, workspace, *_columns_of([(*key, n) for key, n in counts.items()]))


def _columns_of(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


_BEGIN_TARGETS: Final = """
    insert into target_totals (workspace_id, target_id, code_id)
    select $1, m.target, m.code from unnest($2::text[], $3::text[]) as m (target, code)
    on conflict (target_id) do nothing
"""
_MOVE_TARGETS: Final = """
    update target_totals as t set
        members = coalesce(m.members, t.members),
        seen = case when m.members is null then t.seen else 0 end + m.seen,
        held = t.held + m.held
    from unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) as m (target, members, held, seen)
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
_COUNT_HOURS: Final = """
    insert into stat_hours as t (
        workspace_id, code_id, hour, kind, target_id, channel, account_id, client, detail, n
    )
    select $1, m.* from unnest(
        $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::int[], $7::text[], $8::text[], $9::text[],
        $10::bigint[]
    ) as m
    on conflict (code_id, hour, kind, target_id, channel, account_id, client, detail) do update set n = t.n + excluded.n
"""


async def totals_of(
    connection: Reading | Writing, workspace: WorkspaceId
) -> dict[TargetId, tuple[CodeId, int, int, int]]:
    """Read (code, members, held, seen) of every target of a workspace. Cost: one query."""
    rows = await connection.execute(
        sa.select(
            targets.c.id,
            targets.c.code_id,
            *(sa.func.coalesce(target_totals.c[name], 0) for name in ("members", "held", "seen")),
        )
        .select_from(targets.outerjoin(target_totals, target_totals.c.target_id == targets.c.id))
        .where(targets.c.workspace_id == workspace)
    )
    return {TargetId(row[0]): (CodeId(row[1]), row[2], row[3], row[4]) for row in rows}


async def codes_of(connection: Reading | Writing, workspace: WorkspaceId) -> list[CodeId]:
    """Name every code of a workspace. Cost: one query."""
    return [
        CodeId(r[0]) for r in await connection.execute(sa.select(codes.c.id).where(codes.c.workspace_id == workspace))
    ]


async def adds_of(connection: Reading | Writing, workspace: WorkspaceId, day: int) -> dict[AccountId, int]:
    """Read the adds of every account on one local day. Cost: one query."""
    rows = await connection.execute(
        sa.select(account_days.c.account_id, account_days.c.adds).where(
            account_days.c.workspace_id == workspace, account_days.c.day == day
        )
    )
    return {AccountId(row[0]): row[1] for row in rows}
