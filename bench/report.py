"""Say what was measured: tables for people, one section a measurement in `docs/benchmarks.md`."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import asyncpg
from redis.asyncio import Redis

from bench.loopback import ROOT, Service

PATH: Final = ROOT / "docs" / "benchmarks.md"
PICTURE: Final = PATH.with_suffix(".svg")
_HEAD: Final = """# Benchmarks

Written by `make bench`; each section is replaced when its measurement runs again. The service, its PostgreSQL, its
Redis and the load share the cores of one machine, so these numbers compare one thing with another and promise nothing.
"""


@dataclass(frozen=True, slots=True)
class Section:
    """Tell what one measurement found, and on what machine; `broken` names each promise that did not hold.

    Shapes: `picture` is SVG, '' for none; one section at most has one, since it is kept as `PICTURE`.
    """

    name: str
    machine: str
    text: str
    broken: Sequence[str]
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Goal:
    """Want a figure to be at least, or at most, so much, and better than that."""

    label: str
    found: float
    least: float
    aim: float
    at_most: bool = False

    @property
    def broken(self) -> list[str]:
        """Say that the least was missed, if it was."""
        missed = self.found > self.least if self.at_most else self.found < self.least
        word = "more" if self.at_most else "less"
        return [f"{self.label}: {self.found:.2f}, {word} than {self.least:.2f}"] if missed else []

    @property
    def row(self) -> list[str]:
        """Lay out one line."""
        return [self.label, *(f"{number:.2f}" for number in (self.found, self.least, self.aim))]


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Draw a Markdown table, its first column to the left and the others to the right."""
    cells = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = [
        "| " + " | ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    rule = "| " + " | ".join(["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])])
    return "\n".join(f"{line} |" for line in (lines[0], rule, *lines[1:]))


async def machine(service: Service) -> str:
    """Describe what it was measured on."""
    postgres = await asyncpg.connect(plain_url(service))
    redis = Redis.from_url(service.settings.redis_url)
    try:
        postgres_version = await postgres.fetchval("show server_version")
        redis_version = (await redis.info("server"))["redis_version"]
    finally:
        await redis.aclose()
        await postgres.close()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cores} cores ({_processor()}), {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, Redis {redis_version}, PostgreSQL {postgres_version}"
    )


def software() -> str:
    """Name the versions of what serves and loads beside huoma, where it is installed."""
    found = []
    for name in ("uvicorn", "httptools", "uvloop", "granian"):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    for name in ("wrk", "nginx"):
        if program := shutil.which(name):
            said = subprocess.run([program, "-v"], check=False, capture_output=True, text=True)
            numbers = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
            found.append(f"{name} {numbers[0] if numbers else ''}".strip())
    return ", ".join(found)


def plain_url(service: Service) -> str:
    """Spell where PostgreSQL listens as asyncpg alone wants it."""
    return service.settings.database_url.replace("+asyncpg", "")


def write(sections: Sequence[Section], command: str) -> None:
    """Put sections into the document in place of what they said before."""
    kept = _sections(PATH.read_text()) if PATH.exists() else {}
    for section in sections:
        if section.picture:
            PICTURE.write_text(section.picture)
        measured = f"Measured {datetime.now(UTC):%Y-%m-%d} with `{command}` on {section.machine}."
        kept[section.name] = f"## {section.name}\n\n{measured}\n\n{section.text.strip()}\n"
    PATH.write_text("\n".join([_HEAD, *(kept[name] for name in sorted(kept))]))


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {part.splitlines()[0].removeprefix("## "): part.rstrip() + "\n" for part in parts}


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()
