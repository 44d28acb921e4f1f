"""Let workers know in which workspaces something happens, beside the scans and never in their way."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from redis.asyncio import Redis

from app.counters import activity
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway
from app.services.rounds import NOTED_EVERY


class Activity:
    """Note active workspaces in Redis, each at most once in `NOTED_EVERY`, many with one command.

    A note that is lost costs time and no event: a worker looks at every workspace now and then.
    """

    def __init__(self, redis: Redis, clock: Callable[[], datetime]) -> None:
        self._redis = redis
        self._clock = clock
        self._since = clock()
        self._noted: set[WorkspaceId] = set()
        self._waiting: set[WorkspaceId] = set()
        self._sending: asyncio.Task[None] | None = None

    def note(self, workspace: WorkspaceId) -> None:
        """Note, after its event was written, that something happens in a workspace. Cost: a look into a set."""
        now = self._clock()
        if not self._since <= now < self._since + NOTED_EVERY:
            self._since = now
            self._noted.clear()
        if workspace in self._noted:
            return
        self._noted.add(workspace)
        self._waiting.add(workspace)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def sent(self) -> None:
        """Wait until nothing is under way."""
        if self._sending is not None:
            await self._sending

    async def _send(self) -> None:
        try:
            while self._waiting:
                some, self._waiting = self._waiting, set()
                with suppress(CountersAway):
                    await activity.note(self._redis, some)
        finally:
            self._sending = None
