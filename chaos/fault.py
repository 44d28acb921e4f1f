"""Say what a fault is to `make chaos`: a name, and a function that injects it under load and answers with its rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from bench.loopback import MadeCode, Service, make_code
from chaos.row import Row
from chaos.visitors import Crowd

Say: TypeAlias = Callable[[str], None]
"""Tell whoever watches how far it is."""

HOLD_SECONDS = 10
PLACES = 20


@dataclass(frozen=True, slots=True)
class Effort:
    """Say how much to do.

    Shapes: people, how fast they come and how often they come back; `rounds` where a fault is injected again and again.
    Units: `seconds` that a fault lasts which lasts as long as it is let; what has to come in time may come so many
    times as late on a machine that does other things, too.
    """

    people: int = 600
    per_second: float = 30.0
    returns: int = 3
    every_seconds: float = 2.0
    rounds: int = 50
    seconds: float = 10.0
    times_as_late: float = 1.0

    @property
    def crowd(self) -> Crowd:
        """Make a crowd of it."""
        return Crowd(self.people, self.per_second, self.returns, self.every_seconds)


@dataclass(frozen=True, slots=True)
class Fault:
    """Name a fault, or several that share a running service; `inject` answers with a row for each."""

    name: str
    inject: Callable[[Effort, Say], Sequence[Row]]


def make_poster(service: Service, people: int, **fields: Any) -> MadeCode:
    """Make a code with groups so small that many fill up, and more of them than `people` can fill.

    Faults may last, and holds get lost.
    """
    groups: list[Mapping[str, Any]] = [{"member_limit": PLACES}] * (2 * (people + 1_000) // PLACES)
    return make_code(service, "poster", groups, hold_seconds=HOLD_SECONDS, new_seats_per_minute=0, **fields)
