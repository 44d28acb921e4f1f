"""Keep the time of a process in agreement with the servers (对时).

Law: no instant of the service is read from the machine's clock alone. Between two answers time passes by a clock that
nobody can set.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from redis.asyncio import Redis

from app.counters import clocks
from app.domain.errors import CountersAway, StoreAway
from app.store.database import Database, now
from app.telemetry import SKEW, say

# What two clocks may differ by before it is worth a word. NTP keeps servers within some milliseconds.
SKEW_SECONDS: Final = 1.0
REDIS_EVERY_SECONDS: Final = 5.0
POSTGRESQL_EVERY_SECONDS: Final = 30.0
_AGAIN_SECONDS: Final = 1.0
OWN: Final = "own"
POSTGRESQL: Final = "postgresql"


def utc_now() -> datetime:
    """Read the machine's clock."""
    return datetime.now(UTC)


def ticks() -> float:
    """Count seconds by a clock that nobody can set; on Linux it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Clock:
    """Return the time that most clocks agree on: the middle one of Redis, PostgreSQL and the machine.

    One wrong clock among them changes nothing. The machine's is counted only where the others are even in number, so
    that before PostgreSQL has answered it is Redis alone, and before Redis has answered the machine.
    Units: an offset is what must be added to `ticks` for seconds since 1970.
    Cost: calling it asks no server.
    """

    def __init__(self, wall: Callable[[], datetime] = utc_now, ticks: Callable[[], float] = ticks) -> None:
        self._wall = wall
        self.ticks = ticks
        self._heard: dict[str, float] = {}
        self._own = self._offset = self._read_wall()
        # How often the time was set by more than `SKEW_SECONDS`, and when it last was.
        self.steps = 0
        self._stepped_at: float | None = None

    def __call__(self) -> datetime:
        """Return the time."""
        return datetime.fromtimestamp(self.ticks() + self._offset, UTC)

    def hear(self, name: str, seconds: float, asked_at: float) -> None:
        """Take note of what a server's clock showed at some moment between `asked_at` and now.

        What does not contradict what was known changes nothing, so that a slow answer makes no clock worse.
        """
        low, high = seconds - self.ticks(), seconds - asked_at
        known = self._heard.get(name)
        self._heard[name] = (low + high) / 2 if known is None else min(max(known, low), high)
        self._agree()

    def forget_but(self, names: Iterable[str]) -> None:
        """Forget servers that are none any more."""
        kept = set(names)
        if self._heard.keys() - kept:
            self._heard = {name: offset for name, offset in self._heard.items() if name in kept}
            self._agree()

    @property
    def heard(self) -> frozenset[str]:
        """Name the servers that have shown their time."""
        return frozenset(self._heard)

    def skews(self) -> dict[str, float]:
        """Say by how many seconds each clock is ahead of the time that was agreed on, or behind it."""
        return {name: offset - self._offset for name, offset in (*self._heard.items(), (OWN, self._own))}

    def steady_for(self) -> float:
        """Count the seconds since the time was last set; infinite when it never was."""
        return float("inf") if self._stepped_at is None else self.ticks() - self._stepped_at

    def _agree(self) -> None:
        self._own = self._read_wall()
        votes = [*self._heard.values()]
        if len(votes) % 2 == 0:
            votes.append(self._own)
        agreed = sorted(votes)[len(votes) // 2]
        moved, self._offset = agreed - self._offset, agreed
        if abs(moved) > SKEW_SECONDS:
            self.steps += 1
            self._stepped_at = self.ticks()
            say("clock_set", level=logging.WARNING, by_seconds=round(moved, 3))

    def _read_wall(self) -> float:
        return self._wall().timestamp() - self.ticks()


class Timekeeper:
    """Ask the servers for their time, now and then, and report how far clocks differ.

    Metrics: `huoma_clock_skew_seconds`.
    """

    def __init__(self, clock: Clock, database: Database, redis: Redis) -> None:
        self._clock = clock
        self._database = database
        self._redis = redis
        self._postgresql_at: float | None = None
        self._apart: frozenset[str] = frozenset()
        # True once Redis has answered.
        self.asked = False

    async def look(self) -> None:
        """Ask Redis, and PostgreSQL when it was not asked lately; a server that is away keeps the time it last showed.

        Cost: one round trip to each master, all at once; one query each half minute.
        Raises: CountersAway — no Redis answers.
        """
        now = self._clock.ticks()
        asking = [self._ask_redis()]
        if self._postgresql_at is None or now - self._postgresql_at >= POSTGRESQL_EVERY_SECONDS:
            self._postgresql_at = now
            asking.append(self._ask_postgresql())
        try:
            # Both, whatever one of them meets.
            for met in await asyncio.gather(*asking, return_exceptions=True):
                if isinstance(met, BaseException):
                    raise met
        finally:
            self._report()

    async def keep(self) -> None:
        """Go on asking until cancelled; whoever starts this has looked once."""
        while True:
            await asyncio.sleep(REDIS_EVERY_SECONDS if self.asked else _AGAIN_SECONDS)
            with suppress(CountersAway):
                await self.look()

    def skews(self) -> dict[str, float]:
        """Say by how many seconds each kind of clock differs from the time that is used; of several the worst."""
        worst: dict[str, float] = {}
        for name, skew in self._clock.skews().items():
            kind = name.partition(" ")[0]
            worst[kind] = max(worst.get(kind, 0.0), skew, key=abs)
        return worst

    async def _ask_redis(self) -> None:
        names = await clocks.ask(self._redis, self._clock)
        self.asked = True
        self._clock.forget_but((*names, POSTGRESQL))

    async def _ask_postgresql(self) -> None:
        # While it is away, it is the others that are asked.
        with suppress(StoreAway):
            async with self._database.reading() as connection:
                asked_at = self._clock.ticks()
                shown = await now(connection)
                self._clock.hear(POSTGRESQL, shown.timestamp(), asked_at)

    def _report(self) -> None:
        skews = self._clock.skews()
        for kind, skew in self.skews().items():
            SKEW.labels(kind).set(skew)
        apart = frozenset(name for name, skew in skews.items() if abs(skew) > SKEW_SECONDS)
        for name in sorted(apart - self._apart):
            say("clock_differs", level=logging.WARNING, clock=name, by_seconds=round(skews[name], 3))
        self._apart = apart
