"""Report what happened at codes (统计): by the hours that the drain has counted, in the workspace's own time."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from app.domain import limits
from app.domain.code import CodeId, WorkspaceId
from app.domain.errors import Refusal
from app.domain.hours import day_end, day_start, days_between, hour_end, hour_start, hours_between, in_utc
from app.domain.shifts import zone
from app.services.editing import not_found
from app.store import codes, reports
from app.store.database import Database, Reading
from app.store.reports import Counts, Row, Scope
from app.store.snapshots import read_zone

CodeBy = Literal["hour", "day", "target", "channel", "account", "client", "option"]
WorkspaceBy = Literal["hour", "day", "code", "account", "client"]

# A date stands for that whole day in the workspace's zone; an instant is aware.
Moment = date | datetime


@dataclass(frozen=True, slots=True)
class Span:
    """Say from when to when, as far as the caller says.

    Shapes: dates are inclusive, `until` ends with its day; instants are exact, and `until` is the first left out.
    """

    since: Moment | None = None
    until: Moment | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Hold what happened in whole local hours, in rows that add up to `total`.

    Shapes: `since` and `until` are aware, in the workspace's zone; counts as `reports.MEASURES` names them.
    """

    since: datetime
    until: datetime
    by: CodeBy | WorkspaceBy
    time_zone: str
    rows: list[Row]
    total: Counts


class Reporter:
    """Make reports. They read what the drain has recorded, and so follow what happens within a second or so."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def code(self, workspace: WorkspaceId, code: CodeId, by: CodeBy, span: Span, now: datetime) -> Report:
        """Report on one code, a closed one too.

        Cost: three queries.
        Raises: Refusal `not_found`, `bad_range`, `too_many_reads`; StoreAway.
        """
        async with self._database.viewing(workspace) as connection:
            if await codes.find(connection, workspace, code) is None:
                raise not_found()
            return await _report(connection, workspace, code, by, span, now)

    async def workspace(self, workspace: WorkspaceId, by: WorkspaceBy, span: Span, now: datetime) -> Report:
        """Report on all codes of a workspace together.

        Cost: two queries.
        Raises: Refusal `bad_range`, `too_many_reads`; StoreAway.
        """
        async with self._database.viewing(workspace) as connection:
            return await _report(connection, workspace, None, by, span, now)


async def _report(
    connection: Reading,
    workspace: WorkspaceId,
    code: CodeId | None,
    by: CodeBy | WorkspaceBy,
    span: Span,
    now: datetime,
) -> Report:
    time_zone = await read_zone(connection, workspace)
    since, until = _whole_hours(span, by, time_zone, now)
    local = zone(time_zone)
    scope = Scope(workspace, code, since, until)
    if by == "hour":
        # A year has so many that scans beside this would wait for them.
        hours = await asyncio.to_thread(hours_between, since, until, time_zone)
        # Two hours of one name, where clocks go back, have two keys.
        rows = await _by_time(
            connection, scope, hours, local, lambda at: (in_utc(at), f"{at.astimezone(local):%Y-%m-%d %H:%M}")
        )
    elif by == "day":
        days = days_between(since, until, time_zone)
        rows = await _by_time(connection, scope, days, local, lambda at: (at.date().isoformat(), None))
    else:
        rows = await reports.count_by(connection, scope, by)
    total = tuple(map(sum, zip(reports.NOTHING, *(row.counts for row in rows), strict=True)))
    return Report(since.astimezone(local), until.astimezone(local), by, time_zone, rows, total)


async def _by_time(
    connection: Reading,
    scope: Scope,
    starts: Sequence[datetime],
    local: ZoneInfo,
    spell: Callable[[datetime], tuple[str, str | None]],
) -> list[Row]:
    """Count between instants, which `spell` gives key and name; quiet ones have rows, so that charts have no gaps."""
    counted = await reports.count_between(connection, scope, starts)
    return [Row(*spell(start.astimezone(local)), counts) for start, counts in zip(starts, counted, strict=True)]


def _whole_hours(span: Span, by: str, time_zone: str, now: datetime) -> tuple[datetime, datetime]:
    """Fill in what was left out, and round outwards to whole local hours."""
    until = hour_end(now, time_zone) if span.until is None else _end(span.until, time_zone)
    if span.since is None:
        # The last day counts as one when it has but begun, and not when it has not.
        last = (until - timedelta(microseconds=1)).astimezone(zone(time_zone)).date()
        since = day_start(last - timedelta(days=limits.STATS_DAYS_DEFAULT - 1), time_zone)
    else:
        since = span.since if isinstance(span.since, datetime) else day_start(span.since, time_zone)
    if since >= until:
        raise Refusal("bad_range", "Nothing lies between from and to: let from come first.", "from")
    most = limits.STATS_DAYS_BY_HOUR if by == "hour" else limits.STATS_DAYS_MAX
    # By the clock on the wall, since a year may have an hour more than its days.
    if _on_the_wall(until, time_zone) - _on_the_wall(since, time_zone) > timedelta(days=most):
        raise Refusal("bad_range", f"This is too long; {most} days can be told by {by} at once.", "from")
    begun = hour_start(until, time_zone)
    return hour_start(since, time_zone), until if begun == until else hour_end(until, time_zone)


def _end(moment: Moment, time_zone: str) -> datetime:
    return moment if isinstance(moment, datetime) else day_end(moment, time_zone)


def _on_the_wall(moment: datetime, time_zone: str) -> datetime:
    return moment.astimezone(zone(time_zone)).replace(tzinfo=None)
