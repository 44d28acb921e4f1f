"""Tell from events alone what the drain has counted up from them, so that the two can be compared (核验).

Each is one pass over all events of a workspace, and begins with what those of dropped days had counted.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import sqlalchemy as sa

from app.domain.code import AccountId, CodeId, TargetId, WorkspaceId
from app.domain.event import UNCOUNTED, EventKind
from app.store.database import Reading, Writing


class Retold(NamedTuple):
    """Hold the totals of a target as its events give them.

    Shapes: `members` is the last head count, None when no event that is still there holds one.
    """

    held: int
    seen: int
    members: int | None


async def places(
    connection: Reading | Writing, workspace: WorkspaceId, only: Collection[TargetId] | None = None
) -> dict[TargetId, Retold]:
    """Recompute the totals of every target, or of some, from events. Cost: one query."""
    rows = await connection.execute(
        sa.text(_PLACES), {"workspace": workspace, "only": None if only is None else list(only)}
    )
    return {TargetId(row[0]): Retold(int(row[1]), int(row[2]), row[3]) for row in rows}


async def hours_apart(
    connection: Reading | Writing, workspace: WorkspaceId
) -> list[tuple[CodeId, EventKind, int, int]]:
    """Name the codes and kinds whose hours do not add up to their events, with the sums of both. Cost: one query."""
    rows = await connection.execute(sa.text(_HOURS), {"workspace": workspace, "uncounted": sorted(UNCOUNTED)})
    return [(CodeId(row[0]), EventKind(row[1]), int(row[2]), int(row[3])) for row in rows]


async def adds_apart(connection: Reading | Writing, workspace: WorkspaceId) -> list[tuple[AccountId, int, int, int]]:
    """Name the accounts and days whose adds are not the places given less those that came back, with both numbers.

    Cost: one query.
    """
    rows = await connection.execute(sa.text(_ADDS), {"workspace": workspace})
    return [(AccountId(row[0]), row[1], int(row[2]), int(row[3])) for row in rows]


# Where a head count stands in the stream decides which places count; rows are compared field by field.
_PLACES: Final = """
    with last as (
        select distinct on (target_id) target_id, ms, seq, n, members from (
            select target_id, entry_ms as ms, entry_seq as seq, n, seat as members from events
            where workspace_id = :workspace and kind = 'b'
            union all
            select target_id, rebased_ms, rebased_seq, rebased_n, null from past_places where workspace_id = :workspace
        ) as b order by target_id, ms desc, seq desc, n desc
    ), e as (
        select e.target_id, e.kind, e.seat,
            last.ms is null or (e.entry_ms, e.entry_seq, e.n) > (last.ms, last.seq, last.n) as since
        from events as e left join last using (target_id) where e.workspace_id = :workspace and e.target_id <> ''
            and (cast(:only as text[]) is null or e.target_id = any(cast(:only as text[])))
    ), now as (
        select target_id,
            count(*) filter (where kind = 'c')
                - count(*) filter (where kind in ('s', 'x')) - coalesce(sum(seat) filter (where kind = 'k'), 0) as held,
            count(*) filter (where kind in ('s', 't') and since)
                + coalesce(sum(seat) filter (where kind = 'k' and since), 0) as seen
        from e group by target_id
    ), past as (
        select target_id, held,
            case when (rebased_ms, rebased_seq, rebased_n) = (last.ms, last.seq, last.n) then seen else 0 end as seen
        from past_places join last using (target_id) where workspace_id = :workspace
            and (cast(:only as text[]) is null or target_id = any(cast(:only as text[])))
    )
    select target_id, coalesce(now.held, 0) + coalesce(past.held, 0), coalesce(now.seen, 0) + coalesce(past.seen, 0),
        last.members
    from now full join past using (target_id) left join last using (target_id)
"""
_HOURS: Final = """
    with e as (
        select code_id, kind, sum(n) as n from (
            select code_id, kind, count(*) as n from events
            where workspace_id = :workspace and kind <> all(cast(:uncounted as text[])) group by code_id, kind
            union all
            select code_id, kind, n from past_kinds where workspace_id = :workspace
        ) as told group by code_id, kind
    ), h as (
        select code_id, kind, sum(n) as n from stat_hours where workspace_id = :workspace group by code_id, kind
    )
    select code_id, kind, coalesce(e.n, 0), coalesce(h.n, 0) from e full join h using (code_id, kind)
    where e.n is distinct from h.n order by code_id, kind
"""
_ADDS: Final = """
    with e as (
        select account_id, day, sum(adds) as adds from (
            select account_id, day,
                count(*) filter (where kind in ('c', 't')) - count(*) filter (where kind = 'x') as adds
            from events where workspace_id = :workspace and account_id <> '' group by account_id, day
            union all
            select account_id, day, adds from past_adds where workspace_id = :workspace
        ) as told group by account_id, day
    ), d as (
        select account_id, day, adds from account_days where workspace_id = :workspace
    )
    select account_id, day, coalesce(e.adds, 0), coalesce(d.adds, 0) from e full join d using (account_id, day)
    where coalesce(e.adds, 0) <> coalesce(d.adds, 0) order by account_id, day
"""
