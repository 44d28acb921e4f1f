"""Watch a run second by second: what every process keeps in memory, how many places are given, how many on record."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
from redis.asyncio import Redis

from app.counters import keys
from app.domain.code import CodeId, WorkspaceId
from bench import memory
from bench.loopback import MadeCode, Service
from bench.report import plain_url

EVERY_SECONDS: Final = 1.0
REDIS: Final = "Redis"


@dataclass(frozen=True, slots=True)
class Sample:
    """Tell how things stand at one moment of the machine's monotonic clock.

    Shapes: `memory` in bytes by process; `given` places of the code in the counters, `recorded` of them on record;
    `entries` waiting in the stream.
    """

    at: float
    memory: Mapping[str, int]
    given: int
    recorded: int
    entries: int


@dataclass
class Watch:
    """Sample a code and some processes; `processes` may grow meanwhile."""

    code: MadeCode
    redis: Redis
    postgres: Any
    processes: dict[str, int]
    samples: list[Sample] = field(default_factory=list)

    async def look(self) -> Sample:
        """Take one sample. Cost: a round trip to each server, and a walk through the page tables of each process."""
        workspace, code = WorkspaceId(self.code.workspace), CodeId(self.code.id)
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.hmget(keys.meta(workspace, code), ["seats", "base"])
            pipe.xlen(keys.events(workspace))
            pipe.info("memory")
            (seats, base), entries, info = await pipe.execute()
        last = await self.postgres.fetchval("select seats from code_totals where code_id = $1", self.code.id)
        kept = {label: memory.used(pid) for label, pid in self.processes.items()}
        first = int(base or 0)
        # Seats are numbered without a gap, so that the highest number on record tells how many are.
        recorded = last - first if last else 0
        kept[REDIS] = info["used_memory"]
        sample = Sample(time.monotonic(), kept, int(seats or 0) - first, recorded, entries)
        self.samples.append(sample)
        return sample

    async def until_drained(self) -> Sample:
        """Wait until nothing is left to be recorded, for as long as the record grows.

        Raises: RuntimeError — nothing was recorded for a minute.
        """
        before, since = -1, time.monotonic()
        while (sample := await self.look()).entries:
            if sample.recorded > before:
                before, since = sample.recorded, sample.at
            if sample.at - since > _PATIENCE_SECONDS:
                raise RuntimeError(f"the worker does not go on: {sample}")
            await asyncio.sleep(EVERY_SECONDS / 2)
        return sample

    async def go_on(self) -> None:
        """Look again and again."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_SECONDS)


_PATIENCE_SECONDS: Final = 60.0


@asynccontextmanager
async def watching(service: Service, code: MadeCode, processes: Mapping[str, int]) -> AsyncIterator[Watch]:
    """Open the connections of a watch."""
    postgres = await asyncpg.connect(plain_url(service))
    redis = Redis.from_url(service.settings.redis_url, decode_responses=True)
    try:
        yield Watch(code, redis, postgres, dict(processes))
    finally:
        await redis.aclose()
        await postgres.close()


@dataclass(frozen=True, slots=True)
class Memory:
    """Hold the highest memory of one process, in bytes, in each half of the time in which it was watched."""

    first: int
    second: int

    @property
    def growth(self) -> float:
        """Tell how many times the first half's highest the second half's is."""
        return self.second / self.first


def peaks(samples: Sequence[Sample]) -> dict[str, Memory]:
    """Find the peaks of every process that was met in two samples at least."""
    by_process: dict[str, list[int]] = {}
    for sample in samples:
        for label, size in sample.memory.items():
            # A process that has ended has no memory, which says nothing of the time before.
            if size:
                by_process.setdefault(label, []).append(size)
    return {
        label: Memory(max(sizes[: len(sizes) // 2]), max(sizes[len(sizes) // 2 :]))
        for label, sizes in by_process.items()
        if len(sizes) > 1
    }
