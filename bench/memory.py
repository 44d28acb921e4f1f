"""Tell how much memory is used, by a process and all that it started. Linux only: everywhere else it is none."""

from pathlib import Path
from typing import Final

from bench import cpu

_PROC: Final = Path("/proc")


def used(pid: int) -> int:
    """Sum up the memory of a process and its descendants; what several share is counted once (Pss). Units: bytes."""
    return sum(map(_used_by, cpu.family(pid)))


def _used_by(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
