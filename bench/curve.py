"""Hold what was measured along one axis, and lay it out as a table and for the picture. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.picture import Panel
from bench.report import table


@dataclass(frozen=True, slots=True)
class Cost:
    """Tell what one scan cost in one stretch. Units: microseconds."""

    cpu: float
    wall: float


@dataclass
class Point:
    """Hold all stretches at one place of a curve; `memory` is what Redis kept there, in bytes, where that is told."""

    x: int
    costs: list[Cost] = field(default_factory=list)
    memory: int | None = None

    @property
    def cpu(self) -> float:
        """Take the median over the stretches."""
        return median(one.cpu for one in self.costs)

    @property
    def wall(self) -> float:
        """Take the median over the stretches."""
        return median(one.wall for one in self.costs)


@dataclass(frozen=True, slots=True)
class Curve:
    """Hold the points of one curve; the others are compared with the first."""

    name: str
    says: str
    points: Sequence[Point]

    def panel(self) -> Panel:
        """Lay it out for the picture."""
        return Panel(self.name, [(point.x, point.cpu) for point in self.points])

    def text(self) -> str:
        """Lay it out as a table."""
        columns = [self.name, "CPU µs a scan", "times the first", "wall µs a scan", "times the first"]
        remembered = any(point.memory is not None for point in self.points)
        rows = [self._row(point) for point in self.points]
        if remembered:
            columns.append("Redis MB")
            for row, point in zip(rows, self.points, strict=True):
                row.append("–" if point.memory is None else f"{point.memory / 1e6:.1f}")
        return f"### {self.name[:1].upper()}{self.name[1:]}\n\n{self.says}\n\n{table(columns, rows)}\n"

    def _row(self, one: Point) -> list[str]:
        first = self.points[0]
        return [
            f"{one.x:,}",
            f"{one.cpu:,.0f}",
            f"{one.cpu / first.cpu:.2f}",
            f"{one.wall:,.0f}",
            f"{one.wall / first.wall:.2f}",
        ]
