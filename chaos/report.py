"""Lay rows out for people, and keep them between the marks in `docs/reliability.md`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from bench.loopback import ROOT
from bench.report import table
from chaos.row import Row

PATH: Final = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- begin: what was measured -->", "<!-- end: what was measured -->"
COLUMNS: Final = (
    "fault",
    "scans",
    "places",
    "over-given",
    "lost",
    "doubled",
    "failed",
    "longest gap, s",
    "for who has a place, s",
    "back after, s",
    "slowest answer, s",
)


def laid_out(rows: Sequence[Row]) -> str:
    """Draw the table, and beneath it how each fault was injected and what visitors were told."""
    lines = [table(COLUMNS, [_cells(row) for row in rows]), ""]
    for row in rows:
        told = ", ".join(f"{n:,} {outcome}" for outcome, n in row.told.items())
        lines.append(f"- **{row.fault}**: {row.injected}. Told: {told}.{row.noted and f' {row.noted}'}")
    return "\n".join(lines)


def write(rows: Sequence[Row], machine: str, command: str) -> None:
    """Put what was measured into the document in place of what it said before."""
    before, _, rest = PATH.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    measured = f"Measured {datetime.now(UTC):%Y-%m-%d} with `{command}` on {machine}."
    PATH.write_text(f"{before}{BEGIN}\n\n{measured}\n\n{laid_out(rows)}\n\n{END}{after}")


def _cells(row: Row) -> list[str]:
    numbers = (row.scans, row.places, row.over_given, row.lost, row.doubled, row.failed)
    back = "–" if row.back_seconds is None else f"{row.back_seconds:.2f}"
    gaps = (f"{row.longest_gap_seconds:.2f}", f"{row.known_gap_seconds:.2f}", back, f"{row.slowest_seconds:.2f}")
    return [row.fault, *(f"{number:,}" for number in numbers), *gaps]
