"""Storm one code from several processes at once, while a worker records what happens, and tell what came of it.

The claim path of web processes without HTTP. Servers are private, the code is made through the API, the worker is
`huoma worker` as it is.
"""

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from app.domain import limits
from bench import cpu, crowd, exactness
from bench.crowd import READY, Met
from bench.loopback import ROOT, MadeCode, Service, make_code, running_service
from bench.report import machine
from bench.watch import REDIS, Sample, Watch, watching

PLACES: Final = 200
FULL_SIZE: Final = limits.TARGETS_PER_CODE * PLACES
# A stall of the disk makes Redis late. Whoever gives up on it cannot count what he was given, so here nobody does.
REDIS_TIMEOUT_SECONDS: Final = 60
_SAY_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Size:
    """Say how large a storm is.

    Shapes: one visitor in `one_in` sees the picture; the others' places are held, for the hour that a hold may last,
    which is the most that the counters can be made to remember of them.
    """

    groups: int = limits.TARGETS_PER_CODE
    visitors: int = FULL_SIZE
    processes: int = 2
    at_once: int = 512
    one_in: int = 10

    @property
    def places(self) -> int:
        """Count all places there are."""
        return self.groups * PLACES


@dataclass(frozen=True, slots=True)
class Storm:
    """Hold what was measured and found.

    Shapes: `rows` on record; `cpu` by process; `wrong` names what is not exact. Units: seconds.
    """

    size: Size
    met: Sequence[Met]
    samples: Sequence[Sample]
    drained_at: float
    rows: int
    cpu: Mapping[str, float]
    wrong: Sequence[str]
    seconds: float
    verify_seconds: float
    machine: str

    @property
    def storming_seconds(self) -> float:
        """Tell how long it took from the first visitor to the last."""
        return self._ended - min(one.began for one in self.met)

    @property
    def draining_seconds(self) -> float:
        """Tell how long the worker went on alone."""
        return self.drained_at - self._ended

    @property
    def scans_a_second(self) -> float:
        """Count visitors from the first to the last."""
        return self.size.visitors / self.storming_seconds

    @property
    def left(self) -> int:
        """Count the rows not yet on record when the last visitor was told."""
        last = next(sample for sample in self.samples if sample.at >= self._ended)
        return round((last.given - last.recorded) * self.rows / self.size.places)

    @property
    def _ended(self) -> float:
        return max(one.ended for one in self.met)


def storm(size: Size, say: Callable[[str], None]) -> Storm:
    """Make a code, let the crowd come, wait until all is on record, and look at every place."""
    began = time.monotonic()
    with running_service() as service:
        say(f"making {size.groups:,} groups")
        code = make_code(
            service,
            "poster",
            [{"member_limit": PLACES}] * size.groups,
            hold_seconds=limits.HOLD_SECONDS_MAX,
        )
        # Its part is played by the crowd's processes, which ask nobody over HTTP.
        service.stop("serve")
        return asyncio.run(_storm(service, code, size, say, began))


async def _storm(service: Service, code: MadeCode, size: Size, say: Callable[[str], None], began: float) -> Storm:
    worker, postgres = service.children["worker"].pid, service.servers.postgres.pid
    assert postgres is not None
    servers = {"worker": worker, REDIS: service.servers.redis.pid, "PostgreSQL": postgres}
    spent = {label: -cpu.used(pid) for label, pid in servers.items()}
    async with watching(service, code, {"worker": worker, "PostgreSQL": postgres}) as watch:
        met = await _crowd(service, watch, size, say)
        say(f"{watch.samples[-1].entries:,} entries are left to be recorded")
        drained = await watch.until_drained()
        for label, pid in servers.items():
            spent[label] += cpu.used(pid)
        wrong = [*_told_wrong(met, size), *await _one_more(service, code.slug)]
        # That one is recorded, too, before anything is counted.
        await watch.until_drained()
    for number, one in enumerate(met, 1):
        spent[f"claimer {number}"] = one.cpu_seconds
    say("looking at every place")
    apart, rows = await exactness.apart(service, code, size.groups, PLACES)
    verifying = time.monotonic()
    wrong += [*apart, *exactness.verified(service)]
    verify_seconds = time.monotonic() - verifying
    where = await machine(service)
    seconds = time.monotonic() - began
    return Storm(size, met, watch.samples, drained.at, rows, spent, wrong, seconds, verify_seconds, where)


async def _crowd(service: Service, watch: Watch, size: Size, say: Callable[[str], None]) -> list[Met]:
    """Start all processes, let them go together, and count what their visitors met."""
    await watch.look()
    shares = [size.visitors // size.processes] * size.processes
    shares[0] += size.visitors - sum(shares)
    starting = (_claimer(service, watch.code.slug, share, size.at_once, size.one_in) for share in shares)
    processes = await asyncio.gather(*starting)
    for number, process in enumerate(processes, 1):
        watch.processes[f"claimer {number}"] = process.pid
    async with _background(watch.go_on()), _background(_tell(watch, say)):
        met = await asyncio.gather(*(_let_go(process) for process in processes))
    await watch.look()
    return met


async def _claimer(service: Service, slug: str, visitors: int, at_once: int, one_in: int) -> Process:
    """Start one process of the crowd and wait until it knows the code. Raises: RuntimeError."""
    environment = service.environment | {"HUOMA_REDIS_TIMEOUT_SECONDS": str(REDIS_TIMEOUT_SECONDS)}
    words = [sys.executable, "-m", "bench.crowd", slug, *map(str, (visitors, at_once, one_in))]
    process = await asyncio.create_subprocess_exec(*words, env=environment, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None
    if (await process.stdout.readline()).decode().strip() != READY:
        raise RuntimeError("a process of the crowd did not start")
    return process


async def _let_go(process: Process) -> Met:
    said, _ = await process.communicate(b"go\n")
    if process.returncode:
        raise RuntimeError("a process of the crowd failed")
    return Met(**json.loads(said))


async def _one_more(service: Service, slug: str) -> list[str]:
    """Send one visitor more than there are places."""
    met = await crowd.storm(service.settings, slug, 1, 1, 1, lambda: None)
    return [] if met.others == {"Full": 1} else [f"one visitor more met {met.given} places and {met.others}"]


def _told_wrong(met: Sequence[Met], size: Size) -> list[str]:
    """Name what visitors should not have been told."""
    given, others = sum(one.given for one in met), Counter[str]()
    for one in met:
        others.update(one.others)
    wrong = [] if given == size.places else [f"{given:,} visitors were given a place, not {size.places:,}"]
    if max(one.ended for one in met) - min(one.began for one in met) > limits.HOLD_SECONDS_MAX:
        # Nothing is amiss then, but nothing can be proved either.
        wrong.append("it took longer than a place is held, so places came back and were given again")
    surplus = {"Full": size.visitors - size.places} if size.visitors > size.places else {}
    return wrong if others == surplus else [*wrong, f"others met {dict(others)}, not {surplus}"]


async def _tell(watch: Watch, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(_SAY_SECONDS)
        now = watch.samples[-1]
        say(f"{now.given:,} places given, {now.recorded:,} on record, {now.entries:,} entries wait")


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do something meanwhile, and fail with it."""
    task = asyncio.create_task(work)
    try:
        yield
        if task.done():
            await task
    finally:
        task.cancel()
