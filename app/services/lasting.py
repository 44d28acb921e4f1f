"""Find counters that would end by themselves (核验有效期): Redis forgets them at their time, and gives again."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from redis.asyncio import Redis

from app.counters import audit, keys
from app.domain.cap_days import date_of_day
from app.domain.code import WorkspaceId
from app.services.comparing import NO_CODE, NO_TARGET, Difference
from app.store import records
from app.store.database import Database
from app.store.snapshots import read_days

_OF_A_CODE: Final = ("meta", "counts", "holds", "seen", "reopened")
# Adds are kept for three days after each one, so those of yesterday have a day left at least.
_ADDS_MS: Final = 12 * 3_600_000

_Name = TypeVar("_Name")


class Lasting:
    """Look at when keys end."""

    def __init__(self, database: Database, redis: Redis, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock

    async def differences(self, workspace: WorkspaceId) -> AsyncIterator[Difference]:
        """Name each key that ends though it must last, and adds of today and yesterday that end too soon.

        Cost: one round trip and one query for each 500 codes. Raises: StoreAway, CountersAway.
        """
        async with self._database.reading() as connection:
            today = (await read_days(connection, workspace)).day(self._clock())
        lasting = {"stream": keys.events(workspace), "epoch": keys.epoch(workspace), "due": keys.due(workspace)}
        for what, ms in await self._ends(list(lasting), list(lasting.values())):
            yield Difference(workspace, NO_CODE, NO_TARGET, f"ms until the key {what} ends by itself", ms, 0)
        days = (today, today - 1)
        adds = [date_of_day(day) for day in days]
        for date, ms in await self._ends(adds, [keys.adds(workspace, day) for day in days]):
            if ms < _ADDS_MS:
                yield Difference(workspace, NO_CODE, NO_TARGET, f"ms until adds of {date} end too soon", ms, _ADDS_MS)
        async for page in records.pages_of_codes(self._database, workspace):
            names = [(code, what) for code in page for what in _OF_A_CODE]
            of_codes = [name for code in page for name in keys.code_keys(workspace, code)]
            for (code, what), ms in await self._ends(names, of_codes):
                yield Difference(workspace, code, NO_TARGET, f"ms until the key {what} ends by itself", ms, 0)

    async def _ends(self, named: Sequence[_Name], asked: Sequence[str]) -> list[tuple[_Name, int]]:
        left = await audit.time_left(self._redis, asked)
        return [(name, ms) for name, ms in zip(named, left, strict=True) if ms is not None]
