"""Recall what a slug stands for and what its code says, from this process's memory; read the record when it must.

The memory is bounded and never trusted: the counters judge every claim by the version in force, and answer `stale`.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from redis.asyncio import Redis
from sqlalchemy.exc import NoResultFound

from app.counters import counts, versions
from app.counters.claims import BlockReply
from app.counters.counts import Places
from app.domain.code import AccountId, Code, CodeId, Slug, TargetId, WorkspaceId
from app.domain.elapsing import STEP, lasts
from app.domain.errors import StoreAway
from app.domain.event import EventKind
from app.domain.openings import Shortage, opens_at, shortage_of
from app.domain.rest import Rest
from app.domain.roster import Roster
from app.domain.rotation import Proposal, Verdict, propose, terms_of
from app.services.draining import Drain
from app.services.eras import adopt_eras
from app.services.finding import Memory, SlugFinder
from app.store import rests
from app.store.database import Database, Writing
from app.store.records import adds_of, lock_position
from app.store.snapshots import Printed, Totals, find_workspace, read_code, read_totals, share_version
from app.telemetry import WOKEN

# Seats given since the last record are lost with the counters. Numbers begin at the clock, in ms, and well above every
# number on record: so that no token made before a loss can name a seat given after it, on record or not.
SEAT_GAP: Final = 100_000
OPENING_KEPT: Final = timedelta(seconds=60)
# Each attempt that fails means that an edit or a rebuild came between reading and publishing.
_ATTEMPTS: Final = 20
_STALE: Final = Verdict.STALE
# What a scan waits for a code to be read. Counters that were lost wait for the drain, which may take long; who asked is
# then told to come again, and finds it done.
PATIENCE_SECONDS: Final = 5.0


class CodeGone(Exception):  # noqa: N818  # It is gone from the record, which is no fault of ours.
    """Say that the record has no such code, and that this process does not remember it."""


_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Entry:
    """Hold one version of a code with what this process believes of its room."""

    def __init__(self, code: Code, roster: Roster) -> None:
        self.code = code
        self.roster = roster
        self.outdated = False
        # Outdated since another version is in force, and not since counters were lost.
        self.superseded = False
        # The slugs that stand for it, by channel: none once it is closed.
        self.prints = {} if code.closed else {0: code.slug, **{n: one.slug for n, one in code.channels.items()}}
        self.terms = terms_of(code)
        # How a visitor is counted for whom nobody has room.
        self.turned = (EventKind.FALLBACK if code.fallback else EventKind.FULL).value
        self._proposal: Proposal | None = None
        self._proposed_from = _LONG_AGO
        self._shortage: tuple[Shortage, datetime | None, datetime] | None = None

    def stands(self, printed: Printed) -> bool:
        """Check that a slug stands for this code, as far as this version knows.

        PostgreSQL may have lost what made the slug, and have given it to another code.
        """
        return self.prints.get(printed.channel) == printed.slug

    def proposal(self, now: datetime) -> Proposal:
        """Offer the same proposal until its time is up, something was learned, or the clock was set back."""
        kept = self._proposal
        if kept is None or now < self._proposed_from or (kept.valid_until is not None and now >= kept.valid_until):
            kept = self._proposal = propose(self.roster, now)
            self._proposed_from = now - STEP
        return kept

    def shortage(self, now: datetime) -> tuple[Shortage, datetime | None]:
        """Return why no target may be given, when the counters have just said so, and when one next may."""
        why, kept = shortage_of(self.code, self.proposal(now).why), self._shortage
        if kept is None or kept[0] is not why or not lasts(kept[2], now, OPENING_KEPT) or (kept[1] and now >= kept[1]):
            kept = self._shortage = why, opens_at(self.code, why, now), now
        return kept[:2]

    def learn(self, proposal: Proposal | None, reply: BlockReply) -> None:
        """Take in what the counters told along with their verdicts."""
        # A version is in force for all of them or for none.
        if reply.lost or reply.resync or (reply.answers and reply.answers[0] is _STALE):
            self.outdated = True
            self.superseded = self.superseded or not (reply.lost or reply.resync)
        if reply.reopened:
            self.roster.reopened(reply.reopened, reply.seq)
            self._proposal = None
        if reply.mark and reply.mark != self.roster.mark:
            self.roster.given_back(reply.mark, reply.freed)
            self._proposal = None
        if proposal is not None and (reply.full or reply.capped):
            for i in reply.full:
                self.roster.found_full(proposal.candidates[i].target)
            self.roster.found_capped(proposal.candidates[i].target for i in reply.capped)
            self._proposal = None


@dataclass(frozen=True, slots=True)
class _Recorded:
    """Hold what the record says of a code that is not counted.

    Shapes: `rest` only when it may be believed; `token` names the rest that is there, believed or not.
    """

    code: Code
    totals: Totals
    adds: Mapping[int, Mapping[AccountId, int]]
    rest: Rest | None
    token: str | None


class Recaller:
    """Find slugs and codes for scans; publish what an edit has changed."""

    def __init__(
        self, database: Database, redis: Redis, drain: Drain, clock: Callable[[], datetime], *, slugs: int, codes: int
    ) -> None:
        self._database = database
        self._redis = redis
        self._drain = drain
        self._clock = clock
        self._slugs = SlugFinder(database, redis, clock, size=slugs)
        self._codes: Memory[CodeId, Entry] = Memory(codes, self._read_entry)

    async def slug(self, slug: Slug) -> Printed | None:
        """Tell what a slug stands for; None when it was never given.

        Cost: nothing for a known slug; else one Redis round trip, shared; and one query when the sieve lets it pass
        or is away.
        Raises: StoreAway.
        """
        return self._slugs.peek(slug) or await self._slugs.find(slug)

    async def slug_anew(self, slug: Slug) -> Printed | None:
        """Return what a slug stands for now, whatever this process remembers of it. Cost, Raises: as `slug`."""
        return await self._slugs.find(slug)

    def known(self, slug: Slug) -> tuple[Printed, Entry] | None:
        """Recall a slug and its code at once; None when another has to be asked, or the code is no longer its."""
        printed = self._slugs.peek(slug)
        entry = self._codes.peek(printed.code) if printed else None
        return (printed, entry) if printed and entry and not entry.outdated and entry.stands(printed) else None

    async def entry(self, code: CodeId) -> Entry:
        """Recall a code as this process last read it.

        Raises: StoreAway, CountersAway — when it was never read, or has to be read again; CodeGone.
        """
        kept = self._codes.peek(code)
        return kept if kept is not None and not kept.outdated else await self._read_soon(code)

    async def current(self, entry: Entry) -> Entry:
        """Return the version of a code that is in force, for an answer that no claim checks.

        Cost: one round trip, when nothing changed. Raises: as `entry`.
        """
        found = await versions.in_force(self._redis, entry.code.workspace_id, entry.code.id)
        return entry if found.state == str(entry.code.version) else await self.reread(entry)

    def remembered(self, code: CodeId) -> Entry | None:
        """Recall a code without asking anybody, for when nobody can be asked."""
        return self._codes.peek(code)

    async def reread(self, stale: Entry) -> Entry:
        """Read a code again because the counters judge by another version, unless that was done meanwhile."""
        kept = self._codes.peek(stale.code.id)
        if kept is not None and kept is not stale and not kept.outdated:
            return kept
        return await self._read_soon(stale.code.id)

    async def publish(self, code: CodeId) -> None:
        """Read and publish a code. Raises: StoreAway, CountersAway."""
        await self._codes.fetch(code)

    async def refresh(self, code: CodeId) -> None:
        """Read and publish an edited code if this process serves it; else its next scan does, wherever that is.

        Raises: StoreAway, CountersAway — the mark of the edit stands, so the next scan does the same.
        Cost: nothing for a code that is only being filled with targets.
        """
        if self._codes.peek(code) is not None:
            await self._codes.fetch(code)

    async def introduce(self, code: CodeId) -> None:
        """Publish a code that has just been made: nothing of it can be waiting to be recorded.

        Raises: StoreAway, CountersAway — the first scan publishes it, after recording all that waits.
        """
        await self._read_entry(code, new=True)

    async def _read_soon(self, code: CodeId) -> Entry:
        """Read a code, and go on reading it when that takes too long for who asks. Raises: StoreAway, CountersAway."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._codes.fetch(code)
        except TimeoutError:
            raise StoreAway from None

    async def _read_entry(self, code_id: CodeId, *, new: bool = False) -> Entry:
        try:
            return await self._read_and_publish(code_id, new=new)
        except NoResultFound:
            # PostgreSQL came back without a code that this process knows: it is over. A process that starts later
            # finds no such slug.
            kept = self._codes.peek(code_id)
            if kept is None:
                raise CodeGone from None
            return Entry(replace(kept.code, closed=True), kept.roster)

    async def _read_and_publish(self, code_id: CodeId, *, new: bool) -> Entry:
        workspace = await self._workspace_of(code_id)
        # Reading waits for an edit that is under way, with a connection in hand.
        async with self._database.code_turn(workspace):
            for _ in range(_ATTEMPTS):
                expected = await versions.in_force(self._redis, workspace, code_id)
                if expected.counted:
                    entry = await self._read_again(code_id, expected)
                else:
                    entry = await self._begin(workspace, code_id, expected, new=new)
                if entry is not None:
                    return entry
        raise StoreAway

    async def _read_again(self, code_id: CodeId, expected: versions.InForce) -> Entry | None:
        """Read a code that is counted, and put what was read in force; None when somebody else was quicker."""
        async with self._database.writing() as connection:
            code = await read_code(connection, code_id)
            totals = await read_totals(connection, code_id, only_members=True)
        if await self._adopted(code, expected):
            return None
        # A target the counters know stays known until they are lost, and then another state is expected than ours.
        known = await counts.known(self._redis, code.workspace_id, code.id) if totals.members else frozenset()
        return await self._publish(code, expected, _born(totals, known))

    async def _begin(
        self, workspace: WorkspaceId, code_id: CodeId, expected: versions.InForce, *, new: bool
    ) -> Entry | None:
        """Wake a code that rests, or count one from the record: new, or lost. None when somebody else was quicker."""
        if not new:
            async with self._database.writing() as connection:
                read = await self._recorded(connection, code_id, expected, complete=False)
            if read is not None:
                return await self._put(read, expected)
            # Whoever woke it a moment ago has dropped its rest, and nothing is lost.
            if await versions.in_force(self._redis, workspace, code_id) != expected:
                return None
            # Totals are the whole truth only when nothing waits to be recorded.
            await self._drain.all_of(workspace)
        async with self._database.writing() as connection:
            if not (new and expected.epoch):
                # A drain that read the stream before it was lost must be done first.
                await lock_position(connection, workspace, wait=True)
            read = await self._recorded(connection, code_id, expected, complete=True)
        return None if read is None else await self._put(read, expected)

    async def _recorded(
        self, connection: Writing, code_id: CodeId, expected: versions.InForce, *, complete: bool
    ) -> _Recorded | None:
        """Read all that counters need to begin; None when that needs a `complete` record: all that happened."""
        kept = await rests.find(connection, code_id)
        rest = kept
        if kept is None or kept.epoch != expected.epoch or expected.dropped or not (kept.complete or complete):
            rest = None
        if rest is None and not complete:
            return None
        code = await read_code(connection, code_id)
        totals = await read_totals(connection, code_id)
        if rest and not rest.covers(totals.seats, {target: taken for target, (taken, _) in totals.given.items()}):
            if not complete:
                return None
            rest = None
        adds = {}
        if not expected.epoch:
            span = code.cap_days.span(self._clock())
            adds = {when: await adds_of(connection, code.workspace_id, when) for when in {span[0] - 1, *span}}
        return _Recorded(code, totals, adds, rest, kept.token if kept else None)

    async def _put(self, read: _Recorded, expected: versions.InForce) -> Entry | None:
        """Put in force what was read, and drop the rest of the code; None when something happened since."""
        code = read.code
        if await self._adopted(code, expected):
            return None
        if read.rest is not None:
            floor = _born(read.totals, read.rest.taken())
        else:
            floor = {target: Places(taken, held) for target, (taken, held) in read.totals.given.items()}
        async with self._database.writing() as tx:
            # Shared until it is in force, so that it cannot be edited, nor come and go to rest, since it was read.
            if (await share_version(tx, code.id), await rests.lock(tx, code.id)) != (code.version, read.token):
                return None
            entry = await self._publish(code, expected, floor, read)
            if entry is not None and read.token is not None:
                await rests.forget(tx, code.id)
        if entry is not None and read.rest is not None:
            WOKEN.inc()
        return entry

    async def _adopted(self, code: Code, expected: versions.InForce) -> bool:
        """Put eras on record whose adds a cap must count; true when there were any, and the code must be read again."""
        if expected.eras <= code.cap_days.eras:
            return False
        await adopt_eras(self._database, self._redis, code.workspace_id, self._clock)
        return True

    async def _publish(
        self,
        code: Code,
        expected: versions.InForce,
        floor: Mapping[TargetId, Places],
        read: _Recorded | None = None,
    ) -> Entry | None:
        now = self._clock()
        publication = versions.Publication(
            code.id,
            code.version,
            floor,
            max(read.totals.seats + SEAT_GAP, int(now.timestamp() * 1000)) if read else 0,
            code.cap_days.span(now),
            read.adds if read else {},
            accounts=bool(code.accounts),
            rest=read.rest if read else None,
        )
        published = await versions.publish(self._redis, code.workspace_id, publication, expected=expected, now=now)
        if published is None:
            return None
        return Entry(code, Roster(code, published.taken, published.seq, published.spent))

    async def _workspace_of(self, code: CodeId) -> WorkspaceId:
        kept = self._codes.peek(code)
        if kept is not None:
            return kept.code.workspace_id
        async with self._database.reading() as connection:
            return await find_workspace(connection, code)


def _born(totals: Totals, known: Collection[TargetId]) -> dict[TargetId, Places]:
    """Name the targets that had members when they were made, and that the counters have not heard of."""
    return {target: Places(inside, 0) for target, inside in totals.members.items() if target not in known}
