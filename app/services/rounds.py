"""Decide which workspaces a worker looks at now (轮巡): those in which something happens, and a few of the others."""

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from redis.asyncio import Redis

from app.counters import activity
from app.domain.code import WorkspaceId
from app.domain.elapsing import lasts, was_set_back
from app.domain.errors import CountersAway, StoreAway
from app.services.draining import Drain

# A process says so often, at most, that something happens in a workspace.
NOTED_EVERY: Final = timedelta(seconds=5)
# A workspace is looked at in every round until nothing has happened in it for so long: longer than `NOTED_EVERY`, so
# that one that is scanned all the time is never left.
QUIET_AFTER: Final = timedelta(seconds=15)
# After that once more, for what happened while it was taken out of the set.
ONCE_MORE: Final = timedelta(seconds=1)
# In so long every workspace is looked at, whatever hint got lost.
ALL_EVERY: Final = timedelta(seconds=60)
# The same while hints cannot be read.
ALL_EVERY_BLIND: Final = timedelta(seconds=2)
# How long a workspace is left alone whose work failed, and again, and at most.
PAUSE: Final = timedelta(seconds=1)
PAUSE_MAX: Final = timedelta(seconds=5)
# How often a failure that lasts is logged.
SAID_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Failing:
    since: datetime
    pause: timedelta
    said: datetime
    slow: bool


class SlowRound:
    """Go through all workspaces, a share at a time, so that each comes up once in a given time."""

    def __init__(self, list_workspaces: Callable[[], Awaitable[Sequence[WorkspaceId]]]) -> None:
        self._list_workspaces = list_workspaces
        self._all: Sequence[WorkspaceId] = ()
        self._passed = 0
        self._last: datetime | None = None

    async def next(self, now: datetime, every: timedelta) -> Sequence[WorkspaceId]:
        """Return the next workspaces; all of them the first time, after `restart`, and when the clock was set back.

        Raises: StoreAway — the first time; later those that are known come up again.
        """
        if self._last is None:
            self._all = await self._list_workspaces()
            self._passed, share = 0, 1.0
        elif was_set_back(self._last, now):
            self._passed, share = 0, 1.0
        else:
            share = min(1.0, max(0.0, (now - self._last) / every))
        size = math.ceil(len(self._all) * share)
        self._last = now
        some = self._all[self._passed : self._passed + size]
        self._passed += size
        if self._passed >= len(self._all):
            with suppress(StoreAway):
                self._all = await self._list_workspaces()
            self._passed = 0
        return some

    def restart(self) -> None:
        """Begin again with all of them."""
        self._last = None


class Rounds:
    """Name the workspaces in which anything waits.

    An idle workspace costs nothing but a share of a slow round over all of them.
    Shapes: `entries` counts what waited in each of those that were named last.
    """

    def __init__(self, drain: Drain, redis: Redis, clock: Callable[[], datetime]) -> None:
        self._drain = drain
        self._redis = redis
        self._clock = clock
        self._warm: dict[WorkspaceId, datetime] = {}
        # When a workspace that is not warm has to be looked at, in ms: its next hold ends then.
        self._due: dict[WorkspaceId, float] = {}
        self._failing: dict[WorkspaceId, _Failing] = {}
        self._slow = SlowRound(drain.workspaces)
        self.entries: dict[WorkspaceId, int] = {}

    async def unsettled(self) -> list[WorkspaceId]:
        """Name the workspaces that have events to be recorded or a hold whose deadline has passed.

        Cost: one Redis command, and one round trip for each 500 workspaces that are looked at.
        Raises: CountersAway — Redis does not answer; StoreAway — the first time, when PostgreSQL does not.
        """
        now = self._clock()
        now_ms = now.timestamp() * 1000
        asked = await self._hinted(now) | {one for one, at in self._due.items() if at <= now_ms}
        asked = {one for one in asked if not self._is_left_alone(one, now)}
        try:
            found = await activity.look(self._redis, asked)
        except CountersAway:
            # Notes got lost as well: all are looked at when Redis is back.
            self._slow.restart()
            raise
        self.entries = {}
        for workspace, waiting in found.items():
            self._due.pop(workspace, None)
            if waiting is None:
                self.failed(workspace)
            elif waiting.entries or (waiting.due_ms is not None and waiting.due_ms <= now_ms):
                self.entries[workspace] = waiting.entries
                self._warm[workspace] = now
            else:
                self.went_well(workspace)
                if waiting.due_ms is not None:
                    self._due[workspace] = waiting.due_ms
        await self._leave(now)
        return list(self.entries)

    async def _hinted(self, now: datetime) -> set[WorkspaceId]:
        try:
            named, every = await activity.noted(self._redis), ALL_EVERY
        except CountersAway:
            # In a cluster another master may have what waits.
            named, every = set(), ALL_EVERY_BLIND
        for workspace in named - self._warm.keys():
            self._warm[workspace] = now
        return set(self._warm) | set(await self._slow.next(now, every))

    async def _leave(self, now: datetime) -> None:
        """Stop looking at what has been quiet for long."""
        quiet = [
            one for one, since in self._warm.items() if not lasts(since, now, QUIET_AFTER) and one not in self._failing
        ]
        if not quiet:
            return
        try:
            await activity.forget(self._redis, quiet)
        except CountersAway:
            return
        once_more = (now + ONCE_MORE).timestamp() * 1000
        for workspace in quiet:
            del self._warm[workspace]
            self._due[workspace] = min(once_more, self._due.get(workspace, once_more))

    def failed(self, workspace: WorkspaceId, *, slow: bool = False) -> bool:
        """Leave a workspace alone for a while; return whether that is to be logged. `slow` when the work took long."""
        now = self._clock()
        before = self._failing.get(workspace)
        pause = PAUSE if before is None else min(2 * before.pause, PAUSE_MAX)
        said = before is None or not lasts(before.said, now, SAID_EVERY)
        logged = now if said or before is None else before.said
        self._failing[workspace] = _Failing(now, pause, logged, slow or self.slow(workspace))
        self._warm[workspace] = now
        return said

    def _is_left_alone(self, workspace: WorkspaceId, now: datetime) -> bool:
        failing = self._failing.get(workspace)
        return failing is not None and lasts(failing.since, now, failing.pause)

    def slow(self, workspace: WorkspaceId) -> bool:
        """Return whether the work on a workspace fails, and has taken long to fail."""
        return workspace in self._failing and self._failing[workspace].slow

    def went_well(self, workspace: WorkspaceId) -> None:
        """Note that the work on a workspace was done."""
        self._failing.pop(workspace, None)
