"""Settle one scan: recall the code, propose, ask the counters, say what the visitor is told.

The hot path, top to bottom: `scan` → `_enter` → `_settle` → `_try` → `Batcher.ask`. Nothing else is asked of anybody.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from random import random
from typing import Final

from app.counters.claims import Answer, note, return_to, see_place, take_place
from app.domain import limits
from app.domain.access import shown, stuck_too_long
from app.domain.code import Code, CodeId, CodeKind, Fallback, Slug, Strategy
from app.domain.errors import CountersAway, StoreAway
from app.domain.event import AGAIN, EventKind
from app.domain.networks import blurred
from app.domain.outcome import (
    Closed,
    Elsewhere,
    Full,
    Given,
    Limited,
    Menu,
    Outcome,
    Preview,
    Unavailable,
    Unknown,
    Visit,
)
from app.domain.rotation import Proposal, Verdict, propose, propose_only
from app.domain.seat import Claimed, Seat
from app.domain.token import Signer
from app.services.attempts import Moved, Quest, Way, belongs, declined_by, new_visitors
from app.services.batching import Batcher
from app.services.locating import Locator
from app.services.recalling import CodeGone, Entry, Recaller
from app.telemetry import REREADS

# A scan that is told to look again so often has met a storm of edits; the next one will do better.
_ATTEMPTS: Final = 8
_WINDOWS: Final = 3
_RETURNED: Final = "returned"
# Reading a member off its class is a search, and every scan asks for these.
_RANDOM: Final = Strategy.RANDOM
_LINK: Final = CodeKind.LINK


class Scanner:
    """Settle scans.

    Cost: one round trip to Redis a scan, shared with all that arrived together, and one more for each code that sends
    the visitor on because nobody had room; no SQL for codes this process knows.
    """

    def __init__(self, recaller: Recaller, batcher: Batcher, signer: Signer, clock: Callable[[], datetime]) -> None:
        self._recaller = recaller
        self._locator = Locator(recaller)
        self._batcher = batcher
        self._signer = signer
        self._clock = clock
        self._visitors = new_visitors()

    async def scan(self, visit: Visit) -> Outcome:
        """Give a visitor the place he has, or a new one, or say why not."""
        found = self._recaller.known(visit.slug) or await self._locator.locate(visit.slug)
        for _ in range(_ATTEMPTS):
            if not isinstance(found, tuple):
                return found
            printed, entry = found
            way = Way(visit, visit.slug, printed.channel, (entry.code.id,), printed=printed)
            try:
                if visit.option is not None and entry.code.kind is CodeKind.MENU:
                    return await self._choose(way, entry, visit.option)
                return await self._enter(way, entry)
            except Moved:
                found = await self._locator.locate(visit.slug)
        return Unavailable()

    async def see(self, visit: Visit, token: str) -> Outcome:
        """Show the QR of a place, which keeps it; a place that has gone back is claimed again.

        `Unknown` for a token that is not ours or not for this code.
        """
        found = await self._locator.locate(visit.slug)
        if not isinstance(found, tuple):
            return found
        printed, entry = found
        claimed = self._signer.read(entry.code.id, token)
        if claimed is None:
            # A place in another code: this process may be the last that has the slug for the former one.
            found = await self._locator.locate_anew(visit.slug, found)
            if not isinstance(found, tuple):
                return found
            printed, entry = found
            claimed = self._signer.read(entry.code.id, token)
        if claimed is None:
            return Unknown()
        if visit.preview:
            return Preview(entry.code)
        way = Way(visit, visit.slug, printed.channel, (entry.code.id,), final=True)
        try:
            return await self._see(way, entry, claimed)
        except CountersAway:
            return await self._without_counters(way, entry, claimed)
        except (StoreAway, CodeGone):
            return Unavailable()

    async def fallback(self, slug: Slug) -> Fallback | None:
        """Return what a code shows when no target has room, as `Locator.fallback`."""
        return await self._locator.fallback(slug)

    async def is_printed(self, slug: Slug) -> bool:
        """Check whether a slug stands for something that is open."""
        return isinstance(await self._locator.locate(slug), tuple)

    def now(self) -> datetime:
        """Read the clock by which scans are settled."""
        return self._clock()

    def tokens(self, given: Given) -> dict[CodeId, str]:
        """Sign the place given, for the visitor to carry: for its code, and for those that sent him on to it."""
        tokens = {given.code.id: self._signer.sign(given.code.id, given.claimed)}
        for code in given.sent_by:
            tokens[code] = self._signer.sign(code, given.claimed)
        return tokens

    async def _enter(self, way: Way, entry: Entry) -> Outcome:
        claimed = self._carried(way.visit, entry.code)
        try:
            return await self._settle(way, entry, claimed)
        except CountersAway:
            return await self._without_counters(way, entry, claimed)
        except (StoreAway, CodeGone):
            return Unavailable()

    async def _choose(self, way: Way, entry: Entry, number: int) -> Outcome:
        """Count the choice of an option and enter its code, both at once."""
        outcome: Outcome | BaseException | None = None
        entered: CodeId | None = None
        for _ in range(_ATTEMPTS):
            now = self._clock()
            option = next((one for one in entry.code.options if one.number == number), None)
            declined = declined_by(way, entry.code, now)
            if option is None or (declined is not None and declined[0] is not EventKind.MENU):
                # What was printed for an option that is gone shows the menu: never a dead end.
                return await self._enter(way, entry)
            choice = note(EventKind.OPTION, way.channel, "", way.visit.browser.client, str(number))
            noted: Answer | BaseException
            if option.code == entered:
                # What he was given stands; only the choice has yet to be counted.
                (noted,) = await asyncio.gather(self._batcher.ask(entry, None, choice), return_exceptions=True)
            else:
                noted, outcome = await asyncio.gather(
                    self._batcher.ask(entry, None, choice), self._enter_code(way, option.code), return_exceptions=True
                )
                entered = option.code
            assert outcome is not None
            if isinstance(outcome, BaseException):
                raise outcome
            if isinstance(noted, CountersAway):
                # What could be told without the counters was told.
                return outcome
            if isinstance(noted, BaseException):
                raise noted
            if noted is Verdict.NOTED:
                return outcome
            try:
                entry = await self._locator.reread(way, entry)
            except (CountersAway, StoreAway):
                return Unavailable()
        return Unavailable()

    async def _enter_code(self, way: Way, code: CodeId) -> Outcome:
        """Send a visitor on to another code, by its own slug."""
        try:
            entry = await self._locator.entry(code)
        except (CountersAway, StoreAway):
            return Unavailable()
        except CodeGone:
            return Closed()
        if entry.code.closed:
            return Closed()
        return await self._enter(Way(way.visit, entry.code.slug, 0, (*way.passed, code)), entry)

    async def _settle(self, way: Way, entry: Entry, claimed: Claimed | None) -> Outcome:
        visitor = claimed.seat.visitor if claimed else next(self._visitors)
        quest = Quest(way, visitor, claimed, again=claimed is not None)
        if claimed and stuck_too_long(entry.code, claimed, self._clock()):
            quest.claimed = None
        for attempt in range(_ATTEMPTS):
            quest.hurried = attempt >= _WINDOWS
            if entry.code.closed:
                return Closed()
            outcome = await self._try(entry, quest, self._clock())
            if outcome is not None:
                return outcome
            # When others have filled several windows meanwhile, reading all counts once is quicker than asking on.
            if entry.outdated or attempt == _WINDOWS:
                REREADS.inc()
                entry = await self._locator.reread(way, entry)
        return Unavailable()

    async def _try(self, entry: Entry, quest: Quest, now: datetime) -> Outcome | None:
        """Ask once; None when what was asked is out of date, or there is more to offer."""
        way, code, client = quest.way, entry.code, quest.way.visit.browser.client
        declined = declined_by(way, code, now)
        if declined is None and code.fallback and await self._sent_on(way, code, quest.claimed):
            declined = EventKind.FALLBACK, _RETURNED, None
        if declined is not None:
            kind, detail, outcome = declined
            answer = await self._batcher.ask(entry, None, note(kind, way.channel, "", client, detail))
            if answer is not Verdict.NOTED:
                return None
            return await self._fall_back(way, code) if kind is EventKind.FALLBACK else outcome
        claimed = quest.claimed
        target = shown(code, claimed.seat, now) if claimed else None
        if claimed and target:
            ask = return_to(claimed.seat, client, proven=claimed.proven)
            answer = await self._batcher.ask(entry, None, ask)
            if answer is Verdict.GONE:
                # The hold went back while he was away: he gets the same target again if it has room.
                quest.claimed, quest.lost = None, claimed.seat.target
            returned = answer is Verdict.RETURNED
            return Given(code, target, claimed, returned=True, slug=way.slug) if returned else None
        return await self._claim(entry, quest, now)

    async def _claim(self, entry: Entry, quest: Quest, now: datetime) -> Outcome | None:
        way, code = quest.way, entry.code
        again = propose_only(entry.roster, quest.lost, now) if quest.lost else None
        quest.lost = None
        ask = take_place(
            way.channel,
            quest.visitor,
            way.visit.browser.client,
            random() if code.strategy is _RANDOM else 0.0,  # noqa: S311
            networks=blurred(self._signer, way.visit.network, code, now),
            detail=AGAIN if quest.again else "",
        )
        proposal = again or self._offered(entry, quest, now)
        if quest.hurried and proposal.mark:
            # Adds come back faster than we can ask: what was heard a round trip ago must do.
            proposal = replace(proposal, mark="")
        answer = await self._batcher.ask(entry, proposal, ask)
        if isinstance(answer, Seat):
            target = code.targets[code.index[answer.target]]
            # Whoever is sent on by a link has seen all there is to see.
            place = Claimed(answer, code.kind is _LINK, int(now.timestamp()))
            return Given(code, target, place, returned=False, slug=way.slug)
        if answer is Verdict.LIMITED:
            # Not for a whole hour: the visitor may come by another network sooner.
            return Limited(code, 60 - now.second)
        if answer is Verdict.PASSED and again is None:
            quest.beyond, quest.windows = proposal.candidates[-1].target, quest.windows + 1
        if answer is Verdict.FULL:
            stays = way.final or code.fallback is None
            return await self._fall_back(way, code, Full(code, *entry.shortage(now)) if stays else None)
        return None

    @staticmethod
    def _offered(entry: Entry, quest: Quest, now: datetime) -> Proposal:
        if quest.beyond is None:
            return entry.proposal(now)
        proposal = propose(entry.roster, now, quest.beyond)
        # A network that has had its share of so many accounts is not searched further targets for.
        return replace(proposal, complete=True) if quest.windows == _WINDOWS else proposal

    async def _fall_back(self, way: Way, code: Code, full: Full | None = None) -> Outcome:
        """Send a visitor where the code says when nobody has room; it was recorded already."""
        goal, full = code.fallback, full or Full(code)
        if goal is None or way.final:
            return full
        if goal.code is None:
            return Elsewhere(code, goal)
        if goal.code in way.passed or len(way.passed) > limits.FALLBACK_CHAIN + 1:
            # Saving refuses rounds; this one was made of edits that this process has not met all of.
            return full
        outcome = await self._enter_code(way, goal.code)
        if isinstance(outcome, Given):
            return outcome._replace(sent_by=(code.id, *outcome.sent_by))
        if isinstance(outcome, Menu):
            return replace(outcome, fallback=True)
        return full if isinstance(outcome, Closed) else outcome

    async def _sent_on(self, way: Way, code: Code, claimed: Claimed | None) -> bool:
        """Tell whether a visitor was once sent on from here, and may still have the place that he was given there.

        What he carries for this code then names a target of another.
        """
        goal = code.fallback.code if code.fallback else None
        if goal is None or goal in way.passed or way.final:
            return False
        carried = self._signer.read(goal, way.visit.token(goal))
        if carried is None or (claimed is None and goal in way.visit.tokens) or belongs(code, claimed):
            return False
        there, now = (await self._locator.entry(goal)).code, self._clock()
        on = Way(way.visit, there.slug, 0, (*way.passed, goal))
        if there.closed or declined_by(on, there, now) is not None or stuck_too_long(there, carried, now):
            return False
        if belongs(there, carried):
            return carried.proven and shown(there, carried.seat, now) is not None
        return await self._sent_on(on, there, carried)

    async def _see(self, way: Way, entry: Entry, claimed: Claimed) -> Outcome:
        """See the place of the token asked for, else the one carried along, else a new one."""
        for one in (claimed, self._carried(way.visit, entry.code)):
            if one is not None:
                seen = await self._see_one(way, entry, one)
                if seen is not None:
                    return seen
        outcome = await self._settle(way, entry, claimed)
        if not isinstance(outcome, Given) or outcome.claimed.proven:
            return outcome
        return await self._see_one(way, entry, outcome.claimed) or Unavailable()

    async def _see_one(self, way: Way, entry: Entry, claimed: Claimed) -> Given | None:
        for _ in range(_ATTEMPTS):
            now = self._clock()
            target = None if entry.code.closed else shown(entry.code, claimed.seat, now)
            if target is None or declined_by(way, entry.code, now) is not None:
                return None
            ask = see_place(claimed.seat, way.visit.browser.client, proven=claimed.proven)
            answer = await self._batcher.ask(entry, None, ask)
            if answer in (Verdict.SEEN, Verdict.RETURNED):
                proven = Claimed(claimed.seat, proven=True, issued_at=claimed.issued_at)
                returned = answer is Verdict.RETURNED
                return Given(entry.code, target, proven, returned=returned, slug=way.slug)
            if answer is Verdict.GONE:
                return None
            entry = await self._recaller.reread(entry)
        return None

    def _carried(self, visit: Visit, code: Code) -> Claimed | None:
        return self._signer.read(code.id, visit.token(code.id)) if visit.tokens else None

    async def _without_counters(self, way: Way, entry: Entry, claimed: Claimed | None) -> Outcome:
        """Show a visitor the place that nothing can take back, or what gives nothing.

        A place that is only held is not shown: it could not be noted as seen, and would be given again. Nor is one of a
        version that another has followed: it may be paused.
        """
        code, now = entry.code, self._clock()
        declined = declined_by(way, code, now)
        if declined is not None or entry.superseded:
            return (declined and declined[2]) or Unavailable()
        with suppress(CountersAway, StoreAway):
            if await self._sent_on(way, code, claimed):
                return await self._fall_back(way, code)
        target = shown(code, claimed.seat, now) if claimed else None
        if claimed is None or target is None or not claimed.proven or stuck_too_long(code, claimed, now):
            return Unavailable()
        return Given(code, target, claimed, returned=True, slug=way.slug)
