"""Remember which targets of a code cannot be given now, so that a scan looks at the few that can."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from app.domain.cap_days import spell_span
from app.domain.code import AccountId, Code, TargetId, TargetState
from app.domain.elapsing import was_set_back


@dataclass(frozen=True, slots=True)
class Spent:
    """Tell what accounts have been added on one local day.

    Shapes: `mark` is `days:count`, the days that count and the adds given back today: while it stays, who was capped is
    capped.
    """

    mark: str = ""
    adds: Mapping[AccountId, int] = field(default_factory=dict)


_OPEN: Final = 1
# Why a target is left out, by the byte that says so; what comes first is what a visitor is told about all of them.
_LEFT_OUT: Final = {
    TargetState.CAPPED: 2,
    TargetState.OFF_SHIFT: 3,
    TargetState.UNAVAILABLE: 4,
    TargetState.FULL: 0,
    TargetState.EXPIRED: 5,
    TargetState.PAUSED: 6,
}
_CAPPED: Final = _LEFT_OUT[TargetState.CAPPED]
_ASLEEP: Final = frozenset({_LEFT_OUT[TargetState.OFF_SHIFT], _LEFT_OUT[TargetState.UNAVAILABLE]})
_REVIVE: Final = bytes.maketrans(bytes((_LEFT_OUT[TargetState.EXPIRED],)), bytes((_OPEN,)))
_UNCAP: Final = bytes.maketrans(bytes((_CAPPED,)), bytes((_OPEN,)))


class Roster:
    """Remember which targets of one code version cannot be given, and why, so that nobody asks for them again.

    A belief, never a promise: the counters decide. It must not miss a target that has room again. So it forgets who is
    full or capped only on what they told (`seq` counts the re-openings it has heard of, `mark` the adds given back
    today), and looks at who is asleep with every minute, once for all who keep the same hours.
    Cost: a window is found by one search through a byte a target, done in C: a microsecond or two for 50,000.
    """

    def __init__(self, code: Code, taken: Mapping[TargetId, int], seq: int, spent: Spent | None = None) -> None:
        self.code = code
        self.seq = seq
        self.mark = spent.mark if spent else ""
        self.wakes_at: datetime | None = None
        # When targets were last looked for.
        self._looked_at: datetime | None = None
        # Targets asleep by whose hours they keep, with the state that all of these were found in.
        self._asleep: dict[int, tuple[TargetState, list[int]]] = {}
        self._bytes = bytearray(
            _OPEN if taken.get(target.id, 0) < target.member_limit else _LEFT_OUT[TargetState.FULL]
            for target in code.targets
        )
        if spent:
            capped = {a.id for a in code.accounts.values() if spent.adds.get(a.id, 0) >= a.daily_cap}
            self.found_capped(t.id for i, t in enumerate(code.targets) if self._bytes[i] and t.account in capped)
        if never := {a.id for a in code.accounts.values() if not a.daily_cap}:
            self._bytes = bytearray(
                _LEFT_OUT[TargetState.UNAVAILABLE] if byte and target.account in never else byte
                for byte, target in zip(self._bytes, code.targets, strict=True)
            )

    def found_full(self, target_id: TargetId) -> None:
        """Leave a target out until it re-opens."""
        self._bytes[self.code.index[target_id]] = _LEFT_OUT[TargetState.FULL]

    def found_capped(self, target_ids: Iterable[TargetId]) -> None:
        """Leave targets out until an add is given back, or the day is over."""
        for target_id in target_ids:
            self._bytes[self.code.index[target_id]] = _CAPPED

    def given_back(self, mark: str, accounts: Iterable[AccountId] | None) -> None:
        """Offer accounts again that were given an add back; None is whoever is capped."""
        self.mark = mark
        if accounts is None:
            self._bytes = self._bytes.translate(_UNCAP)
            return
        for account in accounts:
            self._open(self.code.offering.get(account, ()), _CAPPED)

    def reopened(self, target_ids: Iterable[TargetId], seq: int) -> None:
        """Offer targets again that have had a place come back."""
        self.seq = seq
        for target_id in target_ids:
            i = self.code.index.get(target_id)
            if i is not None:
                self._bytes[i] = _OPEN

    def window(self, now: datetime, size: int, start: int = 0) -> tuple[list[int], bool]:
        """List the first `size` targets from `start` on that live and may have room; tell whether these are all."""
        self._wake(now)
        found: list[int] = []
        seen: dict[int, TargetState] = {}
        i = self._bytes.find(_OPEN, start)
        while i >= 0:
            state = self._state(i, now, seen)
            if state is not TargetState.LIVE:
                self._bytes[i] = _LEFT_OUT[state]
            elif len(found) == size:
                return found, False
            else:
                found.append(i)
            i = self._bytes.find(_OPEN, i + 1)
        return found, True

    def why(self, *, besides_full: bool) -> TargetState:
        """Tell what keeps targets from being offered; `besides_full` when those that are offered may be full."""
        present = frozenset(self._bytes)
        return next(
            (
                state
                for state, byte in _LEFT_OUT.items()
                if byte in present or (besides_full and state is TargetState.FULL)
            ),
            TargetState.FULL,
        )

    def _state(self, i: int, now: datetime, seen: dict[int, TargetState]) -> TargetState:
        """Say what a scan would find, places and adds aside; `seen` remembers hours that were looked at already."""
        target = self.code.targets[i]
        if not self.code.sleeps or not target.alive(now):
            return TargetState.LIVE if target.alive(now) else self.code.state(target, now, -1, -1)
        hours = self.code.hours[i]
        state = seen.get(hours)
        if state is None:
            state = seen[hours] = self.code.state(target, now, -1, -1)
        if state is not TargetState.LIVE:
            self._asleep.setdefault(hours, (state, []))[1].append(i)
        return state

    def _wake(self, now: datetime) -> None:
        if self._looked_at is not None and was_set_back(self._looked_at, now):
            # What had expired may live.
            self._bytes = self._bytes.translate(_REVIVE)
            self.wakes_at = None
        self._looked_at = now
        if not self.code.sleeps:
            return
        if self.wakes_at is None or now >= self.wakes_at:
            self.wakes_at = _next_change(self.code, now)
            for hours, (state, sleepers) in list(self._asleep.items()):
                # Any of them tells for all; one that has died meanwhile is looked at like the others.
                if self.code.state(self.code.targets[sleepers[0]], now, -1, -1) is not state:
                    del self._asleep[hours]
                    self._open(sleepers, *_ASLEEP)
        span = spell_span(self.code.cap_days.span(now))
        if self.mark.partition(":")[0] != span:
            self.given_back(f"{span}:0", None)

    def _open(self, targets: Iterable[int], *left_out: int) -> None:
        for i in targets:
            if self._bytes[i] in left_out:
                self._bytes[i] = _OPEN


def _next_change(code: Code, now: datetime) -> datetime:
    """Tell when somebody may next come or go: shifts change with a minute, who is away may be back within one."""
    minute = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    back = (a.until for a in code.accounts.values() if a.until is not None and now < a.until)
    return min((minute, *back))
