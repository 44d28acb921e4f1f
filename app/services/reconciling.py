"""Take late holds back, prove that counters and record agree (核验), and rebuild one from the other (重建)."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from redis.asyncio import Redis
from sqlalchemy.exc import NoResultFound

from app.counters import audit
from app.counters.claims import Block, settle
from app.domain.cap_days import CapDays
from app.domain.code import WorkspaceId
from app.domain.pseudonym import Pseudonyms
from app.domain.rotation import Terms
from app.services.comparing import Difference
from app.services.draining import Drain
from app.services.rebuilding import Rebuilder, Rebuilt
from app.services.recalling import Recaller
from app.services.verifying import Verifier
from app.store.database import Database
from app.store.snapshots import read_days
from app.telemetry import RELEASED_SWEEPS

_SWEEP: Final = 100
# A code gives back a hundred holds at a time; what is left waits for the next look at the workspace.
_SWEEPS: Final = 20


class Reconciler:
    """Keep counters and record in agreement."""

    def __init__(
        self,
        database: Database,
        redis: Redis,
        drain: Drain,
        recaller: Recaller,
        clock: Callable[[], datetime],
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self._database = database
        self._redis = redis
        self._drain = drain
        self._clock = clock
        self._rebuilder = Rebuilder(database, redis, drain, recaller, clock)
        self.verifier = Verifier(database, redis, drain, clock, pseudonyms)

    async def sweep(self, workspace: WorkspaceId) -> int:
        """Take back the holds that ran out and that no scan has met since; return how often a code was swept.

        What is due and has no late hold is repaired or forgotten, so that no sweep finds the same again.
        Metrics: `huoma_hold_sweeps_total`.
        Cost: one Redis command when nothing is late; else two and a query, repeated a bounded number of times.
        """
        now = self._clock()
        now_ms = int(now.timestamp() * 1000)
        swept = 0
        for _ in range(_SWEEPS):
            late = await audit.late(self._redis, workspace, now_ms, _SWEEP)
            if not late:
                break
            day, *further = await self._days(workspace, now)
            # No ask and no proposal: what is left of a settlement is that late holds come back.
            blocks = [Block(code, 0, 0, Terms(0), None, ()) for code in late]
            await settle(self._redis, workspace, now_ms, day, blocks, further)
            swept += len(late)
        RELEASED_SWEEPS.inc(swept)
        return swept

    async def _days(self, workspace: WorkspaceId, now: datetime) -> tuple[int, ...]:
        """Return the days whose adds a hold that ends may give back, today first."""
        try:
            async with self._database.reading() as connection:
                return (await read_days(connection, workspace)).span(now)
        except NoResultFound:
            # The record lacks the workspace, and its zone. East of UTC, the day after may have begun.
            today = CapDays("UTC").day(now)
            return today, today + 1

    async def unsettled(self) -> list[WorkspaceId]:
        """Name the workspaces in which there is anything to sweep or to drain.

        Raises: StoreAway, CountersAway.
        Cost: one query, and one Redis round trip for each 500 workspaces there are.
        """
        now_ms = int(self._clock().timestamp() * 1000)
        return await audit.unsettled(self._redis, await self._drain.workspaces(), now_ms)

    async def verify(self, workspace: WorkspaceId) -> list[Difference]:
        """Name every difference of a workspace; an empty list proves that all agree. See `Verifier.differences`."""
        return [difference async for difference in self.verifier.differences(workspace)]

    async def rebuild(self, workspace: WorkspaceId, *, from_record: bool = False) -> Rebuilt:
        """Bring the counters of every code up to the record. See `Rebuilder.rebuild`."""
        return await self._rebuilder.rebuild(workspace, from_record=from_record)
