"""Say what happened, as the counters tell it and the record keeps it."""

from dataclasses import dataclass
from enum import StrEnum

from app.domain.code import CodeId
from app.domain.seat import Seat


class EventKind(StrEnum):
    """Name what happened, by the letter under which it travels."""

    CLAIMED = "c"
    RETURNED = "r"
    SEEN = "s"
    RELEASED = "x"
    FULL = "f"
    REBASED = "b"
    KEPT = "k"
    PREVIEW = "p"
    OUTSIDE_WECHAT = "o"


@dataclass(frozen=True, slots=True)
class Event:
    """Tell one thing that happened; its place in the stream is (entry, n), unique within one life of the stream.

    Shapes: `entry` is `ms-seq`; when re-based, `seat.number` is the head count, and when kept, how many holds
    became places for good because the counters were lost; `seat.target` is the target. Events
    that took no place have a seat of number 0 that only tells channel and visitor.
    Units: `at_ms` milliseconds since 1970, by the clock of the process that asked.
    """

    entry: str
    n: int
    at_ms: int
    kind: EventKind
    code: CodeId
    client: str
    seat: Seat
