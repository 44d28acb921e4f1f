"""Run huoma beside what its server allows, what most people would write, and what the machine allows.

One after the other on the same machine in one run, round after round: ratios between them mean something elsewhere.
"""

import asyncio
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from bench.load import CONNECTIONS, loader
from bench.loopback import running_service
from bench.report import Section, machine, table
from bench.rivals import TARGETS, Rival, Stretch, line_up, measured
from bench.targets import Effort

SECONDS_MAX: Final = 4.0


def measure(effort: Effort, say: Callable[[str], None]) -> Section:
    """Measure every contender in turn."""
    seconds = min(effort.seconds, SECONDS_MAX)
    with running_service() as service:
        rivals = line_up(service, granian=True)
        for rival in rivals:
            measured(service, rival, 1)
        for number in range(effort.rounds):
            first = number % len(rivals)
            for rival in [*rivals[first:], *rivals[:first]]:
                rival.stretches.append(measured(service, rival, seconds))
                say(f"round {number + 1}: {rival.label}: {rival.stretches[-1].load.per_second:,.0f} a second")
        return _section(rivals, effort, seconds, asyncio.run(machine(service)))


def _section(rivals: Sequence[Rival], effort: Effort, seconds: float, where: str) -> Section:
    columns = ["", "a second", "p50 ms", "p99 ms", "server CPU", "Redis CPU", "worker CPU"]
    text = f"""\
New visitors without cookies, {CONNECTIONS} at a time, {effort.rounds} rounds of {seconds:.0f} s each in turn, one
server process, worker running, {TARGETS} targets, load by {loader()}. Medians. CPU: seconds for a thousand requests.

{table(columns, [_row(rival) for rival in rivals])}
"""
    return Section("contenders", where, text, [])


def _row(rival: Rival) -> list[str]:
    took = [median(getattr(one.load, name) for one in rival.stretches) for name in ("p50_ms", "p99_ms")]
    return [
        rival.label,
        f"{rival.rate:,.0f}",
        *(f"{one:.1f}" for one in took),
        *(_thousand(rival.stretches, name) for name in ("server", "redis", "worker")),
    ]


def _thousand(stretches: Sequence[Stretch], name: str) -> str:
    """Spell the seconds that a thousand requests took of one kind of process."""
    used = [(getattr(one, name), one.load.requests) for one in stretches]
    if any(seconds is None for seconds, _ in used):
        return "–"
    return f"{median(seconds * 1000 / requests for seconds, requests in used):.3f}"
