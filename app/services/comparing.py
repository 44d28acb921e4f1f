"""Compare one code's counters with its record. Pure: knows no server and no clock."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from app.counters.audit import Snapshot
from app.counters.counts import Places
from app.domain import limits
from app.domain.code import CodeId, TargetId, WorkspaceId
from app.domain.tally import Move, Moves, fold

# Processes settle holds by clocks of their own, which may be apart.
_CLOCKS_APART_MS: Final = 3_600_000
_HOLD_MS_MAX: Final = limits.HOLD_SECONDS_MAX * 1000 + _CLOCKS_APART_MS
# `claim.lua` keeps so many re-openings of a code.
REOPENED_MAX: Final = 1_000

NO_CODE: Final = CodeId("")
NO_TARGET: Final = TargetId("")


@dataclass(frozen=True, slots=True)
class Difference:
    """Name one place where two counts of the same thing differ, or what could not be compared.

    Shapes: `code` and `target` are empty where the thing belongs to none; `teller` says who else counted. With
    `trouble`, the numbers mean nothing.
    """

    workspace: WorkspaceId
    code: CodeId
    target: TargetId
    what: str
    counted: int
    recorded: int
    teller: Literal["counters", "events"] = "counters"
    trouble: str = ""

    def __str__(self) -> str:
        code, target = self.code and f" code {self.code}", self.target and f" target {self.target}"
        place = f"workspace {self.workspace}{code}{target}: {self.what}"
        if self.trouble:
            return f"{place}: {self.trouble}"
        return f"{place}: {self.teller} say {self.counted}, record says {self.recorded}"


def trouble(workspace: WorkspaceId, what: str, error: BaseException, code: CodeId = NO_CODE) -> Difference:
    """Name what could not be compared, and why, in one line."""
    why = " ".join(f"{type(error).__name__} {error}".split())
    return Difference(workspace, code, NO_TARGET, what, 0, 0, trouble=why[:300])


@dataclass(frozen=True, slots=True)
class Recorded:
    """Hold what the record says of one code: (members, held, seen) of every target, and the last seat given."""

    totals: Mapping[TargetId, tuple[int, int, int]]
    seats: int


@dataclass(frozen=True, slots=True)
class _Pair:
    """Hold both sides of one code; `moves` is what the record has not heard of yet."""

    workspace: WorkspaceId
    code: CodeId
    record: Recorded
    counters: Snapshot
    moves: Moves

    def differ(self, what: str, counted: int, recorded: int, target: TargetId = NO_TARGET) -> Iterator[Difference]:
        if counted != recorded:
            yield Difference(self.workspace, self.code, target, what, counted, recorded)


def compare(
    workspace: WorkspaceId, code: CodeId, record: Recorded, counters: Snapshot, now_ms: int
) -> Iterator[Difference]:
    """Name every difference between the counters of a code, in Redis or at rest, and its record."""
    pair = _Pair(workspace, code, record, counters, fold(counters.events))
    yield from _places(pair)
    yield from _holds(pair, now_ms)
    yield from _seats(pair)
    yield from _reopenings(pair)


def _places(pair: _Pair) -> Iterator[Difference]:
    held_by_target = Counter(seat.target for seat in pair.counters.holds)
    for target, (inside, held_before, seen_before) in pair.record.totals.items():
        members, held, seen = inside, held_before, seen_before
        move = pair.moves.targets.get(target, Move(pair.code))
        if move.members is not None:
            members, seen = move.members, 0
        held += move.held
        # A target that was given to nobody since the counters began is unknown to them.
        have = pair.counters.places.get(target, Places(members, 0))
        yield from pair.differ("places taken", have.taken, members + held + seen + move.seen, target)
        yield from pair.differ("places held", have.held, held, target)
        yield from pair.differ("open holds", held_by_target.pop(target, 0), held, target)
    for target, have in pair.counters.places.items():
        if target not in pair.record.totals:
            yield from pair.differ("places taken of a target that the record does not have", have.taken, 0, target)
    for target, holds in held_by_target.items():
        yield from pair.differ("open holds of a target that the record does not have", holds, 0, target)


def _holds(pair: _Pair, now_ms: int) -> Iterator[Difference]:
    """Compare the list by which late holds are found; a hold that ends in days is a place that is gone for days."""
    deadlines = pair.counters.holds.values()
    yield from pair.differ("when the first hold is due (ms)", pair.counters.due or 0, min(deadlines, default=0))
    late = sum(deadline > now_ms + _HOLD_MS_MAX for deadline in deadlines)
    yield from pair.differ("holds that end later than any may", late, 0)


def _seats(pair: _Pair) -> Iterator[Difference]:
    last = max(pair.counters.base, pair.record.seats, pair.moves.seats.get(pair.code, 0))
    yield from pair.differ("last seat given", pair.counters.seats, last)


def _reopenings(pair: _Pair) -> Iterator[Difference]:
    """Compare the list by which processes learn that a target has room again: the last re-opening is always in it."""
    counters = pair.counters
    if counters.seq != counters.floor:
        yield from pair.differ("last re-opening that processes can hear of", counters.highest or 0, counters.seq)
    if counters.reopened > REOPENED_MAX:
        yield from pair.differ("re-openings remembered", counters.reopened, REOPENED_MAX)
