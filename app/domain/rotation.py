"""Decide which targets a scan may be given, and say what settling it means. Every rule of rotation (轮换) is here.

`propose` is what Python brings to the counters; `Ledger` is the specification of `claim.lua`, word for word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from app.domain import limits
from app.domain.code import NO_ACCOUNT, AccountId, Code, CodeKind, Strategy, Target, TargetId, TargetState
from app.domain.networks import Networks
from app.domain.roster import Roster
from app.domain.seat import Seat


class Verdict(IntEnum):
    """Name what the counters decided (判定), by the number that `claim.lua` answers with, spelt in base 16."""

    STALE = 0
    CLAIMED = 1
    RETURNED = 2
    FULL = 3
    GONE = 4
    SEEN = 5
    NOTED = 6
    MORE = 7
    LIMITED = 8
    REFUSED = 9
    PASSED = 10


@dataclass(frozen=True, slots=True)
class Candidate:
    """Offer one live target (候选) with its ceilings: places in the target, adds a day of its account.

    Shapes: `share` is how many of these adds one network may take within an hour; 0 is no bound.
    Units: `handicap` in places, which `balance` counts beside those taken.
    """

    target: TargetId
    ceiling: int
    weight: int = 1
    account: AccountId = NO_ACCOUNT
    cap: int = 0
    handicap: int = 0
    share: int = 0


@dataclass(frozen=True)
class Proposal:
    """Offer the live targets of a code in order (提案).

    Shapes: at most `limits.WINDOW` candidates; `complete` when no live target that may have room was left out; `why`
    tells what keeps the others from being offered, should these have no room either; `passed` when candidates with room
    were left out, since the visitor's network has taken its share of them.
    Units: good while now < `valid_until` (aware UTC; None for ever).
    """

    strategy: Strategy
    candidates: tuple[Candidate, ...]
    complete: bool
    valid_until: datetime | None = None
    # The last re-opening its roster had heard of: what a proposal leaves out, it left out knowing no more than that.
    seq: int = 0
    # The same for adds given back; '' where no account is involved.
    mark: str = ""
    why: TargetState = TargetState.FULL
    passed: bool = False

    @cached_property
    def offer(self) -> str:
        """Spell what `claim.lua` reads beside the candidates: mark, strategy, complete, shares, passed, why."""
        # Apart from the rows, so that codes without such a bound pay nothing for it.
        bounded = any(one.share for one in self.candidates)
        shares = " ".join(str(one.share) for one in self.candidates) if bounded else ""
        return f"{self.mark}|{self.strategy}|{self.complete:d}|{shares}|{self.passed:d}|{self.why}"

    @cached_property
    def rows(self) -> str:
        """Spell the candidates as `claim.lua` reads them, a line each: one proposal serves many scans."""
        return "\n".join(f"{c.target}|{c.ceiling}|{c.weight}|{c.account}|{c.cap}|{c.handicap}" for c in self.candidates)


def propose(roster: Roster, now: datetime, beyond: TargetId | None = None) -> Proposal:
    """Offer what a scan at `now` may be given.

    Shapes: with `beyond`, only targets after that one; those up to it were passed over for the visitor's network.
    Cost: that of `Roster.window`.
    """
    code = roster.code
    size = limits.FILL_WINDOW if code.strategy is Strategy.FILL and beyond is None else limits.WINDOW
    found, complete = roster.window(now, size, 0 if beyond is None else code.index.get(beyond, -1) + 1)
    targets = [code.targets[i] for i in found]
    ends = [t.expires_at for t in targets if t.expires_at is not None]
    wakes_at = roster.wakes_at
    return Proposal(
        strategy=code.strategy,
        candidates=tuple(_candidate(code, target) for target in targets),
        complete=complete,
        valid_until=min(ends if wakes_at is None else [*ends, wakes_at], default=None),
        seq=roster.seq,
        mark=roster.mark if code.accounts else "",
        why=roster.why(besides_full=bool(targets)) if complete else TargetState.FULL,
        passed=beyond is not None,
    )


def propose_only(roster: Roster, target_id: TargetId, now: datetime) -> Proposal | None:
    """Offer a visitor who lost his place the same target again; None when it is not shown now.

    Never complete: where it has no room, there are others to offer.
    """
    code = roster.code
    target = code.target(target_id)
    if target is None or not code.shown(target, now):
        return None
    return Proposal(
        code.strategy,
        (_candidate(code, target),),
        complete=False,
        valid_until=target.expires_at,
        seq=roster.seq,
        mark=roster.mark if code.accounts else "",
    )


def _candidate(code: Code, target: Target) -> Candidate:
    account = code.accounts.get(target.account)
    cap, share = (0, 0) if account is None else (account.daily_cap, account.share if code.shared else 0)
    return Candidate(target.id, target.member_limit, target.weight, target.account, cap, target.handicap, share)


class Terms(NamedTuple):
    """Say how a code gives places: how long one is held (0 keeps it at once), and how many new ones in a minute.

    Shapes: `rate` is for each network; 0 is no bound.
    Units: `hold_ms` in ms.
    """

    hold_ms: int
    rate: int = 0


def terms_of(code: Code) -> Terms:
    """Give the terms of a code: whoever is sent on by a link has seen all there is to see."""
    return Terms(0 if code.kind is CodeKind.LINK else code.hold_seconds * 1000, code.new_seats_per_minute)


@dataclass(slots=True)
class Ledger:
    """Keep the counters of one code as `claim.lua` must: the specification that the real thing is held against.

    Units: `holds` maps a seat's text to its deadline in ms; `adds` counts per (day, account), `news` the new seats per
    (minute, network), `shares` the adds per (hour, network, account); `freed` lists the accounts of the adds given back
    per day, in order.
    """

    seats: int = 0
    base: int = 0
    taken: dict[TargetId, int] = field(default_factory=dict)
    held: dict[TargetId, int] = field(default_factory=dict)
    members: dict[TargetId, int] = field(default_factory=dict)
    adds: dict[tuple[int, AccountId], int] = field(default_factory=dict)
    freed: dict[int, list[AccountId]] = field(default_factory=dict)
    news: dict[tuple[int, str], int] = field(default_factory=dict)
    shares: dict[tuple[int, str, AccountId], int] = field(default_factory=dict)
    holds: dict[str, int] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    def release(self, now_ms: int, today: int) -> list[TargetId]:
        """Take back every hold that has run out; answer with the targets that gained room.

        A network's share of an account does not come back: a hold does not say from where it was taken.
        """
        # In the order of a sorted set: by deadline, then by text, in which seat 10 comes before seat 9.
        late = [
            text for deadline, text in sorted((end, text) for text, end in self.holds.items()) if deadline <= now_ms
        ]
        for text in late:
            del self.holds[text]
            seat = Seat(text)
            self.taken[seat.target] -= 1
            self.held[seat.target] -= 1
            if seat.account and seat.day in (today, today - 1):
                self.adds[seat.day, seat.account] -= 1
                if seat.day == today:
                    self.freed.setdefault(today, []).append(seat.account)
        return [Seat(text).target for text in late]

    def claim(
        self,
        proposal: Proposal,
        who: tuple[int, str, Networks],
        now_ms: int,
        today: int,
        terms: Terms,
        chance: float,
    ) -> Seat | Verdict:
        """Give the visitor `who` (channel, id, networks) a place; when there is none, say why.

        `FULL` when no candidate has room; `LIMITED` when the network has had its places of this minute; `PASSED` when
        it has had its share of every candidate with room.
        """
        channel, visitor, (network, sharer) = who
        adds, minute, hour = self.adds_on(today), now_ms // 60_000, now_ms // 3_600_000
        if choose(proposal, self.taken, adds, chance) is None:
            return Verdict.FULL
        if terms.rate and network and self.news.get((minute, network), 0) >= terms.rate:
            return Verdict.LIMITED
        shared = {one.account: self.shares.get((hour, sharer, one.account), 0) for one in proposal.candidates}
        chosen = choose(proposal, self.taken, adds, chance, shared if sharer else None)
        if chosen is None:
            return Verdict.PASSED
        one = proposal.candidates[chosen]
        if terms.rate and network:
            self.news[minute, network] = self.news.get((minute, network), 0) + 1
        if sharer and one.share:
            self.shares[hour, sharer, one.account] = shared[one.account] + 1
        self.seats += 1
        seat = Seat.of(self.seats, one.target, one.account, today, channel, visitor)
        self.taken[one.target] = self.taken.get(one.target, 0) + 1
        if one.account:
            self.adds[today, one.account] = self.adds.get((today, one.account), 0) + 1
        if terms.hold_ms:
            self.held[one.target] = self.held.get(one.target, 0) + 1
            self.holds[seat] = now_ms + terms.hold_ms
        return seat

    def adds_on(self, day: int) -> dict[AccountId, int]:
        """Tell what each account has been added on one day."""
        return {account: n for (when, account), n in self.adds.items() if when == day}

    def mark(self, today: int) -> str:
        """Spell how many adds have been given back today."""
        return f"{today}:{len(self.freed.get(today, []))}"

    def given_back(self, mark: str, today: int) -> set[AccountId] | None:
        """Tell whose adds have been given back since a mark; None when it is of another day."""
        day, heard = mark.split(":")
        return set(self.freed.get(today, [])[max(0, int(heard)) :]) if int(day) == today else None

    def come_back(self, seat: Seat, *, proven: bool) -> Verdict:
        """Tell whether a visitor still has the place of his token."""
        kept = proven or seat in self.holds or self._was_seen(seat)
        return Verdict.RETURNED if kept else Verdict.GONE

    def see(self, seat: Seat) -> Verdict:
        """Keep a held place for good, because its QR has been seen."""
        if seat in self.holds:
            del self.holds[seat]
            self.held[seat.target] -= 1
            self.seen.add(seat.number)
            return Verdict.SEEN
        return Verdict.RETURNED if self._was_seen(seat) else Verdict.GONE

    def rebase(self, target: TargetId, members: int) -> None:
        """Set the true head count of a target; open holds stay on top of it."""
        self.taken[target] = members + self.held.get(target, 0)
        self.members[target] = members

    def _was_seen(self, seat: Seat) -> bool:
        return seat.number > self.base and seat.number in self.seen


def choose(
    proposal: Proposal,
    taken: Mapping[TargetId, int],
    adds: Mapping[AccountId, int],
    chance: float,
    shared: Mapping[AccountId, int] | None = None,
) -> int | None:
    """Pick a candidate with room by the code's strategy; None when there is none.

    Shapes: `shared` has the adds of each account that the visitor's network took within the hour; None is no bound.
    Units: `chance` in [0, 1), used by `random` only.
    """
    candidates = proposal.candidates

    def load(i: int) -> int:
        return taken.get(candidates[i].target, 0) + candidates[i].handicap

    open_ = with_room(proposal, taken, adds)
    if shared is not None:
        open_ = [
            i for i in open_ if not candidates[i].share or shared.get(candidates[i].account, 0) < candidates[i].share
        ]
    if not open_:
        return None
    match proposal.strategy:
        case Strategy.FILL:
            return open_[0]
        case Strategy.BALANCE:
            best = open_[0]
            for i in open_[1:]:
                if load(i) * candidates[best].weight < load(best) * candidates[i].weight:
                    best = i
            return best
        case Strategy.RANDOM:
            return _drawn(candidates, open_, chance)


def turned_away(proposal: Proposal, found: Verdict, *, news: bool) -> Verdict:
    """Say what `claim.lua` answers an ask for which `Ledger.claim` found `FULL` or `PASSED`.

    Shapes: `news` when something has changed of which the proposal's roster has not heard.
    """
    if news or (found is Verdict.FULL and not proposal.complete):
        return Verdict.MORE
    if found is Verdict.FULL:
        return Verdict.LIMITED if proposal.passed else Verdict.FULL
    return Verdict.LIMITED if proposal.complete else Verdict.PASSED


def with_room(proposal: Proposal, taken: Mapping[TargetId, int], adds: Mapping[AccountId, int]) -> list[int]:
    """List the candidates that have room under both of their ceilings."""
    return [
        i
        for i, one in enumerate(proposal.candidates)
        if taken.get(one.target, 0) < one.ceiling and not _capped(one, adds)
    ]


def why_nobody(proposal: Proposal, taken: Mapping[TargetId, int], adds: Mapping[AccountId, int]) -> TargetState:
    """Tell why nobody has room, when no candidate of a complete proposal has."""
    capped = any(taken.get(one.target, 0) < one.ceiling and _capped(one, adds) for one in proposal.candidates)
    return TargetState.CAPPED if capped else proposal.why


def _capped(one: Candidate, adds: Mapping[AccountId, int]) -> bool:
    return bool(one.account) and adds.get(one.account, 0) >= one.cap


def _drawn(candidates: Sequence[Candidate], open_: Sequence[int], chance: float) -> int:
    point = chance * sum(candidates[i].weight for i in open_)
    for i in open_:
        point -= candidates[i].weight
        if point < 0:
            return i
    return open_[-1]
