"""Remember which targets of a code cannot be given now, so that a scan looks at the few that can."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from app.domain.code import AccountId, Code, TargetId, TargetState
from app.domain.shifts import local_day


@dataclass(frozen=True, slots=True)
class Spent:
    """Tell what accounts have been added on one local day.

    Shapes: `mark` is `day:count` of the adds given back that day: while it stays, who was capped is capped.
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
_WAKE: Final = bytes.maketrans(bytes((3, 4)), bytes((_OPEN, _OPEN)))
_UNCAP: Final = bytes.maketrans(bytes((2,)), bytes((_OPEN,)))


class Roster:
    """Remember which targets of one code version cannot be given, and why, so that nobody asks for them again.

    A belief, never a promise: the counters decide. It must not miss a target that has room again. So it forgets who is
    full only on what they told (`seq` counts the re-openings it has heard of), who is capped when an add was given
    back or the day is over (`mark`), and who is asleep with every minute.
    Cost: a window is found by one search through a byte a target, done in C: a microsecond or two for 50,000.
    """

    def __init__(self, code: Code, taken: Mapping[TargetId, int], seq: int, spent: Spent | None = None) -> None:
        self.code = code
        self.seq = seq
        self.mark = spent.mark if spent else ""
        self._wakes_at: datetime | None = None
        self._bytes = bytearray(
            _OPEN if taken.get(target.id, 0) < target.member_limit else _LEFT_OUT[TargetState.FULL]
            for target in code.targets
        )
        if spent and spent.adds:
            capped = {a.id for a in code.accounts.values() if spent.adds.get(a.id, 0) >= a.daily_cap}
            self.found_capped(t.id for i, t in enumerate(code.targets) if self._bytes[i] and t.account in capped)

    def found_full(self, target_id: TargetId) -> None:
        """Leave a target out until it re-opens."""
        self._bytes[self.code.index[target_id]] = _LEFT_OUT[TargetState.FULL]

    def found_capped(self, target_ids: Iterable[TargetId]) -> None:
        """Leave targets out until an add is given back, or the day is over."""
        for target_id in target_ids:
            self._bytes[self.code.index[target_id]] = _LEFT_OUT[TargetState.CAPPED]

    def marked(self, mark: str) -> None:
        """Offer the capped again if adds have been given back, or it is another day."""
        if mark != self.mark:
            self.mark = mark
            self._bytes = self._bytes.translate(_UNCAP)

    def reopened(self, target_ids: Iterable[TargetId], seq: int) -> None:
        """Offer targets again that have had a place come back."""
        self.seq = seq
        for target_id in target_ids:
            i = self.code.index.get(target_id)
            if i is not None:
                self._bytes[i] = _OPEN

    def window(self, now: datetime, size: int) -> tuple[list[int], bool]:
        """List the first `size` targets that live and may have room, and whether these are all of them."""
        self._wake(now)
        found: list[int] = []
        i = self._bytes.find(_OPEN)
        while i >= 0:
            target = self.code.targets[i]
            if not self.code.shown(target, now):
                self._bytes[i] = _LEFT_OUT[self.code.state(target, now, -1, -1)]
            elif len(found) == size:
                return found, False
            else:
                found.append(i)
            i = self._bytes.find(_OPEN, i + 1)
        return found, True

    def wakes_at(self) -> datetime | None:
        """Tell until when what sleeps and what is awake stays so, at least; None for ever."""
        return self._wakes_at

    def leaves_out_capped(self) -> bool:
        """Tell whether an account's cap keeps a target from being offered."""
        return _LEFT_OUT[TargetState.CAPPED] in self._bytes

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

    def _wake(self, now: datetime) -> None:
        if not self.code.sleeps:
            return
        if self._wakes_at is None or now >= self._wakes_at:
            self._bytes = self._bytes.translate(_WAKE)
            self._wakes_at = _next_change(self.code, now)
        day = str(local_day(now, self.code.time_zone))
        if self.mark.partition(":")[0] != day:
            self.marked(f"{day}:0")


def _next_change(code: Code, now: datetime) -> datetime:
    """Tell when somebody may next come or go: shifts change with a minute, who is away may be back within one."""
    minute = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    back = (a.until for a in code.accounts.values() if a.until is not None and now < a.until)
    return min((minute, *back))
