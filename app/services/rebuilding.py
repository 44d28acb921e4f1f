"""Rebuild counters from the record (重建), code by code: nothing is replaced before it is known by what.

What counters hold beyond the record stays, the safe side: after the restore of an older dump it is Redis that knows
what was given. Only an operator can say that the record alone is to be trusted.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from redis.asyncio import Redis

from app.counters import audit, rebuilds, versions
from app.counters.counts import Places
from app.counters.rebuilds import AddsRow
from app.domain.cap_days import date_of_day
from app.domain.code import CodeId, WorkspaceId
from app.domain.errors import CountersAway, StoreAway
from app.domain.tally import fold
from app.services.comparing import NO_CODE, NO_TARGET, Difference, trouble
from app.services.draining import Drain
from app.services.recalling import SEAT_GAP, Recaller
from app.store import codes, records
from app.store.database import Database
from app.store.snapshots import read_days
from app.telemetry import say

# Each attempt that fails means that a hold ended, or a head count was reported, while the record was read.
_ATTEMPTS: Final = 10


class BusyError(Exception):
    """Something has happened to a code each time its record was read."""


@dataclass
class Rebuilt:
    """Tell what was done: codes rebuilt, what was kept beyond the record, and what failed and is as it was."""

    codes: int = 0
    kept: list[Difference] = field(default_factory=list)
    failed: list[Difference] = field(default_factory=list)


class Rebuilder:
    """Bring the counters of a workspace up to its record."""

    def __init__(
        self, database: Database, redis: Redis, drain: Drain, recaller: Recaller, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._redis = redis
        self._drain = drain
        self._recaller = recaller
        self._clock = clock

    async def rebuild(self, workspace: WorkspaceId, *, from_record: bool = False) -> Rebuilt:
        """Rebuild every code of a workspace and the adds of its accounts.

        With `from_record`, what the counters hold beyond the record is given up. What fails is left as it is and named,
        and the rest goes on, unless a server is away.
        Cost: a lock of each code for as long as it takes to record what waits; scans of the code wait for it.
        """
        done = Rebuilt()
        try:
            await self._drain.all_of(workspace)
        except Exception as error:  # noqa: BLE001  # Named. Without what waits the record is not what to rebuild from.
            done.failed.append(_failed(workspace, "what waits could not be recorded; nothing was rebuilt", error))
            return done
        try:
            done.kept += await self._adds(workspace, keep=not from_record)
        except Exception as error:  # noqa: BLE001  # Named, and codes can be rebuilt.
            done.failed.append(_failed(workspace, "adds of accounts were not restored", error))
        try:
            async for page in records.pages_of_codes(self._database, workspace):
                for code in page:
                    await self._code(workspace, code, done, keep=not from_record)
        except (CountersAway, StoreAway) as error:
            done.failed.append(_failed(workspace, f"only {done.codes} codes were rebuilt", error))
        return done

    async def _code(self, workspace: WorkspaceId, code: CodeId, done: Rebuilt, *, keep: bool) -> None:
        try:
            done.kept += await self._rebuild(workspace, code, keep=keep)
            done.codes += 1
        except (CountersAway, StoreAway):
            raise
        except Exception as error:  # noqa: BLE001  # Named, and the others are rebuilt.
            done.failed.append(_failed(workspace, "was not rebuilt and is as it was", error, code))

    async def _rebuild(self, workspace: WorkspaceId, code: CodeId, *, keep: bool) -> list[Difference]:
        for _ in range(_ATTEMPTS):
            if not (await versions.in_force(self._redis, workspace, code)).counted:
                if not keep:
                    # There are no counters: from now on what rests is not believed either.
                    await audit.drop(self._redis, workspace, code)
                await self._recaller.publish(code)
            kept = await self._replace(workspace, code, keep=keep)
            if kept is not None:
                await self._recaller.publish(code)
                return kept
        raise BusyError

    async def _replace(self, workspace: WorkspaceId, code: CodeId, *, keep: bool) -> list[Difference] | None:
        """Replace the counters of one code while nobody can publish it; None when something has happened meanwhile."""
        async with self._database.writing() as tx:
            if await codes.lock(tx, workspace, code) is None:
                raise LookupError(code)
            # No place is given under a mark. Should anything fail, the next scan takes it away and finds all as it was.
            await versions.mark(self._redis, workspace, code)
            met = await rebuilds.head(self._redis, workspace, code)
            await self._drain.all_of(workspace)
            totals = await records.totals_of(tx, workspace, [code])
            record = {target: Places(sum(three), three[1]) for target, (_, *three) in totals.items()}
            now_ms = int(self._clock().timestamp() * 1000)
            seats = max((await records.seats_of(tx, [code])).get(code, 0) + SEAT_GAP, now_ms)
            kept = await rebuilds.replace(self._redis, workspace, code, met, record, seats, now_ms=now_ms, keep=keep)
        if kept is None:
            return None
        what = "kept places taken that the record did not know"
        return [Difference(workspace, code, target, what, n, record[target].taken) for target, n in kept.items()]

    async def _adds(self, workspace: WorkspaceId, *, keep: bool) -> list[Difference]:
        """Bring adds up to the record. Raises: BusyError — they changed each time."""
        for _ in range(_ATTEMPTS):
            async with self._database.writing() as tx:
                now = self._clock()
                days = (await read_days(tx, workspace)).touched(now)
                at = await records.lock_position(tx, workspace, wait=True)
                assert at is not None
                counted = await audit.adds(self._redis, workspace, days, at.epoch, at.entry)
                if not counted.epoch:
                    # The first code that is published restores them.
                    return []
                rows = []
                for day in days:
                    recorded = dict(await records.adds_of(tx, workspace, day))
                    for (account, when), moved in fold(counted.events).adds.items():
                        if when == day:
                            recorded[account] = recorded.get(account, 0) + moved
                    for account in sorted(recorded.keys() | counted.adds[day].keys()):
                        have, want = counted.adds[day].get(account, 0), recorded.get(account, 0)
                        beyond = max(have - want, 0) if keep else 0
                        if have != want:
                            rows.append(AddsRow(account, day, have, want + beyond, beyond))
                if not rows or await rebuilds.restore_adds(
                    self._redis, workspace, days, rows, now_ms=int(now.timestamp() * 1000)
                ):
                    return [_kept_adds(workspace, row) for row in rows if row.unknown]
        raise BusyError


def _kept_adds(workspace: WorkspaceId, row: AddsRow) -> Difference:
    what = f"kept adds of account {row.account} on {date_of_day(row.day)} that the record did not know"
    return Difference(workspace, NO_CODE, NO_TARGET, what, row.was, row.was - row.unknown)


def _failed(workspace: WorkspaceId, what: str, error: Exception, code: CodeId = NO_CODE) -> Difference:
    say("not_rebuilt", level=logging.ERROR, workspace=workspace, code=code, why=type(error).__name__)
    return trouble(workspace, what, error, code)
