"""Look at entries that were set aside through the eyes of the record: what they name that it lacks, what it has."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from app.domain.code import CodeId, TargetId, WorkspaceId
from app.domain.event import EventKind, Packed, Unreadable
from app.domain.tally import Tally
from app.store.database import Reading, Writing
from app.store.records import instant_of
from app.store.retellings import places
from app.store.tables import codes, events, past_places, target_totals, targets

# What a bigint holds, and an integer.
_NUMBER_MAX: Final = (1 << 63) - 1
_SMALL_NUMBER_MAX: Final = (1 << 31) - 1


def named(entry: Packed) -> dict[int, tuple[CodeId, TargetId]]:
    """Read code and target of each line, by its number. Raises: Unreadable."""
    found = {}
    for n, line in entry.numbered():
        _kind, code, _client, _number, target, _ = line.split("|", 5)
        found[n] = CodeId(code), TargetId(target)
    return found


def readable(entries: Iterable[Packed]) -> list[Packed]:
    """Keep of some entries the lines that hold an event which the record can hold.

    An entry without one is left out, and so is one of a time or a name that the record cannot hold.
    """
    found = []
    for entry in entries:
        try:
            instant_of(entry)
            lines = entry.apart()
        except Unreadable:
            continue
        good = {line.numbers[0] for line in lines if _is_readable(line)}
        if good and max(_place(entry.entry)) <= _NUMBER_MAX:
            found.append(entry if len(good) == len(lines) else entry.only(good))
    return found


def _is_readable(line: Packed) -> bool:
    """Judge one line by itself: its fields, its kind, and that its numbers have room."""
    try:
        [(_, text)] = line.numbered()
        tally = Tally("UTC")
        tally.add(line.at_ms, [text])
        tally.close()
        number, _target, _account, day, channel = text.split("|")[3:8]
        fits = abs(int(number)) <= _NUMBER_MAX and max(abs(int(day)), abs(int(channel))) <= _SMALL_NUMBER_MAX
    except ValueError:
        return False
    return fits


async def lacking(
    connection: Reading | Writing, workspace: WorkspaceId, entries: Sequence[Packed]
) -> dict[str, dict[int, CodeId]]:
    """Find the lines of some entries that name a code or a target that the record does not have.

    Shapes: the code of each such line, by entry and number; entries without one are left out. Cost: two queries.
    Raises: Unreadable.
    """
    lines = {entry.entry: named(entry) for entry in entries}
    both = [pair for of_entry in lines.values() for pair in of_entry.values()]
    codes_there = await _there(connection, codes, workspace, {code for code, _ in both if code})
    targets_there = await _there(connection, targets, workspace, {target for _, target in both if target})
    return {
        entry: missing
        for entry, of_entry in lines.items()
        if (
            missing := {
                n: code
                for n, (code, target) in of_entry.items()
                if (code and code not in codes_there) or (target and target not in targets_there)
            }
        )
    }


async def _there(
    connection: Reading | Writing, table: sa.Table, workspace: WorkspaceId, ids: Collection[str]
) -> set[str]:
    if not ids:
        return set()
    query = sa.select(table.c.id).where(table.c.workspace_id == workspace, table.c.id.in_(ids))
    return {row[0] for row in await connection.execute(query)}


async def recorded_lines(
    connection: Reading | Writing, workspace: WorkspaceId, entries: Sequence[Packed]
) -> Mapping[str, set[int]]:
    """Tell which lines of some entries the record has already. Cost: one query by primary key."""
    found: dict[str, set[int]] = {entry.entry: set() for entry in entries}
    rows = await connection.execute(
        sa.text(_RECORDED),
        {
            "workspace": workspace,
            "at": [entry.at_ms for entry in entries],
            "ms": [int(entry.entry.split("-")[0]) for entry in entries],
            "seq": [int(entry.entry.split("-")[1]) for entry in entries],
        },
    )
    for ms, seq, n in rows:
        found[f"{ms}-{seq}"].add(n)
    return found


async def retell(tx: Writing, workspace: WorkspaceId, recorded: Sequence[Packed]) -> None:
    """Count places of targets anew from all events, where late events and a head count are out of their order.

    Totals move as events come. An event that was set aside comes after a head count that stood behind it in the stream,
    and must not count on top of it; a late head count must not take away who came after it.
    Cost: one query by index; where a head count is involved, one pass over the events of the workspace.
    """
    of = {target for entry in recorded for _, target in named(entry).values() if target}
    first = min((_place(entry.entry) for entry in recorded), default=(0, 0))
    later = sa.select(events.c.target_id).where(
        events.c.workspace_id == workspace,
        events.c.kind == EventKind.REBASED.value,
        events.c.target_id.in_(of),
        sa.tuple_(events.c.entry_ms, events.c.entry_seq) >= sa.tuple_(*map(sa.literal, first)),
    )
    past = sa.select(past_places.c.target_id).where(
        past_places.c.workspace_id == workspace,
        past_places.c.target_id.in_(of),
        sa.tuple_(past_places.c.rebased_ms, past_places.c.rebased_seq) >= sa.tuple_(*map(sa.literal, first)),
    )
    touched = {TargetId(row[0]) for row in await tx.execute(later.union(past))} if of else set()
    if not touched:
        return
    found = await places(tx, workspace, touched)
    for target in touched:
        held, seen, members = found[target]
        values: dict[str, Any] = {"held": held, "seen": seen}
        if members is not None:
            values["members"] = members
        await tx.execute(sa.update(target_totals).where(target_totals.c.target_id == target).values(values))


def _place(entry: str) -> tuple[int, int]:
    ms, seq = entry.split("-")
    return int(ms), int(seq)


_RECORDED: Final = """
    select e.entry_ms, e.entry_seq, e.n
    from unnest(cast(:at as bigint[]), cast(:ms as bigint[]), cast(:seq as bigint[])) as m (at, ms, seq)
    join events as e on e.at = to_timestamp(m.at / 1000.0) and e.workspace_id = :workspace
        and e.entry_ms = m.ms and e.entry_seq = m.seq
"""
