"""Decide which targets a scan may be given, and say what settling it means. Every rule of rotation (轮换) is here.

`propose` is what Python brings to the counters; `Ledger` is the specification of `claim.lua`, word for word.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from functools import cached_property
from typing import Final

from app.domain import limits
from app.domain.code import AccountId, Code, Strategy, TargetId
from app.domain.seat import Seat


class Verdict(IntEnum):
    """Name what the counters decided (判定), by the number `claim.lua` answers with."""

    STALE = 0
    CLAIMED = 1
    RETURNED = 2
    FULL = 3
    GONE = 4
    SEEN = 5
    NOTED = 6
    MORE = 7


NO_ACCOUNT: Final = AccountId("")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Offer one live target (候选) with its two ceilings: places in the target, adds a day of its account."""

    target: TargetId
    ceiling: int
    weight: int = 1
    account: AccountId = NO_ACCOUNT
    cap: int = 0


@dataclass(frozen=True)
class Proposal:
    """Offer the live targets of a code in order (提案).

    Shapes: at most `limits.WINDOW` candidates; `complete` when no live target that may have room was left out.
    Units: good while now < `valid_until` (aware UTC; None for ever).
    """

    strategy: Strategy
    candidates: tuple[Candidate, ...]
    complete: bool
    valid_until: datetime | None = None
    # The last re-opening its roster had heard of: what a proposal leaves out, it left out knowing no more than that.
    seq: int = 0

    @cached_property
    def row(self) -> tuple[str | int, ...]:
        """Lay the candidates flat, five fields each: one proposal serves many scans, so this is done once."""
        return tuple(x for c in self.candidates for x in (c.target, c.ceiling, c.weight, c.account, c.cap))


class Roster:
    """Remember which targets of one code version were found full or dead, so that nobody asks for them again.

    A belief, never a promise: the counters decide. It must not miss a target that has room again, so it moves only on
    what they told: `seq` counts the re-openings this roster has heard of.
    Cost: a window is found by one search through a byte a target, done in C: a microsecond or two for 50,000.
    """

    def __init__(self, code: Code, taken: Mapping[TargetId, int], seq: int) -> None:
        self.code = code
        self.seq = seq
        self._open = bytearray(taken.get(target.id, 0) < target.member_limit for target in code.targets)

    def found_full(self, target_id: TargetId) -> None:
        """Leave a target out from now on."""
        self._open[self.code.index[target_id]] = 0

    def reopened(self, target_ids: Iterable[TargetId], seq: int) -> None:
        """Offer targets again that have had a place come back."""
        self.seq = seq
        for target_id in target_ids:
            i = self.code.index.get(target_id)
            if i is not None:
                self._open[i] = 1

    def window(self, now: datetime, size: int) -> tuple[list[int], bool]:
        """List the first `size` targets that live and may have room, and whether these are all of them."""
        found: list[int] = []
        i = self._open.find(1)
        while i >= 0:
            if not self.code.targets[i].alive(now):
                # Within one version, what is dead stays dead.
                self._open[i] = 0
            elif len(found) == size:
                return found, False
            else:
                found.append(i)
            i = self._open.find(1, i + 1)
        return found, True


def propose(roster: Roster, now: datetime) -> Proposal:
    """Offer what a scan at `now` may be given.

    Cost: that of `Roster.window`.
    """
    code = roster.code
    found, complete = roster.window(now, limits.FILL_WINDOW if code.strategy is Strategy.FILL else limits.WINDOW)
    targets = [code.targets[i] for i in found]
    return Proposal(
        strategy=code.strategy,
        candidates=tuple(Candidate(t.id, t.member_limit, t.weight) for t in targets),
        complete=complete,
        valid_until=min((t.expires_at for t in targets if t.expires_at is not None), default=None),
        seq=roster.seq,
    )


def propose_only(roster: Roster, target_id: TargetId, now: datetime) -> Proposal | None:
    """Offer a visitor who lost his place the same target again; None when it is dead.

    Never complete: where it has no room, there are others to offer.
    """
    code = roster.code
    target = code.target(target_id)
    if target is None or not target.alive(now):
        return None
    candidate = Candidate(target.id, target.member_limit, target.weight)
    return Proposal(code.strategy, (candidate,), complete=False, valid_until=target.expires_at, seq=roster.seq)


@dataclass(slots=True)
class Ledger:
    """Keep the counters of one code as `claim.lua` must: the specification that the real thing is held against.

    Units: `holds` maps a seat's text to its deadline in ms; `adds` counts per (day, account).
    """

    seats: int = 0
    base: int = 0
    taken: dict[TargetId, int] = field(default_factory=dict)
    held: dict[TargetId, int] = field(default_factory=dict)
    members: dict[TargetId, int] = field(default_factory=dict)
    adds: dict[tuple[int, AccountId], int] = field(default_factory=dict)
    holds: dict[str, int] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    def release(self, now_ms: int, today: int) -> list[TargetId]:
        """Take back every hold that has run out; answer with the targets that gained room."""
        late = [text for text, deadline in self.holds.items() if deadline <= now_ms]
        for text in late:
            del self.holds[text]
            seat = Seat.parse(text)
            self.taken[seat.target] -= 1
            self.held[seat.target] -= 1
            if seat.account and seat.day in (today, today - 1):
                self.adds[seat.day, seat.account] -= 1
        return [Seat.parse(text).target for text in late]

    def claim(
        self, proposal: Proposal, who: tuple[int, str], now_ms: int, today: int, hold_ms: int, chance: float
    ) -> Seat | None:
        """Give the visitor `who` (channel, id) a place; None when no candidate has room."""
        chosen = choose(proposal, self.taken, {a: n for (day, a), n in self.adds.items() if day == today}, chance)
        if chosen is None:
            return None
        one = proposal.candidates[chosen]
        self.seats += 1
        seat = Seat(self.seats, one.target, one.account, today, *who)
        self.taken[one.target] = self.taken.get(one.target, 0) + 1
        self.held[one.target] = self.held.get(one.target, 0) + 1
        if one.account:
            self.adds[today, one.account] = self.adds.get((today, one.account), 0) + 1
        self.holds[seat.text()] = now_ms + hold_ms
        return seat

    def come_back(self, seat: Seat, *, proven: bool) -> Verdict:
        """Tell whether a visitor still has the place of his token."""
        kept = proven or seat.text() in self.holds or self._was_seen(seat)
        return Verdict.RETURNED if kept else Verdict.GONE

    def see(self, seat: Seat) -> Verdict:
        """Keep a held place for good, because its QR has been seen."""
        if seat.text() in self.holds:
            del self.holds[seat.text()]
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
    proposal: Proposal, taken: Mapping[TargetId, int], adds: Mapping[AccountId, int], chance: float
) -> int | None:
    """Pick a candidate with room by the code's strategy; None when there is none.

    Units: `chance` in [0, 1), used by `random` only.
    """
    candidates = proposal.candidates

    def places(i: int) -> int:
        return taken.get(candidates[i].target, 0)

    open_ = [
        i
        for i, one in enumerate(candidates)
        if places(i) < one.ceiling and (not one.account or adds.get(one.account, 0) < one.cap)
    ]
    if not open_:
        return None
    match proposal.strategy:
        case Strategy.FILL:
            return open_[0]
        case Strategy.BALANCE:
            best = open_[0]
            for i in open_[1:]:
                if places(i) * candidates[best].weight < places(best) * candidates[i].weight:
                    best = i
            return best
        case Strategy.RANDOM:
            point = chance * sum(candidates[i].weight for i in open_)
            for i in open_:
                point -= candidates[i].weight
                if point < 0:
                    return i
            return open_[-1]
