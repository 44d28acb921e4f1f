"""Add up the hours that the drain has counted. Reads `stat_hours` and names, never events."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from app.domain.code import CodeId, WorkspaceId
from app.domain.event import OUTCOMES, EventKind
from app.store.database import Reading
from app.store.tables import accounts, channels, codes, options, stat_hours, targets

TimeBy = Literal["hour", "day"]
KeyBy = Literal["code", "target", "channel", "account", "client", "option"]

# What is told of every row, by the kinds of events that it counts.
MEASURES: Final[Mapping[str, frozenset[EventKind]]] = {
    "scans": OUTCOMES,
    "visitors": frozenset({EventKind.CLAIMED, EventKind.TAKEN}),
    "claimed": frozenset({EventKind.CLAIMED, EventKind.TAKEN}),
    "returned": frozenset({EventKind.RETURNED}),
    "seen": frozenset({EventKind.SEEN, EventKind.TAKEN}),
    "released": frozenset({EventKind.RELEASED}),
    "fallback": frozenset({EventKind.FALLBACK}),
    "full": frozenset({EventKind.FULL}),
    "limited": frozenset({EventKind.LIMITED}),
    "menu": frozenset({EventKind.MENU}),
    "option": frozenset({EventKind.OPTION}),
    "preview": frozenset({EventKind.PREVIEW}),
    "outside_wechat": frozenset({EventKind.OUTSIDE_WECHAT}),
    "turned_away": frozenset({EventKind.DISABLED, EventKind.NOT_OPEN, EventKind.ENDED}),
}
# Of these, only events whose detail is empty: not of visitors who had a place before.
_FIRST_ONLY: Final = frozenset({"visitors"})

# Rows read without a break: a few ms.
_SLICE: Final = 2_000

Counts = tuple[int, ...]
NOTHING: Final[Counts] = (0,) * len(MEASURES)


@dataclass(frozen=True, slots=True)
class Scope:
    """Say whose hours are asked for: a workspace's, or those of one of its codes.

    Units: from `since`, the start of a local hour, to before `until`, another.
    """

    workspace: WorkspaceId
    code: CodeId | None
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Row:
    """Hold what was counted under one key.

    Shapes: `counts` as `MEASURES` names them; `name` is what people call the key, None when they have no word for it.
    """

    key: str
    name: str | None
    counts: Counts


async def count_between(connection: Reading, scope: Scope, starts: Sequence[datetime]) -> list[Counts]:
    """Count between each of some instants and the next, the first of which is the scope's.

    Shapes: `starts` ascend; one answer for each, in their order.
    Cost: one query over the hours of the scope.
    """
    bounds = sa.cast(list(starts), ARRAY(sa.DateTime(timezone=True)))
    number = sa.func.width_bucket(stat_hours.c.hour, bounds)
    rows = await connection.execute(_within(sa.select(number, *_SUMS), scope).group_by(number))
    found = {row[0]: tuple(row[1:]) for row in rows}
    return [found.get(i, NOTHING) for i in range(1, len(starts) + 1)]


async def count_by(connection: Reading, scope: Scope, by: KeyBy) -> list[Row]:
    """Count by what something happened at or to: most scans first, keys of as many in their order.

    Shapes: what happened to nothing of the kind is under the key ''.
    Cost: one query over the hours of the scope, and one look-up by primary key for each name.
    """
    inner = _within(sa.select(_KEYS[by].label("key"), *_SUMS), scope).group_by(sa.text("key")).subquery()
    key = sa.cast(inner.c.key, sa.Text)
    rows = await connection.execute(
        sa.select(key, _name(by, inner.c.key, scope), *(inner.c[measure] for measure in MEASURES)).order_by(
            inner.c.scans.desc(), key
        )
    )
    found: list[Row] = []
    for row in rows:
        if len(found) % _SLICE == 0:
            # There may be one for each of fifty thousand targets, and scans are served beside this.
            await asyncio.sleep(0)
        found.append(Row(row[0], row[1], tuple(row[2:])))
    return found


def _sum(measure: str) -> sa.ColumnElement[Any]:
    first = stat_hours.c.detail == "" if measure in _FIRST_ONLY else sa.true()
    counted = stat_hours.c.kind.in_(sorted(MEASURES[measure])) & first
    total = sa.func.coalesce(sa.func.sum(stat_hours.c.n).filter(counted), 0)
    # Sums of bigints are numerics, which are slow to read.
    return sa.cast(total, sa.BigInteger).label(measure)


_SUMS: Final = [_sum(measure) for measure in MEASURES]
_KEYS: Final[Mapping[KeyBy, sa.ColumnElement[Any]]] = {
    "code": stat_hours.c.code_id,
    "target": stat_hours.c.target_id,
    "channel": stat_hours.c.channel,
    "account": stat_hours.c.account_id,
    "client": stat_hours.c.client,
    "option": sa.case((stat_hours.c.kind == EventKind.OPTION.value, stat_hours.c.detail), else_=""),
}


def _within(query: sa.Select[Any], scope: Scope) -> sa.Select[Any]:
    query = query.where(
        stat_hours.c.workspace_id == scope.workspace,
        stat_hours.c.hour >= scope.since,
        stat_hours.c.hour < scope.until,
    )
    return query if scope.code is None else query.where(stat_hours.c.code_id == scope.code)


def _name(by: KeyBy, key: sa.ColumnElement[Any], scope: Scope) -> sa.ColumnElement[Any]:
    """Look up what a key is called; what was removed is still called so."""

    def named(table: sa.Table, word: str, *which: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
        return sa.select(table.c[word]).where(table.c.workspace_id == scope.workspace, *which).scalar_subquery()

    match by:
        case "code":
            return named(codes, "name", codes.c.id == key)
        case "target":
            return named(targets, "name", targets.c.id == key)
        case "account":
            return named(accounts, "name", accounts.c.id == key)
        case "channel":
            own = named(codes, "name", codes.c.id == scope.code)
            return sa.case(
                (key == 0, own),
                else_=named(channels, "name", channels.c.code_id == scope.code, channels.c.number == key),
            )
        case "option":
            number = sa.cast(options.c.number, sa.Text)
            return named(options, "label", options.c.code_id == scope.code, number == key)
        case "client":
            return sa.null()
