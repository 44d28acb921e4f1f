"""Settle one scan: recall the code, propose, ask the counters, say what the visitor is told.

The hot path, top to bottom: `scan` → `_settle` → `Batcher.ask`. Nothing else is asked of anybody.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from random import random
from typing import Final

from app.counters.claims import Ask
from app.domain.code import Code, CodeId, Slug, Target, TargetId
from app.domain.errors import CountersAway, StoreAway
from app.domain.event import EventKind
from app.domain.rotation import Verdict, propose_only
from app.domain.seat import Claimed, Seat
from app.domain.token import Signer
from app.domain.visitor import Browser, Client
from app.services.batching import Batcher
from app.services.recalling import Entry, Recaller
from app.store.snapshots import Printed
from app.telemetry import REREADS

# A scan that is told to look again so often has met a storm of edits; the next one will do better.
_ATTEMPTS: Final = 8
_WINDOWS: Final = 3


@dataclass(frozen=True, slots=True)
class Visit:
    """Tell all that a scan is judged by.

    Shapes: `tokens` has the seat tokens a visitor carries by code id, and under '' one for whatever code is scanned;
    `preview` when nobody is looking.
    """

    slug: Slug
    browser: Browser
    preview: bool
    tokens: Mapping[str, str]

    def token(self, code: CodeId) -> str:
        """Find what he carries for a code; '' when nothing."""
        return self.tokens.get(code) or self.tokens.get("", "")


@dataclass(frozen=True, slots=True)
class Given:
    """A place, and the target to show for it; `returned` when it was the visitor's before."""

    code: Code
    target: Target
    claimed: Claimed
    returned: bool


@dataclass(frozen=True, slots=True)
class Full:
    """Every target is full, expired or paused."""

    code: Code


@dataclass(frozen=True, slots=True)
class Preview:
    """Nobody is looking: the page without a QR, and no place."""

    code: Code


@dataclass(frozen=True, slots=True)
class OutsideWechat:
    """The code wants WeChat on a phone, and this is something else."""

    code: Code


@dataclass(frozen=True, slots=True)
class Closed:
    """The code was closed by its owner."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """No such slug was ever printed."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Somebody who must be asked is away."""


Outcome = Given | Full | Preview | OutsideWechat | Closed | Unknown | Unavailable


class Scanner:
    """Settle scans.

    Cost: one round trip to Redis a scan, shared with all that arrived together; no SQL for a code this process knows.
    """

    def __init__(self, recaller: Recaller, batcher: Batcher, signer: Signer, clock: Callable[[], datetime]) -> None:
        self._recaller = recaller
        self._batcher = batcher
        self._signer = signer
        self._clock = clock

    async def scan(self, visit: Visit) -> Outcome:
        """Give a visitor the place he has, or a new one, or say why not."""
        found = await self._recall(visit.slug)
        if not isinstance(found, tuple):
            return found
        printed, entry = found
        claimed = self._signer.read(entry.code.id, visit.token(entry.code.id))
        try:
            return await self._settle(visit, printed.channel, entry, claimed)
        except CountersAway:
            return self._without_counters(entry.code, claimed)
        except StoreAway:
            return Unavailable()

    async def see(self, visit: Visit, token: str) -> Outcome:
        """Show the QR of a place, which keeps it; a place that has gone back is claimed again.

        `Unknown` for a token that is not ours or not for this code.
        """
        found = await self._recall(visit.slug)
        if not isinstance(found, tuple):
            return found
        printed, entry = found
        claimed = self._signer.read(entry.code.id, token)
        if claimed is None:
            return Unknown()
        if visit.preview:
            return Preview(entry.code)
        try:
            return await self._see(visit, printed, entry, claimed)
        except CountersAway:
            return self._without_counters(entry.code, claimed)
        except StoreAway:
            return Unavailable()

    def token(self, given: Given) -> str:
        """Sign the place given, for the visitor to carry."""
        return self._signer.sign(given.code.id, given.claimed)

    async def _recall(self, slug: Slug) -> tuple[Printed, Entry] | Closed | Unknown | Unavailable:
        try:
            printed = await self._recaller.slug(slug)
            if printed is None:
                return Unknown()
            try:
                entry = await self._recaller.entry(printed.code)
            except (CountersAway, StoreAway):
                remembered = self._recaller.remembered(printed.code)
                if remembered is None:
                    raise
                entry = remembered
        except (CountersAway, StoreAway):
            return Unavailable()
        return Closed() if entry.code.closed else (printed, entry)

    async def _settle(self, visit: Visit, channel: int, entry: Entry, claimed: Claimed | None) -> Outcome:
        quest = _Quest(visit.browser.client, channel, claimed.seat.visitor if claimed else _new_visitor(), claimed)
        for attempt in range(_ATTEMPTS):
            if entry.code.closed:
                return Closed()
            outcome = await self._try(visit, entry, quest, self._clock())
            if outcome is not None:
                return outcome
            # When others have filled several windows meanwhile, reading all counts once is quicker than asking on.
            if entry.outdated or attempt == _WINDOWS:
                REREADS.inc()
                entry = await self._recaller.reread(entry)
        return Unavailable()

    async def _try(self, visit: Visit, entry: Entry, quest: "_Quest", now: datetime) -> Outcome | None:
        """Ask once; None when what was asked is out of date, or there is more to offer."""
        declined = _decline(visit, entry.code)
        if declined is not None:
            kind, outcome = declined
            answer = await self._batcher.ask(entry, None, Ask.note(kind, quest.channel, "", quest.client))
            return outcome if answer.verdict is Verdict.NOTED else None
        claimed = quest.claimed
        target = _alive(entry.code, claimed.seat, now) if claimed else None
        if claimed and target:
            ask = Ask.return_to(claimed.seat, quest.client, proven=claimed.proven)
            answer = await self._batcher.ask(entry, None, ask)
            if answer.verdict is Verdict.GONE:
                # The hold went back while he was away: he gets the same target again if it has room.
                quest.claimed, quest.lost = None, claimed.seat.target
            returned = answer.verdict is Verdict.RETURNED
            return Given(entry.code, target, claimed, returned=True) if returned else None
        again = propose_only(entry.roster, quest.lost, now) if quest.lost else None
        quest.lost = None
        ask = Ask.place(quest.channel, quest.visitor, quest.client, random())  # noqa: S311
        answer = await self._batcher.ask(entry, again or entry.proposal(now), ask)
        if answer.seat is not None:
            given = entry.code.targets[entry.code.index[answer.seat.target]]
            place = Claimed(answer.seat, proven=False, issued_at=int(now.timestamp()))
            return Given(entry.code, given, place, returned=False)
        return Full(entry.code) if answer.verdict is Verdict.FULL else None

    async def _see(self, visit: Visit, printed: Printed, entry: Entry, claimed: Claimed) -> Outcome:
        """See the place of the token asked for, else the one carried along, else a new one."""
        carried = self._signer.read(entry.code.id, visit.token(entry.code.id))
        for one in (claimed, carried):
            if one is not None:
                seen = await self._see_one(visit.browser.client, entry, one)
                if seen is not None:
                    return seen
        outcome = await self._settle(visit, printed.channel, entry, claimed)
        if not isinstance(outcome, Given) or outcome.claimed.proven:
            return outcome
        return await self._see_one(visit.browser.client, entry, outcome.claimed) or Unavailable()

    async def _see_one(self, client: Client, entry: Entry, claimed: Claimed) -> Given | None:
        for _ in range(_ATTEMPTS):
            target = None if entry.code.closed else _alive(entry.code, claimed.seat, self._clock())
            if target is None:
                return None
            ask = Ask.see(claimed.seat, client, proven=claimed.proven)
            answer = await self._batcher.ask(entry, None, ask)
            if answer.verdict in (Verdict.SEEN, Verdict.RETURNED):
                proven = Claimed(claimed.seat, proven=True, issued_at=claimed.issued_at)
                return Given(entry.code, target, proven, returned=answer.verdict is Verdict.RETURNED)
            if answer.verdict is Verdict.GONE:
                return None
            entry = await self._recaller.reread(entry)
        return None

    def _without_counters(self, code: Code, claimed: Claimed | None) -> Given | Unavailable:
        """Show a visitor the place that nothing can take back; nobody else can be told anything.

        A place that is only held is not shown: nobody could note that it was seen, so it would be given again.
        """
        target = _alive(code, claimed.seat, self._clock()) if claimed else None
        if claimed is None or target is None or not claimed.proven:
            return Unavailable()
        return Given(code, target, claimed, returned=True)


@dataclass(slots=True)
class _Quest:
    """Remember what one scan wants while it asks more than once."""

    client: Client
    channel: int
    visitor: str
    claimed: Claimed | None
    lost: TargetId | None = None


def _decline(visit: Visit, code: Code) -> tuple[EventKind, Preview | OutsideWechat] | None:
    if visit.preview:
        return EventKind.PREVIEW, Preview(code)
    if code.wechat_only and not _phone_in_wechat(visit.browser):
        return EventKind.OUTSIDE_WECHAT, OutsideWechat(code)
    return None


def _alive(code: Code, seat: Seat, now: datetime) -> Target | None:
    target = code.target(seat.target)
    return target if target is not None and target.alive(now) else None


def _phone_in_wechat(browser: Browser) -> bool:
    return browser.client in (Client.WECHAT, Client.WECOM, Client.DEVTOOLS) and not browser.desktop


def _new_visitor() -> str:
    return secrets.token_urlsafe(9)
