"""Count up what happened: what it does to totals, and how much of what fell into which hour.

`fold` goes event by event and says what is meant; `Tally` tells the same from the lines in which events travel.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from app.domain.code import AccountId, CodeId, TargetId
from app.domain.event import UNCOUNTED, Event, EventKind
from app.domain.hours import QUARTER, hour_start

_QUARTER_MS: Final = QUARTER // timedelta(milliseconds=1)
_GIVEN: Final = frozenset({EventKind.CLAIMED, EventKind.TAKEN})
_MOVING: Final = UNCOUNTED | _GIVEN | {EventKind.SEEN, EventKind.RELEASED}
# What one event moves of its target's places held and places seen, and of its account's adds.
_STEPS: Final[Mapping[str, tuple[int, int, int]]] = {
    EventKind.CLAIMED: (1, 0, 1),
    EventKind.TAKEN: (0, 1, 1),
    EventKind.SEEN: (-1, 1, 0),
    EventKind.RELEASED: (-1, 0, -1),
}
_KINDS: Final = frozenset(EventKind)


@dataclass(slots=True)
class Move:
    """Change one target's totals: by how much, after setting the head count anew where `members` says so."""

    code: CodeId
    members: int | None = None
    held: int = 0
    seen: int = 0


@dataclass(frozen=True, slots=True)
class Moves:
    """Sum up what a run of events does to totals."""

    targets: dict[TargetId, Move]
    seats: dict[CodeId, int]
    adds: dict[tuple[AccountId, int], int]


def fold(events: Iterable[Event]) -> Moves:
    """Sum up events, in their order."""
    moves = Moves({}, {}, {})
    for event in events:
        _fold_one(moves, event)
    return moves


def _fold_one(moves: Moves, event: Event) -> None:
    seat, kind = event.seat, event.kind
    if kind is EventKind.KEPT and not seat.target and seat.account:
        moves.adds[seat.account, seat.day] = moves.adds.get((seat.account, seat.day), 0) + seat.number
    if not seat.target or kind not in _MOVING:
        return
    move = moves.targets.setdefault(seat.target, Move(event.code))
    if kind is EventKind.REBASED:
        move.members, move.seen = seat.number, 0
        return
    if kind in (EventKind.SEEN, EventKind.KEPT):
        kept = 1 if kind is EventKind.SEEN else seat.number
        move.held -= kept
        move.seen += kept
        return
    step = -1 if kind is EventKind.RELEASED else 1
    if kind is EventKind.TAKEN:
        move.seen += 1
    else:
        move.held += step
    if step == 1:
        moves.seats[event.code] = max(moves.seats.get(event.code, 0), seat.number)
    if seat.account:
        moves.adds[seat.account, seat.day] = moves.adds.get((seat.account, seat.day), 0) + step


class Tally:
    """Count up a run of events, from the lines that `Packed.lines` spells, in their order.

    Shapes: `moves` as `fold` tells them; `hours` by the start of the local hour, without `UNCOUNTED`, each
    `code|kind|target|channel|account|client|detail` with how often it happened; `named` has code and target, '' for
    none, of what moved no target. All hold once `close` was called.
    Cost: a line that differs from one before in seat and visitor only costs little more than to split it.
    """

    def __init__(self, time_zone: str) -> None:
        self.moves = Moves({}, {}, {})
        self.hours: dict[datetime, dict[str, int]] = {}
        self.events = 0
        self.named: set[tuple[CodeId, TargetId]] = set()
        self._time_zone = time_zone
        self._quarter = 0
        # Kind, code, client, target, account, day, channel and detail of lines, as many as there were of each.
        self._alike: defaultdict[str, int] = defaultdict(int)

    def add(self, at_ms: int, lines: Sequence[str]) -> None:
        """Count the lines of one entry.

        Raises: ValueError — a number that is none. A kind that nobody knows is met by `close`.
        """
        if at_ms // _QUARTER_MS != self._quarter:
            self.close()
            self._quarter = at_ms // _QUARTER_MS
        self.events += len(lines)
        alike, seats = self._alike, self.moves.seats
        for line in lines:
            kind, code, client, number, rest = line.split("|", 4)
            place, _visitor, detail = rest.rsplit("|", 2)
            if kind in UNCOUNTED:
                # What came before it must not be counted as if it came after.
                self.close()
                self._keep_or_rebase(kind, CodeId(code), place, int(number))
                continue
            alike[f"{kind}|{code}|{client}|{place}|{detail}"] += 1
            if kind in _GIVEN and place[0] != "|" and int(number) > seats.get(CodeId(code), -1):
                seats[CodeId(code)] = int(number)

    def close(self) -> None:
        """Bring `moves` and `hours` up to what was added. Raises: ValueError — a kind that nobody knows."""
        if not self._alike:
            return
        # Hours begin at quarters only, so that a zone is asked once for all of a quarter.
        hour = hour_start(datetime.fromtimestamp(self._quarter * _QUARTER_MS / 1000, UTC), self._time_zone)
        hours = self.hours.setdefault(hour, {})
        for alike, n in self._alike.items():
            kind, code, client, target, account, day, channel, detail = alike.split("|")
            if kind not in _KINDS:
                raise ValueError(f"nobody knows events of kind {kind}")
            key = f"{code}|{kind}|{target}|{channel}|{account}|{client}|{detail}"
            hours[key] = hours.get(key, 0) + n
            if target and kind in _STEPS:
                held, seen, adds = _STEPS[kind]
                move = self._move(CodeId(code), TargetId(target))
                move.held += held * n
                move.seen += seen * n
                if account and adds:
                    who = AccountId(account), int(day)
                    self.moves.adds[who] = self.moves.adds.get(who, 0) + adds * n
            else:
                self.named.add((CodeId(code), TargetId(target)))
        self._alike.clear()

    def _keep_or_rebase(self, kind: str, code: CodeId, place: str, number: int) -> None:
        target, account, day, _channel = place.split("|")
        if not target:
            if account and kind == EventKind.KEPT:
                of = AccountId(account), int(day)
                self.moves.adds[of] = self.moves.adds.get(of, 0) + number
            return
        move = self._move(code, TargetId(target))
        if kind == EventKind.REBASED:
            move.members, move.seen = number, 0
        else:
            move.held -= number
            move.seen += number

    def _move(self, code: CodeId, target: TargetId) -> Move:
        move = self.moves.targets.get(target)
        if move is None:
            move = self.moves.targets[target] = Move(code)
        return move
