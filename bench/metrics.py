"""Compare huoma with itself without metrics: counting must cost next to nothing.

Both are asked at the same time, so that whatever else this machine does meets both alike, and processor time decides:
one after the other, the noise of a shared machine is several times what is looked for.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Final

from bench.load import CONNECTIONS, loader
from bench.loopback import Service, running_service
from bench.report import Goal, Section, machine, software, table
from bench.rivals import Rival, Stretch, measured, ours_with_and_without_metrics
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
        for pair in pairs:
            _at_once(service, pair, 1)
        for number in range(effort.rounds * PAIRS):
            for pair in pairs:
                for one, stretch in zip(pair, _at_once(service, pair, min(effort.seconds, SECONDS)), strict=True):
                    one.stretches.append(stretch)
            say(f"{number + 1} of {effort.rounds * PAIRS}")
        return _section(pairs, f"{asyncio.run(machine(service))}, {software()}")


def _at_once(service: Service, pair: Sequence[Rival], seconds: float) -> list[Stretch]:
    with ThreadPoolExecutor(len(pair)) as threads:
        return list(threads.map(lambda one: measured(service, one, seconds), pair))


def times(pair: Sequence[Rival], kind: Callable[[Rival], list[float]]) -> float:
    """Take the median of how many times as much the first of a pair took as the second beside it."""
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
    first = pairs[0][0]
    text = f"""\
New visitors without cookies, {CONNECTIONS} at a time for each of two web processes, with and without metrics, at once;
{len(first.stretches)} stretches of {first.stretches[0].load.seconds:.0f} s, worker running, load by {loader()}.
Medians, those of ratios over stretches. CPU: seconds of the web process for a thousand requests, at most
{COST_MAX} times as many.

{table(["", "a second", "CPU", "CPU: times as much", "time: times as much"], rows)}
"""
    return Section("metrics", where, text, [line for goal in goals for line in goal.broken])


def _costs(rival: Rival) -> list[float]:
    return [stretch.cost() for stretch in rival.stretches]


def _gaps(rival: Rival) -> list[float]:
    return [1 / stretch.load.per_second for stretch in rival.stretches]
