"""Tell slugs that were never made from those that may have been (筛), without asking the record.

A slug is put into the sieve by the transaction that makes it, before it ends: what cannot be put in is not made.
"""

import asyncio
import secrets
from collections.abc import Iterable
from typing import Final

from redis.asyncio import Redis

from app.counters import sieve
from app.counters.sieve import Sifted
from app.domain.code import Slug, fold_slug
from app.domain.errors import CountersAway
from app.domain.sieve import size_for
from app.store import slugs
from app.store.database import Database, Writing
from app.telemetry import say

# Slugs in one round trip: asked for together; put into a new sieve together, some 3 ms of Redis.
TOGETHER: Final = 256
PUT: Final = 1_000
# More than this many waiting means that Redis is not answering, or somebody is trying slugs out.
WAITING_MAX: Final = 4_096


class Sifter:
    """Ask the sieve of everything that arrived meanwhile in one round trip."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: list[tuple[Slug, asyncio.Future[Sifted]]] = []
        self._running: asyncio.Task[None] | None = None

    async def ask(self, slug: Slug) -> Sifted:
        """Tell whether a slug may have been made. Cost: one round trip, shared. Raises: CountersAway."""
        if len(self._waiting) >= WAITING_MAX:
            raise CountersAway
        answer: asyncio.Future[Sifted] = asyncio.get_running_loop().create_future()
        self._waiting.append((slug, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                some, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
                try:
                    told = await sieve.sift(self._redis, [slug for slug, _ in some])
                except Exception as error:  # noqa: BLE001  # Those who wait are told, and they say it.
                    # Whoever queued meanwhile would only wait for the same silence.
                    for _, answer in some + self._waiting:
                        if not answer.done():
                            answer.set_exception(error)
                    self._waiting = []
                else:
                    for (_, answer), one in zip(some, told, strict=True):
                        if not answer.done():
                            answer.set_result(one)
        finally:
            self._running = None


async def print_slug(tx: Writing, redis: Redis, slug: Slug) -> None:
    """Put a slug into the sieve, in the transaction that makes it and before it ends.

    Raises: CountersAway — nothing may be made then, since its print would be told to be unknown; StoreAway.
    """
    # Who makes a new sieve has begun it before he waits for this lock: either he reads the slug, or it is put in there.
    await slugs.make(tx)
    await sieve.put(redis, forms([slug]))


def forms(some: Iterable[Slug]) -> list[Slug]:
    """List slugs as they are printed, and as all spellings of them agree where that differs.

    Both are needed: older versions ask about, and put in, what is printed alone.
    """
    return [form for slug in some for form in dict.fromkeys((slug, Slug(fold_slug(slug))))]


class SieveMaker:
    """Make a sieve where there is none to be believed, and a larger one when it is overfull.

    Several processes may try: one does it.
    """

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis
        self._begun = False

    async def keep(self) -> bool:
        """Make a sieve if one is wanted, and once after each start of a process, whatever older versions did.

        Tell whether one was made.
        Cost: one round trip and one command when none is wanted; else the reading of all slugs, some 300,000 a second.
        Raises: StoreAway, CountersAway — the sieve that was there stays.
        """
        if self._begun and not await sieve.wanted(self._redis):
            return False
        self._begun = True
        return await self.make()

    async def make(self) -> bool:
        """Make a new sieve; False when somebody else does. Raises: as `keep`."""
        token, size = secrets.token_hex(8), size_for(await slugs.count(self._database))
        if not await sieve.begin(self._redis, token, size):
            return False
        async with self._database.writing() as tx:
            await slugs.made(tx)
        found = 0
        async for page in slugs.pages(self._database):
            spelt = forms(page)
            for start in range(0, len(spelt), PUT):
                if not await sieve.put(self._redis, spelt[start : start + PUT], token):
                    return False
            found += len(spelt)
        if not await sieve.place(self._redis, token, found):
            return False
        say("sieve_made", slugs=found, size=size)
        return True
