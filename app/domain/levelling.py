"""Say how far a target that comes late to `balance` is raised (均衡起点), so that it is not given everybody at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from app.domain.code import TargetId


@dataclass(frozen=True, slots=True)
class Load:
    """Hold what `balance` weighs of one target: (taken + handicap) / weight, the least first.

    Shapes: `handicap` may be negative, where a weight became less.
    """

    target: TargetId
    taken: int
    handicap: int
    weight: int
    member_limit: int

    @property
    def ratio(self) -> Fraction:
        """Give what scans compare."""
        return Fraction(self.taken + self.handicap, self.weight)


def least(others: Iterable[Load]) -> Fraction | None:
    """Find where the least of some targets with room stands; None when none has room."""
    return min((other.ratio for other in others if other.taken < other.member_limit), default=None)


def raised(newcomer: Load, least: Fraction | None) -> int:
    """Give the handicap with which a newcomer stands where the least of the others with room stands.

    Never less than it has. Rounded down: it may be given one place before the others, never one after.
    """
    if least is None:
        return newcomer.handicap
    return max(newcomer.handicap, floor(least * newcomer.weight) - newcomer.taken)


def reweighed(load: Load, weight: int) -> int:
    """Give the handicap with which a target of another weight stands where it stood. Rounded down."""
    return floor(load.ratio * weight) - load.taken
