"""Say what is kept of a code that rests (休眠): all that its counters held when nobody had scanned it for a while."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.code import TargetId


@dataclass(frozen=True, slots=True)
class Rest:
    """Hold the counters of one code as they were when it went to rest; no hold was open then.

    Shapes: `token` names this rest and no other; `epoch` is the life of the workspace's counters that they belong to;
    `counts` a JSON list field, value, … as the counters had it; `seen` a bitmap by seat number above `base`; `complete`
    when the counters are known to be gone because of this very rest.
    """

    token: str
    epoch: str
    seats: int
    base: int
    seq: int
    counts: str
    seen: bytes
    complete: bool = False

    def taken(self) -> dict[TargetId, int]:
        """Tell the places taken of every target that the counters knew. Cost: reads all of `counts`."""
        flat = list(json.loads(self.counts))
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return {TargetId(field): int(value) for field, value in pairs if ":" not in field}

    def covers(self, seats: int, recorded: Mapping[TargetId, int]) -> bool:
        """Tell whether a record with so many seats and places knows of nothing that this rest does not.

        A target that is new since does not count: it was given to nobody, or there would be more seats.
        """
        known = self.taken()
        return seats <= self.seats and all(
            places <= known[target] for target, places in recorded.items() if target in known
        )
