"""Ask the kernel what a process and all that it has started use. Linux only: everything is read from `/proc`."""

import os
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the name, which may hold blanks. Source: proc_pid_stat(5).
_PARENT, _USER, _SYSTEM, _WAITED_USER, _WAITED_SYSTEM = 1, 11, 12, 13, 14


def cpu_seconds(pid: int) -> float:
    """Sum up the CPU time of a process and its descendants, of those that have ended, too."""
    spent = (_stat(one) for one in _family(pid))
    fields = (_USER, _SYSTEM, _WAITED_USER, _WAITED_SYSTEM)
    return sum(int(stat[field]) for stat in spent if stat for field in fields) / _TICKS


def memory_bytes(pid: int) -> int:
    """Sum up the memory of a process and its descendants; what several share is counted once (Pss)."""
    return sum(_resident(one) for one in _family(pid))


def _family(pid: int) -> list[int]:
    """List a process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        stat = _stat(int(entry.name)) if entry.name.isdecimal() else None
        if stat:
            children.setdefault(int(stat[_PARENT]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, ())
    return found


def _stat(pid: int) -> list[str] | None:
    """Read the fields after the name; None for a process that has ended meanwhile."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _resident(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
