"""Look now and then whether Redis is set up to lose counters, and say so (检查配置)."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis

from app.counters import fitness
from app.domain.errors import CountersAway
from app.telemetry import say

EVERY_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 5.0


class Inspector:
    """Keep the warnings of the last look."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.warnings: Sequence[str] = ()

    async def look(self) -> Sequence[str]:
        """Look, and log what was not there the last time. Cost: as `fitness.warnings`. Raises: CountersAway."""
        found = await fitness.warnings(self._redis)
        for sentence in found:
            if sentence not in self.warnings:
                say("redis_may_lose_counters", level=logging.WARNING, why=sentence)
        self.warnings = found
        return found

    async def keep(self) -> None:
        """Go on looking until cancelled."""
        while True:
            try:
                await self.look()
            except CountersAway:
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                await asyncio.sleep(EVERY_SECONDS)
