"""Recompute from raw events what the drain has counted up from them, and return where the two differ (核验).

Each comparison is one statement, so that both sides are of one moment and nothing has to be locked. It is one pass over
all events of a workspace, and begins with what those of dropped days had counted. Differences are read as they come.
"""

from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from app.domain.cap_days import date_of_day
from app.domain.code import AccountId, CodeId, TargetId, WorkspaceId
from app.domain.event import UNCOUNTED, EventKind
from app.store.database import Reading, Writing

# From when to when, in ms since 1970.
Span = tuple[int, int]


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


class Apart(NamedTuple):
    """Name one place where events and what was counted up from them differ.

    Shapes: `code` and `target` are empty where the place belongs to none.
    """

    code: CodeId
    target: TargetId
    what: str
    events: int
    recorded: int


async def places_apart(connection: Reading | Writing, workspace: WorkspaceId) -> AsyncIterator[Apart]:
    """Compare held and seen places, and the last head count, of every target."""
    query = _PLACES_APART.format(_PLACES)
    async for row in await _differing(connection, query, workspace, only=None):
        numbers = ("held by events", row[2], row[3]), ("seen by events", row[4], row[5])
        members = ("members by events", row[6], row[7])
        for what, events, recorded in (*numbers, members) if row[6] is not None else numbers:
            if events != recorded:
                yield Apart(row[0], row[1], what, int(events), int(recorded))


async def seats_apart(connection: Reading | Writing, workspace: WorkspaceId) -> AsyncIterator[Apart]:
    """Compare the last seat of every code with the last that an event names; once days were dropped, only downwards."""
    async for code, events, recorded in await _differing(connection, _SEATS, workspace):
        yield Apart(code, TargetId(""), "last seat by events", events, recorded)


async def homes_apart(connection: Reading | Writing, workspace: WorkspaceId) -> AsyncIterator[Apart]:
    """Name the targets whose places are counted, or were given, for another code or workspace than their own."""
    async for code, target, what, of in await _differing(connection, _HOMES, workspace):
        yield Apart(code, target, f"places {what} for code {of}", 0, 1)


async def revisions_apart(connection: Reading | Writing, workspace: WorkspaceId) -> AsyncIterator[Apart]:
    """Name the targets that do not show their last QR. Cost: one query; reads no events."""
    async for code, target, what in await _differing(connection, _REVISIONS, workspace):
        yield Apart(code, target, what, 0, 1)


async def kinds_apart(connection: Reading | Writing, workspace: WorkspaceId) -> AsyncIterator[Apart]:
    """Name the codes and kinds whose hours do not add up to their events."""
    async for code, kind, events, hours in await _differing(connection, _KINDS, workspace, uncounted=sorted(UNCOUNTED)):
        yield Apart(code, TargetId(""), f"{_name_of(kind)} by the hour", int(events), int(hours))


async def hours_apart(connection: Reading | Writing, workspace: WorkspaceId) -> AsyncIterator[Apart]:
    """Name the rows of hours that do not hold their events, of codes and kinds whose sums agree.

    An event counts for the row that spans its instant, whatever the zone was when it was recorded. Where events of a
    code and kind were dropped, only rows that hold too little are named: others may hold what is gone.
    """
    async for code, kind, target, *keys, hour, events, hours in await _differing(
        connection, _HOURS, workspace, uncounted=sorted(UNCOUNTED)
    ):
        named = zip(("channel", "account", "client", "detail"), keys, strict=True)
        told = "".join(f" {name} {key}" for name, key in named if key not in ("", 0))
        what = f"{_name_of(kind)} in the hour from {hour.astimezone(UTC):%Y-%m-%dT%H:%MZ}{told}"
        yield Apart(code, target, what, int(events), int(hours))


async def adds_apart(connection: Reading | Writing, workspace: WorkspaceId) -> AsyncIterator[Apart]:
    """Name the accounts and days whose adds are not the places given less those that came back."""
    async for account, day, events, adds in await _differing(connection, _ADDS, workspace):
        yield Apart(
            CodeId(""), TargetId(""), f"adds of account {account} on {date_of_day(day)}", int(events), int(adds)
        )


async def slugs_apart(connection: Reading | Writing, workspace: WorkspaceId) -> AsyncIterator[Apart]:
    """Name codes and channels without a slug of their own, and slugs that lead to what does not have them."""
    async for code, what in await _differing(connection, _SLUGS, workspace):
        yield Apart(code, TargetId(""), what, 0, 1)


async def seats_seen(
    connection: Reading | Writing, workspace: WorkspaceId, first: CodeId, last: CodeId
) -> AsyncIterator[tuple[CodeId, int]]:
    """Read the number of every seat that was seen, of the codes from one to another, in no order."""
    async for row in await _differing(connection, _SEEN, workspace, first=first, last=last):
        yield CodeId(row[0]), row[1]


async def dropped_sightings(connection: Reading | Writing, workspace: WorkspaceId) -> dict[CodeId, int]:
    """Tell of how many places of each code the sighting was dropped with its day. Cost: one query."""
    rows = await connection.execute(
        sa.text("select code_id, n from past_kinds where workspace_id = :workspace and kind = 's'"),
        {"workspace": workspace},
    )
    return {CodeId(row[0]): int(row[1]) for row in rows}


class Claim(NamedTuple):
    """Name a place that was given: the seat, the record's name for its visitor."""

    code: CodeId
    number: int
    target: TargetId
    account: AccountId
    day: int
    channel: int
    visitor: str


async def claims_of(
    connection: Reading | Writing, workspace: WorkspaceId, seats: Collection[tuple[CodeId, int]], between: Span
) -> list[Claim]:
    """Read the events that gave some seats, out of a span of time (ms). Cost: one query over that span."""
    rows = await connection.execute(
        sa.text(_CLAIMS),
        {
            "workspace": workspace,
            "codes": [code for code, _ in seats],
            "seats": [seat for _, seat in seats],
            "since": datetime.fromtimestamp(between[0] / 1000, UTC),
            "until": datetime.fromtimestamp(between[1] / 1000, UTC),
        },
    )
    return [Claim(*row) for row in rows]


def _name_of(kind: str) -> str:
    """Name a kind of event; one that nobody knows is named by its letter."""
    return EventKind(kind).name.lower() if kind in frozenset(EventKind) else kind


async def _differing(
    connection: Reading | Writing, query: str, workspace: WorkspaceId, **parameters: object
) -> AsyncIterator[Any]:
    """Read the rows of a query as they come, however many there are."""
    return await connection.stream(sa.text(query), {"workspace": workspace, **parameters})


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
_PLACES_APART: Final = """
    select coalesce(t.code_id, (select code_id from targets where id = target_id), ''), target_id,
        coalesce(e.held, 0), coalesce(t.held, 0),
        coalesce(e.seen, 0), coalesce(t.seen, 0), e.members, coalesce(t.members, 0)
    from ({0}) as e (target_id, held, seen, members) full join (
        select target_id, code_id, held, seen, members from target_totals where workspace_id = :workspace
    ) as t using (target_id)
    where (coalesce(e.held, 0), coalesce(e.seen, 0), coalesce(e.members, t.members, 0))
        <> (coalesce(t.held, 0), coalesce(t.seen, 0), coalesce(t.members, 0))
    order by 1, 2
"""
_SEATS: Final = """
    select code_id, coalesce(e.seats, 0), coalesce(t.seats, 0)
    from (
        select code_id, max(seat) as seats from events
        where workspace_id = :workspace and kind in ('c', 't') and target_id <> '' group by code_id
    ) as e full join (
        select code_id, seats from code_totals where workspace_id = :workspace
    ) as t using (code_id)
    where coalesce(e.seats, 0) > coalesce(t.seats, 0) or (coalesce(e.seats, 0) <> coalesce(t.seats, 0) and not exists (
        select from past_kinds as p where p.workspace_id = :workspace and p.code_id = coalesce(e.code_id, t.code_id)
            and p.kind in ('c', 't') and p.n > 0
    )) order by code_id
"""
_HOMES: Final = """
    select g.code_id, g.id, 'counted', t.code_id from targets as g join target_totals as t on t.target_id = g.id
    where g.workspace_id = :workspace and (t.code_id <> g.code_id or t.workspace_id <> g.workspace_id)
    union all
    select g.code_id, g.id, 'given', e.code_id from targets as g join (
        select distinct target_id, code_id from events where workspace_id = :workspace and target_id <> ''
    ) as e on e.target_id = g.id
    where e.code_id <> g.code_id
    order by 1, 2, 3, 4
"""
_REVISIONS: Final = """
    select g.code_id, g.id, case
        when q.number is null then 'revision ' || g.revision || ' of its QR is not there'
        else 'shows another QR than revision ' || g.revision
    end from targets as g left join qr_revisions as q on q.target_id = g.id and q.number = g.revision
    where g.workspace_id = :workspace and q.payload is distinct from g.payload
    order by 1, 2
"""
_KINDS: Final = """
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
# Rows and quarters of events of one key that overlap belong together: as many must be counted as happened. Rows of one
# zone do not overlap, so each stands alone; after a change of zone two of them may, and are compared in sum.
_HOURS: Final = """
    with apart as (
        select code_id, kind, sum(e) as e, sum(h) as h from (
            select code_id, kind, count(*) as e, 0 as h from events where workspace_id = :workspace
            group by code_id, kind
            union all
            select code_id, kind, n, 0 from past_kinds where workspace_id = :workspace
            union all
            select code_id, kind, 0, n from stat_hours where workspace_id = :workspace
        ) as told group by code_id, kind having sum(e) <> sum(h)
    ), spans as (
        select code_id, kind, target_id, channel, account_id, client, detail,
            date_bin('15 minutes', at, 'epoch') as since,
            date_bin('15 minutes', at, 'epoch') + interval '15 minutes' as until, count(*) as e, 0 as h
        from events where workspace_id = :workspace and kind <> all(cast(:uncounted as text[]))
        group by 1, 2, 3, 4, 5, 6, 7, 8, 9
        union all
        select code_id, kind, target_id, channel, account_id, client, detail, hour, hour + interval '1 hour', 0, n
        from stat_hours where workspace_id = :workspace
    ), begun as (
        select *, case when since < max(until) over (
            partition by code_id, kind, target_id, channel, account_id, client, detail order by since, until
            rows between unbounded preceding and 1 preceding
        ) then 0 else 1 end as begins from spans
    ), islands as (
        select *, sum(begins) over (
            partition by code_id, kind, target_id, channel, account_id, client, detail order by since, until
        ) as island from begun
    )
    select code_id, kind, target_id, channel, account_id, client, detail, min(since), sum(e), sum(h)
    from islands
    where not exists (select from apart where apart.code_id = islands.code_id and apart.kind = islands.kind)
    group by code_id, kind, target_id, channel, account_id, client, detail, island
    having sum(e) > sum(h) or (sum(e) < sum(h) and not exists (
        select from past_kinds as p where p.workspace_id = :workspace and p.code_id = islands.code_id
            and p.kind = islands.kind and p.n > 0
    )) order by 1, 2, 3, 8
"""
_ADDS: Final = """
    with e as (
        select account_id, day, sum(adds) as adds from (
            select account_id, day,
                count(*) filter (where kind in ('c', 't')) - count(*) filter (where kind = 'x')
                    + coalesce(sum(seat) filter (where kind = 'k' and target_id = ''), 0) as adds
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
_SLUGS: Final = """
    select code_id, what from (
        select c.id as code_id, 'slug ' || c.slug || ' leads to another code, or nowhere' as what
        from codes as c left join slugs as s on s.slug = c.slug
        where c.workspace_id = :workspace
            and (s.code_id, s.channel, s.workspace_id) is distinct from (c.id, 0, c.workspace_id)
        union all
        select s.code_id, 'slug ' || s.slug || ' leads to a code that has another slug'
        from slugs as s join codes as c on c.id = s.code_id
        where s.workspace_id = :workspace and s.channel = 0 and c.slug <> s.slug
        union all
        select s.code_id, 'slug ' || s.slug || ' leads to channel ' || s.channel || ', which is not there'
        from slugs as s left join channels as h on h.code_id = s.code_id and h.number = s.channel
        where s.workspace_id = :workspace and s.channel <> 0 and h.code_id is null
        union all
        select h.code_id, 'channel ' || h.number || ' has no slug'
        from channels as h left join slugs as s on s.code_id = h.code_id and s.channel = h.number
        where h.workspace_id = :workspace and s.slug is null
        union all
        select s.code_id, 'slug ' || s.slug || ' is found in no other capitals'
        from slugs as s where s.workspace_id = :workspace and s.twin and not exists (
            select from slugs as other where lower(other.slug) = lower(s.slug) and not other.twin
        )
    ) as found order by 1, 2
"""
_SEEN: Final = """
    select code_id, seat from events
    where workspace_id = :workspace and kind = 's' and code_id between :first and :last
"""
_CLAIMS: Final = """
    select e.code_id, e.seat, e.target_id, e.account_id, e.day, e.channel, e.visitor
    from unnest(cast(:codes as text[]), cast(:seats as bigint[])) as m (code, seat)
    join events as e on e.workspace_id = :workspace and e.code_id = m.code and e.seat = m.seat and e.kind = 'c'
        and e.at between :since and :until
"""
