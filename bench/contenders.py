"""Run huoma beside what its server allows, what most people would write, and what the machine allows.

One after the other on the same machine in one run, round after round: ratios between them mean something elsewhere.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Final

from bench.load import CONNECTIONS, loader
from bench.loopback import Service, running_service
from bench.report import Goal, Section, machine, software, table
from bench.rivals import TARGETS, USERS, Rival, line_up, measured, worked
from bench.steady import Steady, put_steadily
from bench.tally import Tally, log_every_statement, tallied
from bench.targets import Effort, in_turn, wait_until_drained

SECONDS_MAX: Final = 4.0
COUNTED_SECONDS: Final = 1.0
# Of the rate that was served just before: the speed of a machine that others use, too, changes from minute to minute.
HALF: Final = 0.5
STEADY: Final = ("a", "c", "d")
# The first tells what the loader and the machine allow.
BOUND: Final = ("c", "d")
# Who against whom, at least and aim, by what is served a second; and what is only told.
WANTED: Final = (("c", "a", 0.50, 0.70), ("d", "a", 0.45, 0.60), ("c", "b", 4.0, 6.0))
BESIDE: Final = (("c on granian", "a on granian"), ("d on granian", "a on granian"))
_STEADY_COLUMNS: Final = ["", "a second", "p50 ms", "p99 ms", "at most", "aim", "loader late ms"]
_WAIT: Final = "p99 ms at half rate, "


def measure(effort: Effort, say: Callable[[str], None]) -> Section:
    """Measure every contender in turn, then ours at half of their rates, then count."""
    seconds = min(effort.seconds, SECONDS_MAX)
    with running_service() as service:
        rivals = {rival.key: rival for rival in line_up(service)}
        for rival in rivals.values():
            measured(service, rival, 1)
        for number in range(effort.rounds):
            for rival in in_turn(list(rivals.values()), number):
                rival.stretches.append(measured(service, rival, seconds))
                say(f"round {number + 1}: {rival.label}: {rival.stretches[-1].load.per_second:,.0f} a second")
        paced = {key: _paced(service, rivals[key], effort.rounds, seconds, say) for key in STEADY}
        say("counting")
        tallies = _tallies(service, list(rivals.values()))
        return _section(rivals, paced, tallies, effort.rounds, f"{asyncio.run(machine(service))}, {software()}")


def ratios(rivals: Mapping[str, Rival]) -> list[Goal]:
    """Compare medians."""
    return [
        Goal(_against(rivals, one, other), rivals[one].rate / rivals[other].rate, least, aim)
        for one, other, least, aim in WANTED
    ]


def waits(rivals: Mapping[str, Rival], paced: Mapping[str, Sequence[Steady]]) -> list[Goal]:
    """Judge how long the slowest of a hundred waited while half of what is possible was asked."""
    return [
        Goal(f"{_WAIT}{rivals[key].label}", median(one.p99_ms for one in paced[key]), 10, 5, at_most=True)
        for key in BOUND
    ]


def _paced(service: Service, rival: Rival, rounds: int, seconds: float, say: Callable[[str], None]) -> list[Steady]:
    met = []
    for _ in range(rounds):
        rate = measured(service, rival, seconds).load.per_second * HALF
        met.append(worked(service, rival, partial(put_steadily, rival.url, rate, seconds)))
        if rival.code:
            wait_until_drained(service, rival.code)
        say(f"{rival.label} at {met[-1].asked:,.0f} a second: p99 {met[-1].p99_ms:.1f} ms")
    return met


def _tallies(service: Service, rivals: Sequence[Rival]) -> dict[str, Tally]:
    service.stop("worker")
    log_every_statement(service)
    return {rival.key: tallied(service, rival, COUNTED_SECONDS) for rival in rivals}


def _section(
    rivals: Mapping[str, Rival],
    paced: Mapping[str, Sequence[Steady]],
    tallies: Mapping[str, Tally],
    rounds: int,
    where: str,
) -> Section:
    goals = ratios(rivals) + waits(rivals, paced)
    broken = [line for goal in goals for line in goal.broken]
    broken += [
        f"{rivals[key].label} at half rate: {one.per_second:,.0f} a second of {one.asked:,.0f}, {one.failed} failed"
        for key, met in paced.items()
        for one in met
        if not one.kept or one.failed
    ]
    columns = ["", "a second", "p50 ms", "p99 ms", *USERS, "scripts", "commands", "SQL"]
    seconds = next(iter(rivals.values())).stretches[0].load.seconds
    text = f"""\
New visitors without cookies, {CONNECTIONS} at a time, {rounds} rounds of {seconds:.0f} s each in turn, one process a
server, worker running, {TARGETS} targets, load by {loader()}. Medians. Every contender runs all the time, and only one
is asked. Every request of ours takes a place, which is checked. (e) counts scans, page and picture, and times requests.

{", ".join(USERS)}: seconds of processors for a thousand requests, until all is in the record.
Scripts, commands (those that scripts ran included), SQL: for one request, counted by Redis and in the log of PostgreSQL
while the worker stood still.

{table(columns, [_row(rival, tallies[key]) for key, rival in rivals.items()])}

Ratios of what is served a second, and of what a request costs the server:

{table(["", "found", "at least", "aim", "by CPU"], _ratio_rows(goals[:3], rivals))}

Half of what was served just before, asked on schedule over {CONNECTIONS} connections; a request takes from when it
was due. The first line tells what loader and machine allow:

{table(_STEADY_COLUMNS, _steady_rows(goals[3:], rivals, paced))}
"""
    return Section("contenders", where, text, broken)


def _ratio_rows(goals: Sequence[Goal], rivals: Mapping[str, Rival]) -> list[list[str]]:
    rows = [
        [*goal.row, _by_cost(rivals[one], rivals[other])]
        for goal, (one, other, _, _) in zip(goals, WANTED, strict=True)
    ]
    for one, other in BESIDE:
        if one in rivals:
            found = f"{rivals[one].rate / rivals[other].rate:.2f}"
            rows.append([_against(rivals, one, other), found, "", "", _by_cost(rivals[one], rivals[other])])
    return rows


def _against(rivals: Mapping[str, Rival], one: str, other: str) -> str:
    return f"{rivals[one].label} : {rivals[other].label}"


def _by_cost(one: Rival, other: Rival) -> str:
    """Spell the ratio of what each server would serve in the same time of processors."""
    return f"{other.cost() / one.cost():.2f}"


def _steady_rows(
    goals: Sequence[Goal], rivals: Mapping[str, Rival], paced: Mapping[str, Sequence[Steady]]
) -> list[list[str]]:
    bounds = {key: [f"{goal.least:.1f}", f"{goal.aim:.1f}"] for key, goal in zip(BOUND, goals, strict=True)}
    names = ("p50_ms", "p99_ms", "late_ms")
    rows = []
    for key, met in paced.items():
        p50, p99, late = (f"{median(getattr(one, name) for one in met):.1f}" for name in names)
        rate = f"{median(one.per_second for one in met):,.0f}"
        rows.append([rivals[key].label, rate, p50, p99, *bounds.get(key, ["", ""]), late])
    return rows


def _row(rival: Rival, tally: Tally) -> list[str]:
    took = [median(getattr(one.load, name) for one in rival.stretches) for name in ("p50_ms", "p99_ms")]
    return [
        rival.label,
        f"{rival.rate:,.0f}",
        *(f"{one:.1f}" for one in took),
        *(f"{rival.cost(user):.3f}" for user in USERS),
        *(f"{one:.2f}" for one in (tally.scripts, tally.commands, tally.statements)),
    ]
