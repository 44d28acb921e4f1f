"""Find what a slug stands for, in whatever case it was typed: in memory, behind the sieve, in the record."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from redis.asyncio import Redis

from app.counters.sieve import Sifted
from app.domain.code import Slug, fold_slug
from app.domain.elapsing import lasts
from app.domain.errors import CountersAway, StoreAway
from app.services.sifting import Sifter
from app.store.database import Database
from app.store.snapshots import Printed, find_slug

LOOKED_UP_FOR: Final = timedelta(seconds=60)
LOOKED_UP_MAX: Final = 10_000
# Slugs that the record is asked for at once, and that may wait to be: with no sieve, everything that is tried out.
LOOKUPS: Final = 2
LOOKUPS_WAITING: Final = 1_000
SPELLINGS_MAX: Final = 10_000

K = TypeVar("K")
V = TypeVar("V")


class Memory(Generic[K, V]):
    """Keep the last `size` things used, by key; each is fetched once however many ask for it together."""

    def __init__(self, size: int, fetch: Callable[[K], Awaitable[V]]) -> None:
        self._size = size
        self._fetch = fetch
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._under_way: dict[K, asyncio.Task[V]] = {}

    def peek(self, key: K) -> V | None:
        """Answer at once with what is kept, or None."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    async def fetch(self, key: K) -> V:
        """Fetch anew, together with everybody else who is waiting for the same key."""
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._fetch_and_keep(key))
            # Told to whoever still waits, and if nobody does, to nobody.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._under_way[key] = task
        # One visitor who hangs up must not take the answer away from the others.
        return await asyncio.shield(task)

    async def _fetch_and_keep(self, key: K) -> V:
        try:
            value = await self._fetch(key)
        finally:
            del self._under_way[key]
        if value is not None:
            self.keep(key, value)
        return value

    def keep(self, key: K, value: V) -> None:
        """Keep something as the last used."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def drop(self, key: K) -> None:
        """Forget something, if it is kept."""
        self._kept.pop(key, None)


@dataclass(frozen=True, slots=True)
class LookedUp:
    """Remember what the record said of a slug that passes the sieve, under a mark of it; `found` None for nothing.

    Units: trusted for `LOOKED_UP_FOR` after `since` (aware UTC) only: Redis may have been away when a slug was to be
    announced.
    """

    mark: str
    since: datetime
    found: Printed | None


class SlugFinder:
    """Find slugs. The exact spelling wins; any other is read as all spellings agree."""

    def __init__(self, database: Database, redis: Redis, clock: Callable[[], datetime], *, size: int) -> None:
        self._database = database
        self._clock = clock
        self._exact: Memory[Slug, Printed | None] = Memory(size, self._find)
        # Slugs as people spell them, apart from the others: there are many spellings of each.
        self._spelt: Memory[Slug, Printed | None] = Memory(SPELLINGS_MAX, self._find)
        # Apart from the others, so that no number of made-up slugs can push a real one out.
        self._looked_up: OrderedDict[Slug, LookedUp] = OrderedDict()
        self._sifter = Sifter(redis)
        self._lookups = asyncio.Semaphore(LOOKUPS)
        self._looking = 0

    def peek(self, slug: Slug) -> Printed | None:
        """Return what is known at once; None when it has to be found."""
        return self._exact.peek(slug) or self._spelt.peek(slug)

    async def find(self, slug: Slug) -> Printed | None:
        """Find a slug, also one that is known; None when the record has none. Cost, Raises: as `Recaller.slug`."""
        return await self._exact.fetch(slug) or self._spelt.peek(slug)

    async def _find(self, slug: Slug) -> Printed | None:
        # Asked before the record is: a slug made in between changes the mark.
        try:
            sifted = await self._sift(slug)
        except CountersAway:
            # In a cluster another master may serve the code of this slug. No mark says when another slug is made.
            sifted = None
        found = None
        if sifted is None or sifted.may_be:
            found = await self._recorded(slug, sifted.mark if sifted else None)
        if found is None or found.slug == slug:
            # What other spellings were read as may be over: the record has just said so, or has this one.
            self._spelt.drop(slug)
            return found
        self._exact.drop(slug)
        self._spelt.keep(slug, found)
        return None

    async def _recorded(self, slug: Slug, mark: str | None) -> Printed | None:
        """Return what the record says of a slug, or has said under the same mark; without one, it is asked."""
        kept = self._looked_up.get(slug)
        if kept and kept.mark == mark and lasts(kept.since, self._clock(), LOOKED_UP_FOR):
            return kept.found
        found = await self._look_up(slug)
        if mark is not None:
            self._looked_up[slug] = LookedUp(mark, self._clock(), found)
            self._looked_up.move_to_end(slug)
            if len(self._looked_up) > LOOKED_UP_MAX:
                self._looked_up.popitem(last=False)
        return found

    async def _sift(self, slug: Slug) -> Sifted:
        """Ask the sieve about a slug as it was spelt, and as every spelling agrees, in one round trip."""
        folded = Slug(fold_slug(slug))
        if folded == slug:
            return await self._sifter.ask(slug)
        exact, agreed = await asyncio.gather(self._sifter.ask(slug), self._sifter.ask(folded))
        return agreed if agreed.may_be else exact

    async def _look_up(self, slug: Slug) -> Printed | None:
        """Ask the record for a slug, not for too many at once: what edits and reads codes needs it, too."""
        if self._looking >= LOOKUPS_WAITING:
            raise StoreAway
        self._looking += 1
        try:
            async with self._lookups, self._database.reading() as connection:
                return await find_slug(connection, slug)
        finally:
            self._looking -= 1
