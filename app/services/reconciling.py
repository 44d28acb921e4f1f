"""Take late holds back, prove that counters and record agree (核验), and rebuild one from the other (重建)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import audit, stream
from app.counters.claims import Block, settle
from app.counters.counts import Places
from app.domain.cap_days import date_of_day
from app.domain.code import CodeId, TargetId, WorkspaceId
from app.domain.rotation import Terms
from app.domain.tally import Move, fold
from app.services.draining import Drain
from app.services.recalling import Recaller
from app.store import records, rests, retellings
from app.store.database import Database, Writing
from app.store.snapshots import read_days
from app.telemetry import RELEASED_SWEEPS

_SWEEP: Final = 100
# A code gives back a hundred holds at a time; what is left waits for the next look at the workspace.
_SWEEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """Name one place where two tellings of the same thing disagree.

    Shapes: `code` and `target` are empty where the thing belongs to none; `teller` says who else counted.
    """

    workspace: WorkspaceId
    code: CodeId
    target: TargetId
    what: str
    counted: int
    recorded: int
    teller: Literal["counters", "events"] = "counters"

    def __str__(self) -> str:
        code, target = self.code and f" code {self.code}", self.target and f" target {self.target}"
        place = f"workspace {self.workspace}{code}{target}"
        return f"{place}: {self.what}: {self.teller} say {self.counted}, record says {self.recorded}"


class Reconciler:
    """Keep counters and record in agreement."""

    def __init__(
        self, database: Database, redis: Redis, drain: Drain, recaller: Recaller, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._redis = redis
        self._drain = drain
        self._recaller = recaller
        self._clock = clock

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
            async with self._database.reading() as connection:
                days = await read_days(connection, workspace)
            # No ask and no proposal: what is left of a settlement is that late holds come back.
            blocks = [Block(code, 0, 0, Terms(0), None, ()) for code in late]
            day, *further = days.span(now)
            await settle(self._redis, workspace, now_ms, day, blocks, further)
            swept += len(late)
        RELEASED_SWEEPS.inc(swept)
        return swept

    async def unsettled(self) -> list[WorkspaceId]:
        """Name the workspaces in which there is anything to sweep or to drain.

        Raises: StoreAway, CountersAway.
        Cost: one query, and one Redis round trip for each 500 workspaces there are.
        """
        now_ms = int(self._clock().timestamp() * 1000)
        return await audit.unsettled(self._redis, await self._drain.workspaces(), now_ms)

    async def verify(self, workspace: WorkspaceId) -> list[Difference]:
        """Compare events with totals, hours and adds, and totals with counters; an empty list proves that all agree.

        The record stands still meanwhile: its position is locked, and what the stream holds beyond it is added.
        Raises: StoreAway, CountersAway.
        """
        await self._drain.all_of(workspace)
        async with self._database.writing() as connection:
            at = await records.lock_position(connection, workspace, wait=True)
            assert at is not None
            totals = await records.totals_of(connection, workspace)
            found = self._against_events(workspace, totals, await retellings.places(connection, workspace))
            found += await self._statistics_against_events(connection, workspace)
            found += await self._set_aside(workspace)
            by_code: dict[CodeId, list[TargetId]] = {}
            for target, (code, *_) in totals.items():
                by_code.setdefault(code, []).append(target)
            for code, targets in by_code.items():
                # A transaction that only waits for Redis is taken for idle, and loses its lock.
                await connection.execute(sa.text("select 1"))
                found += await self._against_counters(connection, workspace, at, code, targets, totals)
        return found

    async def rebuild(self, workspace: WorkspaceId) -> int:
        """Throw the counters of a workspace's codes away and restore them from the record; answer with how many.

        What is held becomes taken for good: the safe side. Restoring a code first records everything that waits.
        Raises: StoreAway, CountersAway — what was thrown away is restored by the next scan.
        """
        async with self._database.reading() as connection:
            codes = await records.codes_of(connection, workspace)
        for code in codes:
            await audit.drop(self._redis, workspace, code)
            await self._recaller.publish(code)
        return len(codes)

    def _against_events(
        self,
        workspace: WorkspaceId,
        totals: dict[TargetId, tuple[CodeId, int, int, int]],
        retold: dict[TargetId, retellings.Retold],
    ) -> list[Difference]:
        found = []
        for target, (code, _members, held, seen) in totals.items():
            held_again, seen_again, _ = retold.get(target, retellings.Retold(0, 0, None))
            for what, again, recorded in (("held", held_again, held), ("seen", seen_again, seen)):
                if again != recorded:
                    found.append(Difference(workspace, code, target, f"{what} by events", again, recorded, "events"))
        return found

    async def _set_aside(self, workspace: WorkspaceId) -> list[Difference]:
        [waiting] = await stream.waiting(self._redis, [workspace])
        what = "entries that could not be recorded"
        nowhere = CodeId(""), TargetId("")
        return [Difference(workspace, *nowhere, what, waiting.unreadable, 0)] if waiting.unreadable else []

    async def _statistics_against_events(self, connection: Writing, workspace: WorkspaceId) -> list[Difference]:
        found = []
        for code, kind, events, hours in await retellings.hours_apart(connection, workspace):
            what = f"{kind.name.lower()} by the hour"
            found.append(Difference(workspace, code, TargetId(""), what, events, hours, "events"))
        for account, day, events, adds in await retellings.adds_apart(connection, workspace):
            what = f"adds of account {account} on {date_of_day(day)}"
            found.append(Difference(workspace, CodeId(""), TargetId(""), what, events, adds, "events"))
        return found

    async def _against_counters(
        self,
        connection: Writing,
        workspace: WorkspaceId,
        at: records.Position,
        code: CodeId,
        targets: Sequence[TargetId],
        totals: dict[TargetId, tuple[CodeId, int, int, int]],
    ) -> list[Difference]:
        counted = await self._counted(connection, workspace, at, code, targets)
        if counted is None:
            # Nothing is counted until the next scan rebuilds it, so nothing can disagree.
            return []
        moves = fold(counted.events).targets
        found = []
        for target in targets:
            _code, members, held, seen = totals[target]
            move = moves.get(target, Move(code))
            if move.members is not None:
                members, seen = move.members, 0
            held += move.held
            have = counted.places.get(target, Places(members, 0))
            for what, counts, recorded in (
                ("places taken", have.taken, members + held + seen + move.seen),
                ("places held", have.held, held),
            ):
                if counts != recorded:
                    found.append(Difference(workspace, code, target, what, counts, recorded))
        return found

    async def _counted(
        self,
        connection: Writing,
        workspace: WorkspaceId,
        at: records.Position,
        code: CodeId,
        targets: Sequence[TargetId],
    ) -> audit.Snapshot | None:
        """Read a code's counters, in Redis or at rest; None when they are gone."""
        counted = await audit.snapshot(self._redis, workspace, code, targets, at.epoch, at.entry)
        if counted.counted:
            return counted
        rest = await rests.find(connection, code)
        if rest is None or not rest.complete or rest.epoch != await stream.epoch_of(self._redis, workspace):
            return None
        # Asked again: the code may have been woken between the two, and what rested means nothing then.
        counted = await audit.snapshot(self._redis, workspace, code, targets, at.epoch, at.entry)
        if counted.counted:
            return counted
        taken = rest.taken()
        return replace(counted, places={target: Places(taken[target], 0) for target in targets if target in taken})
