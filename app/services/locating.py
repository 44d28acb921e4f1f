"""Find the code that a slug stands for now, also where this process remembers another.

What is remembered of a slug is compared with the code it names. A code that is closed or gone, or that prints the slug
no more, has the slug looked up again: PostgreSQL may have lost that code, and have given the slug to another.
"""

from app.domain.code import CodeId, Fallback, Slug
from app.domain.errors import CountersAway, StoreAway
from app.domain.outcome import Closed, Unavailable, Unknown
from app.services.attempts import Moved, Way
from app.services.recalling import CodeGone, Entry, Recaller
from app.store.snapshots import Printed

Located = tuple[Printed, Entry]
Nowhere = Closed | Unknown | Unavailable


class Locator:
    """Find codes by the slugs that visitors scan.

    Cost: nothing for what this process knows; one Redis round trip, shared, for a print that is over.
    """

    def __init__(self, recaller: Recaller) -> None:
        self._recaller = recaller

    async def locate(self, slug: Slug) -> Located | Nowhere:
        """Find an open code, or what to answer instead."""
        try:
            printed = await self._recaller.slug(slug)
            if printed is None:
                return Unknown()
            entry = await self.entry(printed.code)
        except CodeGone:
            return await self.locate_anew(slug, None)
        except (CountersAway, StoreAway):
            return Unavailable()
        return (printed, entry) if entry.stands(printed) else await self.locate_anew(slug, (printed, entry))

    async def locate_anew(self, slug: Slug, before: Located | None) -> Located | Nowhere:
        """Look a slug up again that this process remembers; `before` is what it remembers.

        Cost: one Redis round trip, shared; one query a minute for a slug that stands for the same as before.
        """
        try:
            found = await self._recaller.slug_anew(slug)
            if found is None:
                return Closed()
            same = before is not None and before[0].code == found.code
            entry = before[1] if before is not None and same else await self.entry(found.code)
        except CodeGone:
            return Closed()
        except (CountersAway, StoreAway):
            # A print that is over says so. One that is another's by now may not be shown from memory.
            over = before is not None and before[0].channel not in before[1].prints
            return Closed() if over else Unavailable()
        return Closed() if entry.code.closed else (found, entry)

    async def entry(self, code: CodeId) -> Entry:
        """Recall a code, as it was last known when no server can be asked.

        Raises: CountersAway, StoreAway, CodeGone.
        """
        try:
            return await self._recaller.entry(code)
        except (CountersAway, StoreAway):
            remembered = self._recaller.remembered(code)
            if remembered is None:
                raise
            return remembered

    async def reread(self, way: Way, entry: Entry) -> Entry:
        """Read a code again that the counters judge by another version.

        Raises: CountersAway, StoreAway; Moved — the slug by which the visitor came stands for it no more.
        """
        entry = await self._recaller.reread(entry)
        if way.printed is not None and not entry.stands(way.printed):
            raise Moved
        return entry

    async def fallback(self, slug: Slug) -> Fallback | None:
        """Return what a code shows when no target has room; None when it names nothing, or cannot be read.

        Cost: one round trip, since no claim checks the version.
        """
        found = await self.locate(slug)
        if not isinstance(found, tuple):
            return None
        printed, entry = found
        try:
            entry = await self._recaller.current(entry)
        except (CountersAway, StoreAway):
            return entry.code.fallback
        if not entry.stands(printed):
            found = await self.locate_anew(slug, (printed, entry))
            return found[1].code.fallback if isinstance(found, tuple) else None
        return entry.code.fallback
