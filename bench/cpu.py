"""Tell how much of the processors was used, by process and all that it started."""

from collections.abc import Iterator, Mapping
from math import nan
from os import sysconf
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


def used(pid: int | None) -> float:
    """Sum up what a process, its descendants and those of them that have ended used.

    Units: seconds. Shapes: whole ticks, usually 10 ms; `nan` where there is no /proc.
    """
    if pid is None or not _PROC.joinpath("self", "stat").exists():
        return nan
    running = dict(_processes())
    # utime, stime, cutime and cstime. Source: proc(5), /proc/pid/stat, fields 14 to 17.
    return sum(sum(map(int, running[one][11:15])) for one in _family(pid, running)) / sysconf("SC_CLK_TCK")


def family(pid: int) -> set[int]:
    """List a process and its descendants, of those that run."""
    return _family(pid, dict(_processes()))


def _family(pid: int, running: Mapping[int, list[str]]) -> set[int]:
    ours = {pid}
    # A child may have a lower number than its parent, once numbers begin anew.
    while more := {child for child, fields in running.items() if int(fields[1]) in ours} - ours:
        ours |= more
    return ours & running.keys()


def _processes() -> Iterator[tuple[int, list[str]]]:
    """List what runs: its number, and its fields from the third, the state, on."""
    for folder in _PROC.glob("[0-9]*"):
        try:
            said = (folder / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # A name may have spaces and brackets in it.
        yield int(folder.name), said.rpartition(")")[2].split()
