"""Show codes (活码), and targets (子码) as a scan would find them now: the record with this minute's counters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from redis.asyncio import Redis

from app.counters import counts
from app.counters.counts import Places
from app.domain.code import CodeId, TargetId, TargetState, WorkspaceId, state_of
from app.domain.errors import CountersAway
from app.services.editing import not_found
from app.store import codes, targets
from app.store.codes import CodeRecord
from app.store.database import Database
from app.store.targets import TargetRecord


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

    @property
    def taken(self) -> int:
        """Give the places gone."""
        return self.members + self.held + self.seen

    def state(self, now: datetime) -> TargetState:
        """Say what a scan at `now` would find."""
        return state_of(self.record.target, None, "UTC", now, self.taken, 0)


class Viewer:
    """Read codes, and targets with their counts."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    async def code(self, workspace: WorkspaceId, code: CodeId) -> CodeRecord:
        """Show one code, a closed one too.

        Raises: Refusal `not_found`; StoreAway.
        """
        async with self._database.reading() as connection:
            found = await codes.find(connection, workspace, code)
        if found is None:
            raise not_found()
        return found

    async def codes(
        self, workspace: WorkspaceId, before: CodeId | None, size: int, *, closed: bool
    ) -> list[CodeRecord]:
        """Show some codes, newest first: those open, or those closed. Raises: StoreAway."""
        async with self._database.reading() as connection:
            return await codes.page(connection, workspace, before, size, closed=closed)

    async def target(self, workspace: WorkspaceId, target: TargetId) -> TargetView:
        """Show one target.

        Raises: Refusal `not_found`; StoreAway.
        """
        async with self._database.reading() as connection:
            record = await targets.find(connection, workspace, target)
        if record is None:
            raise not_found()
        return (await self.views([record]))[0]

    async def targets(
        self, workspace: WorkspaceId, code: CodeId, after: tuple[int, TargetId] | None, size: int
    ) -> list[TargetView]:
        """Show some targets of one code, in the order in which they fill.

        Raises: Refusal `not_found`; StoreAway.
        """
        async with self._database.reading() as connection:
            if await codes.find(connection, workspace, code) is None:
                raise not_found()
            records = await targets.page(connection, workspace, code, after, size)
        return await self.views(records)

    async def views(self, records: Sequence[TargetRecord]) -> list[TargetView]:
        """Add the counts to targets of one code. Cost: one round trip to Redis."""
        if not records:
            return []
        first = records[0]
        try:
            places = await counts.read(
                self._redis, first.workspace_id, first.code_id, [record.target.id for record in records]
            )
        except CountersAway:
            places = {}
        return [view_of(record, places.get(record.target.id)) for record in records]


def view_of(record: TargetRecord, places: Places | None) -> TargetView:
    """Bring both truths together: the counters tell how many are taken and held, the record how many were inside.

    The record follows within a second or so. Until it has, seats it has not heard of show as seen. A head count was
    reported to the counters first.
    """
    if places is None:
        return TargetView(record, record.members, record.held, record.seen, live=False)
    kept = max(0, places.taken - places.held)
    members = min(record.members if places.members is None else places.members, kept)
    return TargetView(record, members, places.held, kept - members, live=True)
