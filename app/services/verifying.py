"""Prove that counters and record agree (核验), or name every difference; whatever goes wrong is named, too."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from redis.asyncio import Redis

from app.counters import audit, counts, keys, sieve, stream, versions
from app.counters.audit import Snapshot
from app.domain.cap_days import date_of_day
from app.domain.code import CodeId, Slug, TargetId, WorkspaceId
from app.domain.errors import CountersAway, StoreAway
from app.domain.event import EventKind
from app.domain.pseudonym import Pseudonyms
from app.domain.seat import Seat
from app.domain.tally import fold
from app.services.comparing import NO_CODE, NO_TARGET, Difference, Recorded, compare, trouble
from app.services.draining import Drain
from app.services.lasting import Lasting
from app.services.seen_seats import SeenSeats
from app.services.sifting import forms
from app.store import records, rests, retellings, slugs
from app.store.database import Database, Writing
from app.store.snapshots import read_days, share_version
from app.telemetry import say

# Slugs asked of the filter in one round trip, some 3 ms of Redis.
_SLUGS: Final = 1_000
# Slugs that a line names.
_NAMED: Final = 10
# An event is dated by the process that gave the place, at most so long before the place goes back.
_HOLD_SPAN_MS: Final = 2 * 3_600_000

Progress = Callable[[str], None]


def _quiet(_: str) -> None:
    return None


@dataclass
class _Page:
    """Hold what was read of a page of codes; `open` has the open holds whose claims must be on record."""

    totals: Mapping[CodeId, Recorded]
    open: dict[tuple[CodeId, int], tuple[Seat, int]] = field(default_factory=dict)


class Verifier:
    """Compare raw events with all that was counted up from them, and the record with the counters.

    The former is one statement each, and locks nothing. For the latter the position is locked for a page of codes at a
    time: the record stands still meanwhile, and what the stream holds beyond it is added. The visitors of open
    holds are compared only with `pseudonyms`.
    """

    def __init__(
        self,
        database: Database,
        redis: Redis,
        drain: Drain,
        clock: Callable[[], datetime],
        pseudonyms: Pseudonyms | None,
    ) -> None:
        self._database = database
        self._redis = redis
        self._drain = drain
        self._clock = clock
        self._pseudonyms = pseudonyms
        self._seen = SeenSeats(database, redis, drain)
        self._lasting = Lasting(database, redis, clock)

    async def differences(self, workspace: WorkspaceId, progress: Progress = _quiet) -> AsyncIterator[Difference]:
        """Name every difference of a workspace as it is found; none proves that all agree.

        Never raises for what it meets: what cannot be compared is named, and the rest goes on.
        Cost: reads all events of the workspace some times over, and all its counters. Memory for a page of codes.
        """
        steps = (
            ("what waits to be recorded", self._waiting),
            ("totals and hours", self._against_events),
            ("adds of accounts", self._adds),
            ("codes", self._codes),
            ("seen seats", self._seen.differences),
            ("slugs", self._slugs),
            ("keys that must last", self._lasting.differences),
        )
        for what, step in steps:
            progress(f"{workspace}: {what}")
            try:
                async for difference in step(workspace):
                    yield difference
            except Exception as error:  # noqa: BLE001  # What cannot be compared is a difference, too.
                say("not_verified", level=logging.ERROR, workspace=workspace, what=what, why=type(error).__name__)
                yield trouble(workspace, f"{what} could not be compared", error)

    async def strays(self) -> AsyncIterator[Difference]:
        """Name what Redis counts and the record does not have at all: of lost codes, and of lost workspaces.

        Cost: two walks over all keys of Redis.
        """
        named: set[CodeId] = set()
        async for page in audit.strays(self._redis):
            async with self._database.reading() as connection:
                there = await records.codes_there(connection, [code for _, code in page])
            for workspace, code in page:
                if code not in there and code not in named:
                    named.add(code)
                    yield Difference(
                        workspace, code, NO_TARGET, "counters of a code that the record does not have", 1, 0
                    )
        async for difference in self._stray_streams():
            yield difference

    async def _stray_streams(self) -> AsyncIterator[Difference]:
        """Name what waits or stands aside of workspaces that the record does not have."""
        there = set(await self._drain.workspaces())
        async for page in audit.streams(self._redis):
            strange: list[WorkspaceId] = []
            if page - there:
                # One that was made since is there by now.
                strange = sorted(page - there - set(await self._drain.workspaces()))
            there |= page
            for workspace, one in zip(strange, await stream.waiting(self._redis, strange), strict=True):
                if one is not None and one.entries:
                    what = "entries that wait in a workspace that the record does not have"
                    yield Difference(workspace, NO_CODE, NO_TARGET, what, one.entries, 0)
                if one is not None and one.unreadable:
                    what = "entries set aside of a workspace that the record does not have"
                    yield Difference(workspace, NO_CODE, NO_TARGET, what, one.unreadable, 0)

    async def _waiting(self, workspace: WorkspaceId) -> AsyncIterator[Difference]:
        try:
            await self._drain.all_of(workspace)
        finally:
            [waiting] = await stream.waiting(self._redis, [workspace])
            if waiting is not None and waiting.unreadable:
                what = "entries that could not be recorded"
                yield Difference(workspace, NO_CODE, NO_TARGET, what, waiting.unreadable, 0)

    async def _against_events(self, workspace: WorkspaceId) -> AsyncIterator[Difference]:
        comparisons = (
            retellings.places_apart, retellings.seats_apart, retellings.homes_apart, retellings.kinds_apart,
            retellings.hours_apart, retellings.adds_apart, retellings.slugs_apart,
            retellings.revisions_apart,
        )  # fmt: skip
        for comparison in comparisons:
            async with self._database.reading() as connection:
                async for code, target, what, events, recorded in comparison(connection, workspace):
                    yield Difference(workspace, code, target, what, events, recorded, "events")

    async def _adds(self, workspace: WorkspaceId) -> AsyncIterator[Difference]:
        """Compare the adds of the days that a claim or a release may touch; older ones bind nothing."""
        async with self._database.writing() as connection:
            known = await read_days(connection, workspace)
            days = known.touched(self._clock())
            at = await records.lock_position(connection, workspace, wait=True)
            assert at is not None
            recorded = {day: await records.adds_of(connection, workspace, day) for day in days}
            counted = await audit.adds(self._redis, workspace, days, at.epoch, at.entry)
        if not counted.epoch:
            # Nothing is counted until the next scan brings it all back.
            return
        if lost := await versions.noted_eras(self._redis, workspace) - known.eras:
            what = "changes of the time zone that the record does not have"
            yield Difference(workspace, NO_CODE, NO_TARGET, what, len(lost), 0)
        moves = fold(counted.events).adds
        for day in days:
            expected = dict(recorded[day])
            for (account, when), moved in moves.items():
                if when == day:
                    expected[account] = expected.get(account, 0) + moved
            for account in sorted(expected.keys() | counted.adds[day].keys()):
                have, want = counted.adds[day].get(account, 0), expected.get(account, 0)
                if have != want:
                    what = f"adds of account {account} on {date_of_day(day)}"
                    yield Difference(workspace, NO_CODE, NO_TARGET, what, have, want)
            given_back, last = counted.freed[day]
            if given_back != last:
                what = f"last add given back on {date_of_day(day)} that processes can hear of"
                yield Difference(workspace, NO_CODE, NO_TARGET, what, last, given_back)

    async def _codes(self, workspace: WorkspaceId) -> AsyncIterator[Difference]:
        async for page in records.pages_of_codes(self._database, workspace):
            try:
                found = await self._compare(workspace, page)
            except (CountersAway, StoreAway):
                raise
            except Exception:  # noqa: BLE001  # One of them is at fault; the others can be compared.
                found = []
                for code in page:
                    found += await self._compare_one(workspace, code)
            for difference in found:
                yield difference

    async def _compare_one(self, workspace: WorkspaceId, code: CodeId) -> list[Difference]:
        try:
            return await self._compare(workspace, [code])
        except (CountersAway, StoreAway):
            raise
        except Exception as error:  # noqa: BLE001  # Named, and the others are compared.
            say("not_verified", level=logging.ERROR, workspace=workspace, code=code, why=type(error).__name__)
            return [trouble(workspace, "could not be compared", error, code)]

    async def _compare(self, workspace: WorkspaceId, codes: Sequence[CodeId]) -> list[Difference]:
        now_ms = int(self._clock().timestamp() * 1000)
        found: list[Difference] = []
        async with self._database.writing() as connection:
            at = await records.lock_position(connection, workspace, wait=True)
            assert at is not None
            page = _Page(await self._recorded(connection, workspace, codes))
            for code in codes:
                # A transaction that only waits for Redis is taken for idle, and loses its lock.
                version = await records.version_of(connection, code)
                counters = await self._counted(connection, workspace, at, code)
                if counters is None:
                    # Nothing is counted until the next scan rebuilds it, so nothing can disagree.
                    continue
                found += compare(workspace, code, page.totals[code], counters, now_ms)
                if counters.counted and counters.state[:1] != "!" and counters.state != str(version):
                    found += await self._in_force(connection, workspace, code)
                _note_open(page, code, counters)
            found += await self._claims(connection, workspace, page, now_ms)
        return found

    async def _recorded(
        self, connection: Writing, workspace: WorkspaceId, codes: Sequence[CodeId]
    ) -> dict[CodeId, Recorded]:
        totals: dict[CodeId, dict[TargetId, tuple[int, int, int]]] = {code: {} for code in codes}
        for target, (code, *three) in (await records.totals_of(connection, workspace, codes)).items():
            totals[code][target] = three[0], three[1], three[2]
        seats = await records.seats_of(connection, codes)
        return {code: Recorded(totals[code], seats.get(code, 0)) for code in codes}

    async def _counted(
        self, connection: Writing, workspace: WorkspaceId, at: records.Position, code: CodeId
    ) -> Snapshot | None:
        """Read a code's counters, in Redis or at rest; None when they are gone."""
        counted = await audit.snapshot(self._redis, workspace, code, at.epoch, at.entry)
        if counted.counted:
            return counted
        rest = await rests.find(connection, code)
        if rest is None or not rest.complete or rest.epoch != await stream.epoch_of(self._redis, workspace):
            return None
        # Asked again: the code may have been woken between the two, and what rested means nothing then.
        counted = await audit.snapshot(self._redis, workspace, code, at.epoch, at.entry)
        if counted.counted:
            return counted
        taken = {target: counts.Places(places, 0) for target, places in rest.taken().items()}
        return replace(counted, seats=rest.seats, base=rest.base, seq=rest.seq, floor=rest.seq, places=taken)

    async def _in_force(self, connection: Writing, workspace: WorkspaceId, code: CodeId) -> list[Difference]:
        """Compare the version that claims are judged by, with the code locked against an edit in between."""
        version = await share_version(connection, code)
        state = (await versions.in_force(self._redis, workspace, code)).state
        if state[:1] in ("", "!") or state == str(version):
            return []
        return [Difference(workspace, code, NO_TARGET, "version in force", int(state), version)]

    async def _claims(self, connection: Writing, workspace: WorkspaceId, page: _Page, now_ms: int) -> list[Difference]:
        """Compare every open hold with the event that gave it: same target, account, day, channel and visitor."""
        if not page.open:
            return []
        deadlines = [deadline for _, deadline in page.open.values() if deadline]
        # Nothing was given in the future, whatever a deadline says.
        span = max(min([now_ms, *deadlines]) - _HOLD_SPAN_MS, 0), now_ms + _HOLD_SPAN_MS
        claims = await retellings.claims_of(connection, workspace, page.open.keys(), span)
        given = {(claim.code, claim.number): claim for claim in claims}
        found = []
        for (code, number), (seat, _) in page.open.items():
            claim = given.get((code, number))
            if claim is None:
                what = f"hold of seat {number}, which no event gave"
            elif claim[2:6] != (seat.target, seat.account, seat.day, seat.channel):
                what = f"hold of seat {number}, which an event gave otherwise"
            elif not self._is_named(workspace, seat, claim.visitor):
                what = f"hold of seat {number}, which an event gave to another visitor"
            else:
                continue
            found.append(Difference(workspace, code, seat.target, what, 1, 0))
        return found

    def _is_named(self, workspace: WorkspaceId, seat: Seat, name: str) -> bool:
        """Tell whether the record names the visitor of a seat so; an erased one has no name."""
        return not name or self._pseudonyms is None or name in self._pseudonyms.names(workspace, seat.visitor)

    async def _slugs(self, workspace: WorkspaceId) -> AsyncIterator[Difference]:
        """Ask the slug filter for every slug that was ever printed, and for the form on which all spellings agree.

        One that it holds back is a print that is 404, or is so for those who type it in other capitals.
        """
        missing: list[Slug] = []
        asked = 0
        async for page in slugs.pages(self._database, workspace):
            for start in range(0, len(page), _SLUGS):
                some = forms(page[start : start + _SLUGS])
                told = await sieve.sift(self._redis, some)
                missing += [slug for slug, one in zip(some, told, strict=True) if not one.may_be]
                asked += len(some)
        if missing:
            named = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
            what = f"slugs that the filter ({keys.SIEVE}) lets through, without {named}"
            yield Difference(workspace, NO_CODE, NO_TARGET, what, asked - len(missing), asked)


def _note_open(page: _Page, code: CodeId, counters: Snapshot) -> None:
    """Note the open holds of a code whose claims the record must have."""
    waiting = {event.seat for event in counters.events if event.kind is EventKind.CLAIMED}
    for seat, deadline in counters.holds.items():
        if seat not in waiting:
            page.open[code, seat.number] = seat, deadline
