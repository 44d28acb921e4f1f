"""Compare a code of 10 targets with codes of 50,000: a scan must not pay for targets it does not need.

Every code is measured in turn, on the same processes, round after round, so that whatever else this machine does meets
all of them. No hold ends meanwhile; that is `holds`.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, TypeVar

from redis import Redis

from app.counters import keys
from app.domain import limits
from app.domain.code import CodeId, WorkspaceId
from bench import claiming, load
from bench.load import CONNECTIONS, Load
from bench.loopback import MadeCode, Service, make_code, running_service
from bench.report import Section, machine, table

T = TypeVar("T")
L = TypeVar("L", bound=Load)
# Times as slow as with 10 targets: 0.85 of the scans.
SLOWER_MAX: Final = 1 / 0.85
OPEN: Final = 10
GROUP: Final = 200
# Room for everybody who comes while we measure: claim is compared with claim, not with "full".
ENDLESS: Final = 1_000_000
_DRAIN_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Effort:
    """Say how much to measure; `size` is how many targets a large code has."""

    rounds: int = 3
    seconds: float = 5.0
    runs: int = 20
    size: int = limits.TARGETS_PER_CODE


@dataclass
class Contender:
    """Hold one code and what was measured on it."""

    label: str
    code: MadeCode
    made_seconds: float
    pages: list[Load] = field(default_factory=list)
    claims: list[Load] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)


def small() -> list[dict[str, Any]]:
    """Describe ten targets that never fill."""
    return [{"member_limit": ENDLESS}] * OPEN


def large(size: int) -> list[dict[str, Any]]:
    """Describe as many groups as a code may have, all of them empty."""
    return [{"member_limit": GROUP}] * size


def nearly_full(size: int) -> list[dict[str, Any]]:
    """Describe as many groups as a code may have, all full but ten, which stand far apart and never fill."""
    full = {"member_limit": GROUP, "members": GROUP}
    return [{"member_limit": ENDLESS} if i % (size // OPEN) == 0 else full for i in range(size)]


def measure(effort: Effort, say: Callable[[str], None]) -> Section:
    """Measure three codes in turn."""
    with running_service() as service:
        contenders = [
            make(service, label, rows, say, hold_seconds=limits.HOLD_SECONDS_MAX)
            for label, rows in (
                (f"{OPEN} targets", small()),
                (f"{effort.size:,} targets", large(effort.size)),
                (f"{effort.size:,}, all full but {OPEN}", nearly_full(effort.size)),
            )
        ]
        for one in contenders:
            load.put(f"{service.url}/{one.code.slug}", 1)
        for number in range(effort.rounds):
            for one in in_turn(contenders, number):
                say(f"round {number + 1}: {one.label}")
                one.pages.append(pages(service, one.code, effort.seconds))
                one.first_ms.append(claiming.run(claiming.first_scan(service, one.code.slug)))
                wait_until_drained(service, one.code)
                one.claims.append(claiming.run(claiming.put(service, one.code.slug, effort.seconds)))
                wait_until_drained(service, one.code)
        return _section(contenders, effort, asyncio.run(machine(service)))


def make(
    service: Service, label: str, rows: Sequence[dict[str, Any]], say: Callable[[str], None], **fields: Any
) -> Contender:
    """Make one code through the API."""
    say(f"making {label}")
    began = time.perf_counter()
    code = make_code(service, label, rows, **fields)
    return Contender(label, code, time.perf_counter() - began)


def in_turn(contenders: Sequence[T], number: int) -> list[T]:
    """Let another one begin in every round: going first is not the same as going last."""
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def pages(service: Service, code: MadeCode, seconds: float) -> Load:
    """Let new visitors open the landing page, and make sure that each of them took a place."""
    return placed(service, code, lambda: load.put(f"{service.url}/{code.slug}", seconds))


def placed(service: Service, code: MadeCode, work: Callable[[], L]) -> L:
    """Do what lets visitors in, and make sure that each of them took a place."""
    with Redis.from_url(service.settings.redis_url, decode_responses=True) as redis:
        before = _seats(redis, code)
        met = work()
        given = _seats(redis, code) - before
    # Connections that are cut, by this load or by one just before it, may have had their places without their pages.
    if met.failed or not met.requests <= given <= met.requests + 2 * CONNECTIONS:
        raise RuntimeError(f"{met.requests} pages, {met.failed} failed, {given} places given")
    return met


def wait_until_drained(service: Service, code: MadeCode) -> None:
    """Wait until the worker has nothing left to do, so that one stretch does not pay for another."""
    until = time.monotonic() + _DRAIN_SECONDS
    with Redis.from_url(service.settings.redis_url) as redis:
        while redis.xlen(keys.events(WorkspaceId(code.workspace))):
            if time.monotonic() > until:
                raise RuntimeError("the worker does not keep up")
            time.sleep(0.05)


def compared(label: str, base: Sequence[Load], other: Sequence[Load]) -> tuple[float, list[str]]:
    """Tell how many times as slow the other is, and whether that is too slow."""
    slower = rate(base) / rate(other)
    too_slow = [f"{label}: {slower:.2f} times as slow, more than {SLOWER_MAX:.2f}"] if slower > SLOWER_MAX else []
    return slower, too_slow


def rate(loads: Sequence[Load]) -> float:
    """Take the median of what was served a second."""
    return median(one.per_second for one in loads)


def row(label: str, loads: Sequence[Load], base: Sequence[Load]) -> list[str]:
    """Lay out one line: medians over the rounds."""
    p50, p99 = median(one.p50_ms for one in loads), median(one.p99_ms for one in loads)
    return [label, f"{rate(loads):,.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{rate(base) / rate(loads):.2f}"]


def _seats(redis: Redis, code: MadeCode) -> int:
    return int(redis.hget(keys.meta(WorkspaceId(code.workspace), CodeId(code.id)), "seats") or 0)


def _section(contenders: Sequence[Contender], effort: Effort, where: str) -> Section:
    base, *others = contenders
    broken = []
    for other in others:
        broken += compared(f"page, {other.label}", base.pages, other.pages)[1]
        broken += compared(f"claim, {other.label}", base.claims, other.claims)[1]
    columns = ["", "a second", "p50 ms", "p99 ms", "times as slow"]
    first = [[c.label, f"{median(c.first_ms):,.0f}", f"{c.made_seconds:,.0f}"] for c in contenders]
    text = f"""\
New visitors without cookies, {CONNECTIONS} at a time, {effort.rounds} rounds of {effort.seconds:.0f} s each in turn,
one web process, worker running, load by {load.loader()}. Medians. Every request takes a place, which is checked.

The landing page:

{table(columns, [row(c.label, c.pages, base.pages) for c in contenders])}

The claim alone, in process, without HTTP and page:

{table(columns, [row(c.label, c.claims, base.claims) for c in contenders])}

What a process pays that has never met the code, and what making it took through the API:

{table(["", "first scan ms", "made in s"], first)}
"""
    return Section("targets", where, text, broken)
