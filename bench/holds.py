"""Compare small and large codes while holds run out: every batch then takes places back and learns what is open again.

Visitors here open the page and never see its picture, so each place given comes back after `hold_seconds`. A stretch of
that length comes first, unmeasured; the measured one follows at once and gets as many places back as it gives.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from app.domain import limits
from bench import load
from bench.load import CONNECTIONS
from bench.loopback import running_service
from bench.report import Section, machine, table
from bench.targets import OPEN, Contender, Effort, compared, in_turn, large, make, nearly_full, pages, row, small
from bench.targets import wait_until_drained as drained

HOLD_SECONDS: Final = limits.HOLD_SECONDS_MIN


def measure(effort: Effort, say: Callable[[str], None]) -> Section:
    """Measure three codes in turn."""
    with running_service() as service:
        contenders = [
            make(service, label, rows, say, hold_seconds=HOLD_SECONDS)
            for label, rows in (
                (f"{OPEN} targets", small()),
                (f"{effort.size:,} targets", large(effort.size)),
                (f"{effort.size:,}, all full but {OPEN}", nearly_full(effort.size)),
            )
        ]
        for number in range(effort.rounds):
            for one in in_turn(contenders, number):
                say(f"round {number + 1}: {one.label}")
                load.put(f"{service.url}/{one.code.slug}", HOLD_SECONDS)
                one.pages.append(pages(service, one.code, effort.seconds))
                drained(service, one.code)
        return _section(contenders, effort, asyncio.run(machine(service)))


def _section(contenders: Sequence[Contender], effort: Effort, where: str) -> Section:
    base, *others = contenders
    broken = [text for other in others for text in compared(other.label, base.pages, other.pages)[1]]
    text = f"""\
As `targets`, the landing page, while as many places come back (`hold_seconds` {HOLD_SECONDS}) as are given:
{CONNECTIONS} visitors at a time, {effort.rounds} rounds of {effort.seconds:.0f} s each in turn, each right after
{HOLD_SECONDS} s of the same. Medians.

{table(["", "a second", "p50 ms", "p99 ms", "times as slow"], [row(c.label, c.pages, base.pages) for c in contenders])}
"""
    return Section("holds", where, text, broken)
