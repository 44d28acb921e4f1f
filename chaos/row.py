"""Say what one fault came to: a row of the table in `docs/reliability.md`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """Tell what visitors met while a fault was there, and what the record says afterwards.

    Shapes: `scans` counts all that was asked, pages and pictures; `places` those given; `over_given`, `lost` and
    `doubled` count places and events; `failed` counts what was not answered, or with an error of ours; `told` counts
    answers by outcome; `noted` says what else was measured; `broken` names each promise that did not hold.
    Units: `longest_gap_seconds` in which nobody new was given a place; `known_gap_seconds` in which nobody who had one
    was shown it; `back_seconds` from the end of the fault to the next place given, None where it has no end;
    `slowest_seconds` that anybody waited for an answer.
    """

    fault: str
    injected: str
    scans: int
    places: int
    over_given: int
    lost: int
    doubled: int
    failed: int
    longest_gap_seconds: float
    told: Mapping[str, int]
    known_gap_seconds: float = 0.0
    back_seconds: float | None = None
    slowest_seconds: float = 0.0
    noted: str = ""
    broken: tuple[str, ...] = field(default=())
