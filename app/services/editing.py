"""Edit live codes (活码): the one protocol by which anything that a scan depends on may change.

Lock the code's row, mark it in Redis, write, commit, publish. The mark makes every process read the record before it
gives another place, and whoever reads waits for the lock: so the next scan sees the edit, and none sees half of it.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from redis.asyncio import Redis

from app.counters import sieve, versions
from app.domain import ids, limits
from app.domain.code import SLUG_ALPHABET, CodeId, Slug, WorkspaceId, check_slug
from app.domain.errors import CountersAway, Refusal, StoreAway
from app.services import sifting
from app.services.once import Once
from app.store import codes
from app.store.codes import CodeRecord
from app.store.database import Database, Writing
from app.telemetry import say

# 30^7 slugs: with a million codes printed, the chance to miss this often in a row is 10^-21.
SLUG_TRIES: Final = 5

# The versions that a caller has seen and agrees to change (If-Match); None is any.
Versions = frozenset[int] | None


class Publisher(Protocol):
    """Put a code in force."""

    async def introduce(self, code: CodeId) -> None:
        """Publish a code that has just been made.

        Raises: CountersAway, StoreAway — its first scan does the same.
        """

    async def publish(self, code: CodeId) -> None:
        """Put a code in force now. Raises: CountersAway, StoreAway."""

    async def refresh(self, code: CodeId) -> None:
        """Read a code and publish it.

        Raises: CountersAway, StoreAway — the next scan does the same.
        """


@dataclass(frozen=True, slots=True)
class Edit:
    """Hold an edit that is under way: its transaction, and the locked code as it will be, one version on."""

    tx: Writing
    code: CodeRecord


class Editing:
    """Open edits, one at a time for each code."""

    def __init__(self, database: Database, redis: Redis, publisher: Publisher) -> None:
        self.database = database
        self.redis = redis
        self._publisher = publisher

    @asynccontextmanager
    async def edit(
        self,
        workspace: WorkspaceId,
        lock: Callable[[Writing], Awaitable[CodeRecord | None]],
        now: datetime,
        *,
        seen: Versions = None,
        values: Mapping[str, object] | None = None,
        once: Once[Any] | None = None,
    ) -> AsyncIterator[Edit]:
        """Open an edit of the code that `lock` locks, and publish it when the block has ended well.

        Raises: Refusal `not_found`, `closed`, `changed_meanwhile`, `too_many_edits`; CountersAway, StoreAway —
        nothing was changed.
        Cost: two statements and two round trips to Redis beside what the block does, and one reading of the code.
        """
        async with self.database.editing(workspace) as tx:
            if once is not None:
                await once.begin(tx)
            code = open_code(await lock(tx))
            check_seen(code.version, seen)
            await versions.mark(self.redis, code.workspace_id, code.id)
            edited = await codes.bump(tx, code, now, values)
            yield Edit(tx, edited)
        await self.refresh(code.id)

    async def refresh(self, code: CodeId) -> None:
        """Put a code that was edited in force, or leave that to its next scan."""
        await self._try(self._publisher.refresh, code)

    async def publish(self, code: CodeId) -> None:
        """Put a code in force now, because what comes next depends on it.

        Raises: CountersAway, StoreAway.
        """
        await self._publisher.publish(code)

    async def introduce(self, code: CodeId) -> None:
        """Put a new code in force."""
        await self._try(self._publisher.introduce, code)

    async def print_slug(self, tx: Writing, slug: Slug, workspace: WorkspaceId, code: CodeId) -> None:
        """Let scans know a slug, once it is written and before its transaction ends.

        PostgreSQL may have lost another code of this slug, which processes still remember. They read that code anew
        before they answer another scan of the slug.
        Raises: as `sifting.print_slug`.
        """
        await sifting.print_slug(tx, self.redis, slug)
        former = await sieve.owner(self.redis, slug)
        if former is not None:
            await versions.mark_all(self.redis, former[0], former[1:])
        # Noted last: until the former code is marked, it must be found by the next attempt.
        await sieve.own(self.redis, slug, workspace, code)

    async def announce_slug(self) -> None:
        """Make processes that remember a chosen slug as unknown ask again."""
        # Should Redis be away they cannot serve it anyhow, and the slug is there: the request must not fail.
        try:
            await sieve.announce(self.redis)
        except CountersAway as error:
            say("chosen_slug_not_announced", error=error)

    async def _try(self, publish: Callable[[CodeId], Awaitable[None]], code: CodeId) -> None:
        # What was written is kept, and no process knows better: the first scan that can will publish it.
        try:
            await publish(code)
        except (CountersAway, StoreAway) as error:
            say("publish_left_to_next_scan", code=code, error=error)


def make_slug() -> Slug:
    """Draw a slug that nobody can guess from another."""
    return Slug("".join(secrets.choice(SLUG_ALPHABET) for _ in range(limits.SLUG_LENGTH)))


def chosen_slug(text: str) -> Slug:
    """Accept a slug as `check_slug` does, and name the field when it is refused."""
    try:
        return check_slug(text)
    except Refusal as refusal:
        raise Refusal(refusal.code, refusal.detail, "slug") from None


def slug_taken() -> Refusal:
    """Refuse a slug that was ever given."""
    return Refusal("slug_taken", "This slug is or was in use. Choose another.", "slug")


def open_code(code: CodeRecord | None) -> CodeRecord:
    """Insist on a code that is there and open.

    Raises: Refusal `not_found` — unknown, or of another workspace, which nobody can tell apart; `closed`.
    """
    if code is None:
        raise not_found()
    if code.closed_at is not None:
        raise Refusal("closed", "This code was closed; it cannot be changed or used any more.")
    return code


def not_found() -> Refusal:
    """Refuse what is not there, and what is not the caller's, in the same words."""
    return Refusal("not_found", "There is no such thing in this workspace.")


def check_seen(version: int, seen: Versions) -> None:
    """Insist that a caller has seen the present version, if he said which one he has seen.

    Raises: Refusal `changed_meanwhile`.
    """
    if seen is not None and version not in seen:
        raise Refusal("changed_meanwhile", "It was changed since you read it; read it again and repeat your change.")


def new_id(now: datetime) -> str:
    """Make an id."""
    return ids.make_id(now, secrets.token_bytes(ids.ENTROPY_BYTES))
