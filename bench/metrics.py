"""Compare huoma with itself without metrics: counting must cost next to nothing.

Pairs of short stretches, one right after the other, now this one first and now that one, so that whatever else this
machine does meets both. Processor time decides: it is less noisy than what was served a second.
"""

import asyncio
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from bench.load import CONNECTIONS, loader
from bench.loopback import running_service
from bench.report import Goal, Section, machine, software, table
from bench.rivals import Rival, measured, ours_with_and_without_metrics
from bench.targets import Effort

SECONDS: Final = 2.0
PAIRS: Final = 3
# Times as much as without metrics.
COST_MAX: Final = 1.03
COST_AIM: Final = 1.01


def measure(effort: Effort, say: Callable[[str], None]) -> Section:
    """Measure the link code and the group page."""
    with running_service() as service:
        pairs = ours_with_and_without_metrics(service)
        for one in (rival for pair in pairs for rival in pair):
            measured(service, one, 1)
        for number in range(effort.rounds * PAIRS):
            for pair in pairs:
                for one in pair if number % 2 else reversed(pair):
                    one.stretches.append(measured(service, one, min(effort.seconds, SECONDS)))
            say(f"pair {number + 1} of {effort.rounds * PAIRS}")
        return _section(pairs, f"{asyncio.run(machine(service))}, {software()}")


def times(pair: Sequence[Rival], kind: Callable[[Rival], list[float]]) -> float:
    """Take the median of how many times as much the first of a pair took as the second right beside it."""
    real, bare = pair
    return median(one / other for one, other in zip(kind(real), kind(bare), strict=True))


def _section(pairs: Sequence[Sequence[Rival]], where: str) -> Section:
    goals = [
        Goal(f"{pair[0].label}: with metrics : without, CPU", times(pair, _costs), COST_MAX, COST_AIM, at_most=True)
        for pair in pairs
    ]
    rows = [
        [one.label, f"{one.rate:,.0f}", f"{one.cost():.4f}", *told]
        for pair, goal in zip(pairs, goals, strict=True)
        for one, told in zip(pair, ([f"{goal.found:.3f}", f"{times(pair, _gaps):.3f}"], ["", ""]), strict=True)
    ]
    text = f"""\
New visitors without cookies, {CONNECTIONS} at a time, {len(pairs[0][0].stretches)} pairs of stretches of
{pairs[0][0].stretches[0].load.seconds:.0f} s, one web process each, worker running, load by {loader()}. Medians; the
ratios are medians over pairs, at most {COST_MAX} for CPU (seconds of the web process for a thousand requests).

{table(["", "a second", "CPU", "CPU: times as much", "time: times as much"], rows)}
"""
    return Section("metrics", where, text, [line for goal in goals for line in goal.broken])


def _costs(rival: Rival) -> list[float]:
    return [stretch.cost() for stretch in rival.stretches]


def _gaps(rival: Rival) -> list[float]:
    return [1 / stretch.load.per_second for stretch in rival.stretches]
