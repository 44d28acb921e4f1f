"""Show codes (活码), and targets (子码) as a scan would find them now: the record with this minute's counters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from redis.asyncio import Redis

from app.counters import counts
from app.counters.counts import Places
from app.domain.code import NO_ACCOUNT, Account, AccountId, CodeId, TargetId, TargetState, WorkspaceId, state_of
from app.domain.errors import CountersAway
from app.services.editing import not_found
from app.store import accounts, codes, targets
from app.store.codes import CodeRecord
from app.store.database import Database, Reading, Writing
from app.store.snapshots import read_days
from app.store.targets import TargetRecord


@dataclass(frozen=True, slots=True)
class Adds:
    """Count how often an account was added today; `live` is false when the record says so and not Redis."""

    number: int
    live: bool


@dataclass(frozen=True, slots=True)
class Around:
    """Hold what beside themselves decides what a scan finds of some targets: the zone, and the accounts they offer.

    Shapes: `accounts` and `adds` of today for every account that one of them offers.
    """

    time_zone: str = "UTC"
    accounts: Mapping[AccountId, Account] = field(default_factory=dict)
    adds: Mapping[AccountId, Adds] = field(default_factory=dict)


# For targets that nothing else decides about.
_NOTHING_AROUND: Final = Around()


@dataclass(frozen=True, slots=True)
class TargetView:
    """Show one target with its places.

    Shapes: `taken = members + held + seen`; `live` is false when Redis could not be asked, or knows nothing of the
    target, and the numbers are those of the record.
    """

    record: TargetRecord
    members: int
    held: int
    seen: int
    live: bool
    around: Around = _NOTHING_AROUND

    @property
    def taken(self) -> int:
        """Give the places gone."""
        return self.members + self.held + self.seen

    def state(self, now: datetime) -> TargetState:
        """Say what a scan at `now` would find."""
        target, around = self.record.target, self.around
        adds = around.adds.get(target.account)
        account = around.accounts.get(target.account)
        return state_of(target, account, around.time_zone, now, self.taken, adds.number if adds else 0)


class Viewer:
    """Read codes, and targets with their counts.

    Raises: Refusal `too_many_reads` — from all but `views`.
    """

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    async def code(self, workspace: WorkspaceId, code: CodeId) -> CodeRecord:
        """Show one code, a closed one too.

        Raises: Refusal `not_found`; StoreAway.
        """
        async with self._database.viewing(workspace) as connection:
            found = await codes.find(connection, workspace, code)
        if found is None:
            raise not_found()
        return found

    async def codes(
        self, workspace: WorkspaceId, before: CodeId | None, size: int, *, closed: bool
    ) -> list[CodeRecord]:
        """Show some codes, newest first: those open, or those closed. Raises: StoreAway."""
        async with self._database.viewing(workspace) as connection:
            return await codes.page(connection, workspace, before, size, closed=closed)

    async def target(self, workspace: WorkspaceId, target: TargetId, now: datetime) -> TargetView:
        """Show one target.

        Raises: Refusal `not_found`; StoreAway.
        """
        async with self._database.viewing(workspace) as connection:
            record = await targets.find(connection, workspace, target)
            if record is None:
                raise not_found()
            return (await self._views(connection, [record], now))[0]

    async def targets(
        self,
        workspace: WorkspaceId,
        code: CodeId,
        after: tuple[int, TargetId] | None,
        size: int,
        now: datetime,
        *,
        removed: bool = False,
    ) -> list[TargetView]:
        """Show some targets of one code, in the order in which they fill; with `removed`, those that were removed.

        Raises: Refusal `not_found`; StoreAway.
        """
        async with self._database.viewing(workspace) as connection:
            if await codes.find(connection, workspace, code) is None:
                raise not_found()
            records = await targets.page(connection, workspace, code, after, size, removed=removed)
            return await self._views(connection, records, now)

    async def views(self, records: Sequence[TargetRecord], now: datetime) -> list[TargetView]:
        """Add the counts to targets of one code. Raises: StoreAway."""
        # What was just edited is never refused, and a few targets take no time.
        async with self._database.reading() as connection:
            return await self._views(connection, records, now)

    async def _views(self, connection: Reading, records: Sequence[TargetRecord], now: datetime) -> list[TargetView]:
        # One round trip to Redis, beside what `look_around` costs.
        if not records:
            return []
        first = records[0]
        try:
            places = await counts.read(
                self._redis, first.workspace_id, first.code_id, [record.target.id for record in records]
            )
        except CountersAway:
            places = {}
        around = await look_around(connection, self._redis, records, now)
        return [view_of(record, places.get(record.target.id), around) for record in records]


async def look_around(
    connection: Reading | Writing, redis: Redis, records: Sequence[TargetRecord], now: datetime
) -> Around:
    """Learn what beside themselves decides what a scan finds of targets of one workspace.

    Cost: nothing for targets without hours and accounts; else a query, and with accounts one or two more and a round
    trip to Redis.
    """
    offered = sorted({record.target.account for record in records} - {NO_ACCOUNT})
    if not offered and all(record.target.shifts.always for record in records):
        return _NOTHING_AROUND
    workspace = records[0].workspace_id
    days = await read_days(connection, workspace)
    if not offered:
        return Around(days.time_zone)
    found = await accounts.find_some(connection, workspace, offered)
    return Around(days.time_zone, found, await count_adds(connection, redis, workspace, days.span(now), offered))


async def count_adds(
    connection: Reading | Writing,
    redis: Redis,
    workspace: WorkspaceId,
    span: Sequence[int],
    wanted: Sequence[AccountId],
) -> dict[AccountId, Adds]:
    """Count the adds of some accounts on the days that count now, by the record where the counters cannot tell."""
    found = dict.fromkeys(wanted, Adds(0, live=False))
    for day in span:
        try:
            counted = await counts.adds(redis, workspace, day, wanted)
        except CountersAway:
            counted = {}
        unknown = [account for account in wanted if account not in counted]
        recorded = await accounts.adds_on(connection, workspace, day, unknown) if unknown else {}
        for account, before in found.items():
            number = counted.get(account, recorded.get(account, 0))
            found[account] = Adds(before.number + number, live=before.live or account in counted)
    return found


def view_of(record: TargetRecord, places: Places | None, around: Around) -> TargetView:
    """Bring both truths together: the counters tell how many are taken and held, the record how many were inside.

    The record follows within a second or so. Until it has, seats it has not heard of show as seen. A head count was
    reported to the counters first.
    """
    if places is None:
        return TargetView(record, record.members, record.held, record.seen, live=False, around=around)
    kept = max(0, places.taken - places.held)
    members = min(record.members if places.members is None else places.members, kept)
    return TargetView(record, members, places.held, kept - members, live=True, around=around)
