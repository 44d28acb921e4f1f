"""Break PostgreSQL: killed, paused, out of disk. Scans must not notice, and the API must say so at once."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from bench import cpu
from bench.loopback import MadeCode, Service, running_service
from chaos import disk
from chaos.asking import asking, told, wait_of
from chaos.fault import Effort, Fault, Say
from chaos.judging import judge
from chaos.load import under_load
from chaos.row import Row
from chaos.visitors import Met

API_PER_SECOND: Final = 20.0
# What the first to ask may wait for: HUOMA_DATABASE_CONNECT_SECONDS, twice, and what busy cores add.
API_SECONDS: Final = 5.0
# By then every process has met the silence, and everybody is told at once but the one who asks for all.
KNOWN_SECONDS: Final = 3.0
API_MEDIAN_SECONDS: Final = 0.5


async def killed(service: Service, effort: Effort) -> Row:
    """Kill PostgreSQL as `kill -9` does, and start it again."""

    def breaking(_: MadeCode) -> None:
        service.servers.postgres.kill()
        time.sleep(effort.seconds)
        service.servers.postgres.start()

    said = f"`kill -9`, and a start {effort.seconds:.0f} s later"
    return await _row(service, "PostgreSQL is killed", said, effort, breaking)


async def paused(service: Service, effort: Effort) -> Row:
    """Stop every process of PostgreSQL without ending it: connections stay open, and nothing answers."""

    def breaking(_: MadeCode) -> None:
        with stopped(service):
            time.sleep(effort.seconds)

    said = f"SIGSTOP to all its processes, and SIGCONT {effort.seconds:.0f} s later"
    return await _row(service, "PostgreSQL is paused", said, effort, breaking)


async def disk_filled(service: Service, effort: Effort) -> Row:
    """Leave no room for its files: PostgreSQL ends at its next write, and starts when there is room again."""

    def breaking(_: MadeCode) -> None:
        disk.fill(service.servers.postgres, effort.seconds)

    return await _row(service, "The disk of PostgreSQL is full", disk.said(effort.seconds), effort, breaking)


@contextmanager
def stopped(service: Service) -> Iterator[None]:
    """Stop PostgreSQL until the block ends, the first process first, so that none is started meanwhile."""
    first = service.servers.postgres.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    family = cpu.family(first)
    try:
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def unnoticed(met: Met) -> list[str]:
    """Name what visitors of a code that every process knows have noticed."""
    told_away = sum(answer.outcome == "unavailable" for answer in met.answers)
    return [f"{told_away} answers said that the service is away"] if told_away else []


async def _row(
    service: Service, fault: str, injected: str, effort: Effort, breaking: Callable[[MadeCode], object]
) -> Row:
    async with asking(service, "/codes?limit=1", API_PER_SECOND) as asked:
        borne = await under_load(service, effort, breaking)
    away = asked.during(borne.met.faults)
    known = borne.met.faults[0][0] + KNOWN_SECONDS
    slowest, median = wait_of(away, 1.0), wait_of([one for one in away if one.at > known], 0.5)
    broken = asked.improper
    times = effort.times_as_late
    if slowest > API_SECONDS * times or median > API_MEDIAN_SECONDS * times:
        broken.append(f"the API took {slowest:.2f} s at most to say so, and {median:.2f} s in the middle once it knew")
    row = await judge(service, borne, fault=fault, injected=injected, also=lambda met: [*unnoticed(met), *broken])
    waits = (
        f"median {median * 1000:.0f} ms once that is known, p99 {wait_of(away, 0.99):.2f} s, slowest {slowest:.2f} s"
    )
    return replace(row, noted=f"{row.noted} The API meanwhile: {told(away)}; {waits}.")


def _inject(effort: Effort, say: Say) -> Sequence[Row]:
    rows = []
    with running_service(workers=2) as service:
        for one in (killed, paused, disk_filled):
            say(one.__name__)
            rows.append(asyncio.run(one(service, effort)))
    return rows


FAULTS: Final = (Fault("postgresql", _inject),)
