"""Let codes that nobody scans rest (休眠): what is counted of them goes to the record, and their keys leave Redis.

The next scan brings everything back as it was (`recalling`).
"""

import secrets
from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis

from app.counters import rests as counters
from app.counters.rests import IdleUnknownError, Packed
from app.domain.code import CodeId, WorkspaceId
from app.domain.errors import CountersAway
from app.store import rests
from app.store.database import Database
from app.telemetry import RESTED, say

# Keys looked at in one go; a worker with nothing to do has five a second.
KEYS: Final = 200
# Codes in one transaction: a code of 50,000 targets is two megabytes.
_TOGETHER: Final = 20


class Rester:
    """Find idle codes, a few keys at a time, and let them rest. Several processes may: a code rests once.

    Metrics: `huoma_codes_rested_total`.
    """

    def __init__(self, database: Database, redis: Redis, *, after_seconds: int) -> None:
        self._database = database
        self._redis = redis
        self._after = after_seconds
        self._cursor = 0

    async def some(self) -> int:
        """Look at the next keys of Redis; answer with the codes that rest since.

        Cost: two Redis commands when none is idle, whatever the number of codes.
        Raises: StoreAway, CountersAway — what was not done yet will be tried again, after what other masters have.
        """
        if not self._after:
            return 0
        try:
            self._cursor, idle = await counters.idle(self._redis, self._cursor, self._after, KEYS)
        except CountersAway:
            # Codes on other masters must not be kept awake; those of this one come up again with the next walk.
            self._cursor = await counters.beyond(self._redis, self._cursor)
            raise
        except IdleUnknownError:
            say("no_code_rests_under_this_maxmemory_policy")
            self._after = 0
            return 0
        return await self.rest(idle)

    async def rest(self, idle: Sequence[tuple[WorkspaceId, CodeId]]) -> int:
        """Let some codes rest, however young; answer with how many do. Raises: as `some`."""
        # A scan of Redis may name a key twice.
        workspaces = {code: workspace for workspace, code in idle}
        codes = list(workspaces)
        rested = 0
        for start in range(0, len(codes), _TOGETHER):
            rested += await self._together({code: workspaces[code] for code in codes[start : start + _TOGETHER]})
        return rested

    async def _together(self, idle: dict[CodeId, WorkspaceId]) -> int:
        # The record has it first, and says that it is complete only when Redis has forgotten it: whatever dies in
        # between, either the code is still counted or everything can be found.
        token = secrets.token_hex(8)
        packed: dict[CodeId, Packed] = {}
        async with self._database.writing() as tx:
            for code in await rests.lock_codes(tx, idle):
                found = await counters.pack(self._redis, idle[code], code, token)
                if found is not None:
                    packed[code] = found
            await rests.keep(tx, {code: (idle[code], one.rest) for code, one in packed.items()})
        if not packed:
            return 0
        rested = [code for code, one in packed.items() if await counters.rest(self._redis, idle[code], code, one)]
        async with self._database.writing() as tx:
            await rests.settle(tx, token, rested, sorted(packed.keys() - set(rested)))
        RESTED.inc(len(rested))
        return len(rested)
