"""Show how the cost of a scan grows: with targets, codes, connections, web processes and what waits to be recorded.

The claim path in this process where counters and rules are the point, the landing page over HTTP where connections and
processes are. CPU is what the scan's own processes and Redis used: it hardly feels what else the machine does, as the
wall clock does. A worker records meanwhile, as always, unless what waits for it is the point.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from redis import Redis

from app.counters import keys
from app.domain import limits
from app.domain.code import Slug, WorkspaceId
from app.domain.outcome import Given, Visit
from app.services.scanning import Scanner
from bench import claiming, cpu, load
from bench.claiming import BROWSER, fresh_scanner
from bench.curve import Cost, Curve, Point
from bench.filling import fill
from bench.load import CONNECTIONS
from bench.loopback import MadeCode, Service, running_service
from bench.picture import drawn
from bench.report import PICTURE, Section, machine
from bench.targets import OPEN, Effort, in_turn, wait_until_drained

WARM_ONE_IN: Final = 100
# Twice as many as are warm: what a process does not remember it reads anew, at every scan.
CODES_REMEMBERED: Final = 20_000
EVENTS_AN_ENTRY: Final = 64
_SECONDS_MAX: Final = 2.0
# What was used by others is told in whole ticks.
_TICK_SECONDS: Final = 0.01
# As many as a process has connections to PostgreSQL.
_WARMING: Final = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """Say how far each curve goes."""

    targets: Sequence[int] = (10, 100, 1_000, 10_000, limits.TARGETS_PER_CODE)
    codes: Sequence[int] = (100, 1_000, 10_000, 100_000, 1_000_000)
    connections: Sequence[int] = (1, 4, 16, 64, 256, 1_000)
    workers: Sequence[int] = (1, 2)
    backlog: Sequence[int] = (0, 10_000, 100_000, 1_000_000)


QUICK: Final = Scale(targets=(10, 1_000), codes=(100, 10_000), connections=(1, 64), backlog=(0, 100_000))


def measure(effort: Effort, say: Callable[[str], None]) -> Section:
    """Measure all curves on one service; what waits to be recorded comes last, since nobody records it."""
    scale = Scale() if effort == Effort() else QUICK
    effort = replace(effort, seconds=min(effort.seconds, _SECONDS_MAX))
    with running_service() as service:
        bench = _Bench(service, effort, say)
        curves = [
            bench.targets(scale.targets),
            bench.connections(scale.connections),
            bench.workers(scale.workers),
            bench.codes(scale.codes),
            bench.backlog(scale.backlog),
        ]
        where = asyncio.run(machine(service))
    return Section("curves", where, _text(curves, effort), [], drawn([curve.panel() for curve in curves]))


@dataclass
class _Bench:
    """Measure one curve after another on one service; `filled` codes stand in the record already."""

    service: Service
    effort: Effort
    say: Callable[[str], None]
    filled: int = 0

    def targets(self, sizes: Sequence[int]) -> Curve:
        """Compare codes of few and of many targets, in turn."""
        points = [Point(size) for size in sizes]
        by_size = {size: self._code(size) for size in sizes}
        for number in range(self.effort.rounds):
            for point in in_turn(points, number):
                self.say(f"round {number + 1}: {point.x:,} targets")
                point.costs.append(claiming.run(self._claims(by_size[point.x])))
        return Curve("targets of a code", "The claim path, one code.", points)

    def connections(self, numbers: Sequence[int]) -> Curve:
        """Compare few and many connections, in turn."""
        code, points = self._code(OPEN), [Point(number) for number in numbers]
        self._pages(code, CONNECTIONS)
        for number in range(self.effort.rounds):
            for point in in_turn(points, number):
                self.say(f"round {number + 1}: {point.x:,} connections")
                point.costs.append(self._pages(code, point.x))
        says = f"The landing page over HTTP, one web process, load by {load.loader()}."
        return Curve("connections", says, points)

    def workers(self, numbers: Sequence[int]) -> Curve:
        """Compare one web process with several, one after the other."""
        code, points = self._code(OPEN), [Point(number) for number in numbers]
        for point in points:
            self.service.stop("serve")
            self.service.environment["HUOMA_WORKERS"] = str(point.x)
            self.service.start("serve")
            # Every process meets the code before it counts.
            self._pages(code, CONNECTIONS)
            for number in range(self.effort.rounds):
                self.say(f"round {number + 1}: {point.x} web processes")
                point.costs.append(self._pages(code, CONNECTIONS))
        return Curve("web processes", "The landing page over HTTP.", points)

    def codes(self, numbers: Sequence[int]) -> Curve:
        """Let the record grow, and visitors come to one code in a hundred."""
        points = claiming.run(self._growing(numbers))
        says = f"""\
The claim path. Codes of one target each on record; one in {WARM_ONE_IN} is warm, and visitors come to all of these at
random: with one warm code, all who share a round trip share one proposal; with many, each brings his own. A process
remembers {CODES_REMEMBERED:,} codes (`HUOMA_CODES_REMEMBERED`). Redis is what it keeps of the warm codes before anybody
comes; of the others it keeps nothing."""
        return Curve("codes on record", says, points)

    def backlog(self, numbers: Sequence[int]) -> Curve:
        """Let events wait, with nobody to record them."""
        code, points = self._code(OPEN), [Point(number) for number in numbers]
        claiming.run(self._claims(code, seconds=0.1))
        self.service.stop("worker")
        for number in range(self.effort.rounds):
            for point in in_turn(points, number):
                self.say(f"round {number + 1}: {point.x:,} events wait")
                point.memory = self._let_wait(code, point.x)
                point.costs.append(claiming.run(self._claims(code)))
        says = f"""\
The claim path, no worker. So many events wait as a stretch begins, {EVENTS_AN_ENTRY} an entry; Redis is what it keeps
of them. Its append-only file is not being rewritten then."""
        return Curve("events not yet recorded", says, points)

    def _code(self, targets: int) -> MadeCode:
        return asyncio.run(self._fill(1, targets))[0]

    async def _fill(self, count: int, targets: int) -> list[MadeCode]:
        first = self.filled + 1
        self.filled += count
        return await fill(self.service, first, count, targets=targets, hold_seconds=limits.HOLD_SECONDS_MAX)

    async def _claims(self, code: MadeCode, seconds: float | None = None) -> Cost:
        async with fresh_scanner(self.service.settings) as scanner:
            await scanner.fallback(Slug(code.slug))
            return await self._scans(scanner, [code.slug], self.effort.seconds if seconds is None else seconds)

    async def _growing(self, numbers: Sequence[int]) -> list[Point]:
        points, warm, there, memory = [], list[str](), 0, 0
        settings = replace(self.service.settings, codes_remembered=CODES_REMEMBERED)
        async with fresh_scanner(settings) as scanner:
            for number in numbers:
                self.say(f"{number:,} codes on record")
                made = await self._fill(number - there, 1)
                there = number
                self.say(f"warming {len(made) // WARM_ONE_IN:,} of them")
                fresh = [code.slug for code in made[::WARM_ONE_IN]]
                # Neither events nor places that visitors hold are what is told of here.
                await asyncio.to_thread(wait_until_drained, self.service, made[0])
                before = self._redis_bytes()
                await _warm(scanner, fresh)
                warm, memory = warm + fresh, memory + max(0, self._redis_bytes() - before)
                point = Point(number, memory=memory)
                point.costs = [await self._scans(scanner, warm, self.effort.seconds) for _ in range(self.effort.rounds)]
                points.append(point)
        return points

    async def _scans(self, scanner: Scanner, slugs: Sequence[str], seconds: float) -> Cost:
        """Let new visitors come to these codes for so long."""
        drawn = random.choices([_visit(slug) for slug in slugs], k=100_000)
        before, began = self._claim_cpu(), time.perf_counter()
        done = await _scan(scanner, itertools.cycle(drawn), began + seconds)
        wall = time.perf_counter() - began
        return Cost((self._claim_cpu() - before) / done * 1e6, wall / done * 1e6)

    def _pages(self, code: MadeCode, connections: int) -> Cost:
        """Let new visitors open the landing page. Raises: RuntimeError — one got none."""
        serve = self.service.children["serve"].pid
        before = cpu.used(serve) + self._redis_cpu()
        met = load.put(f"{self.service.url}/{code.slug}", self.effort.seconds, connections=connections)
        spent = cpu.used(serve) + self._redis_cpu() - before
        if met.failed or not met.requests:
            raise RuntimeError(f"{met.failed} of {met.requests} pages failed")
        return Cost(max(spent, _TICK_SECONDS) / met.requests * 1e6, met.seconds / met.requests * 1e6)

    def _let_wait(self, code: MadeCode, events: int) -> int:
        """Leave so many events in the stream, packed as `claim.lua` packs them, and no others; tell their bytes."""
        stream = keys.events(WorkspaceId(code.workspace))
        line = f"c|{code.id}|wechat|1800000000000.{code.id}..20000.0.{'v' * 12}|"
        entry = {"now": int(time.time() * 1000), "events": "\n".join([line] * EVENTS_AN_ENTRY)}
        with Redis.from_url(self.service.settings.redis_url) as redis:
            redis.xtrim(stream, 0, approximate=False)
            before = self._redis_bytes()
            with redis.pipeline(transaction=False) as pipe:
                for _ in range(events // EVENTS_AN_ENTRY):
                    pipe.xadd(stream, entry)
                pipe.execute()
            kept = self._redis_bytes() - before
            while redis.info("persistence")["aof_rewrite_in_progress"]:
                time.sleep(0.05)
        return kept

    def _claim_cpu(self) -> float:
        return time.process_time() + self._redis_cpu()

    def _redis_cpu(self) -> float:
        return cpu.used(self.service.servers.redis.pid)

    def _redis_bytes(self) -> int:
        with Redis.from_url(self.service.settings.redis_url) as redis:
            return int(redis.info("memory")["used_memory"])


async def _warm(scanner: Scanner, slugs: Sequence[str]) -> None:
    """Make codes known, without taking a place."""
    waiting = iter(slugs)

    async def one_after_another() -> None:
        for slug in waiting:
            await scanner.fallback(Slug(slug))

    await asyncio.gather(*(one_after_another() for _ in range(_WARMING)))


async def _scan(scanner: Scanner, visits: Iterator[Visit], until: float) -> int:
    """Let 64 new visitors at a time take places; count them."""
    done = 0

    async def one_after_another() -> None:
        nonlocal done
        # Where a busy machine keeps us from beginning in time, somebody comes all the same.
        while not done or time.perf_counter() < until:
            outcome = await scanner.scan(next(visits))
            if not isinstance(outcome, Given):
                raise TypeError(f"a scan ended as {outcome}")
            scanner.tokens(outcome)[outcome.code.id]
            done += 1

    await asyncio.gather(*(one_after_another() for _ in range(CONNECTIONS)))
    return done


def _visit(slug: str) -> Visit:
    return Visit(Slug(slug), BROWSER, preview=False, tokens={})


def _text(curves: Sequence[Curve], effort: Effort) -> str:
    head = f"""\
![What a scan costs as things grow: one panel a curve, CPU relative to its first point]({PICTURE.name})

Medians of {effort.rounds} stretches of {effort.seconds:.0f} s, {CONNECTIONS} new visitors at a time unless said. CPU is
what the web processes, or the claim path alone, and Redis used; load, worker and PostgreSQL share the cores and are
left out of it.
"""
    return "\n".join([head, *(curve.text() for curve in curves)])
