"""Break our own processes: workers and web processes killed at random moments, replaced under load, far behind."""

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from redis import Redis

from app.counters import keys
from app.domain.code import WorkspaceId
from bench import memory
from bench.loopback import MadeCode, Service, running_service
from chaos.fault import Effort, Fault, Say
from chaos.judging import judge
from chaos.load import under_load
from chaos.row import Row
from chaos.visitors import Met

# A worker that starts needs about a second until it records.
BETWEEN_SECONDS: Final = (0.2, 2.0)
PATIENCE_SECONDS: Final = 180.0
BACKLOG: Final = 1_000_000
EVENTS_AN_ENTRY: Final = 64
# What a backlog may cost a worker beyond what it takes when idle: a slice, and the rows of one transaction.
WORKER_BYTES: Final = 300 * 2**20
_LOOK_SECONDS: Final = 0.05
_WATCHED: Final = re.compile(r"^tfd:\s*(\d+)", re.MULTILINE)


async def workers_killed(service: Service, effort: Effort) -> Row:
    """Kill the worker at random moments, and start another."""

    def breaking(_: MadeCode) -> None:
        chance = random.Random()
        for _number in range(effort.rounds):
            time.sleep(chance.uniform(*BETWEEN_SECONDS))
            worker = service.children.pop("worker")
            worker.kill()
            worker.wait()
            service.start("worker")

    said = f"`kill -9`, {effort.rounds} times at random moments, and another started at once"
    return await _row(service, "The worker is killed", said, effort, breaking)


async def web_killed(service: Service, effort: Effort) -> Row:
    """Kill web processes at random moments; the command that looks after them starts others."""
    times = max(1, effort.rounds // 5)

    def breaking(_: MadeCode) -> None:
        chance = random.Random()
        for _number in range(times):
            time.sleep(chance.uniform(*BETWEEN_SECONDS))
            victim = chance.choice(web_processes(service))
            os.kill(victim, signal.SIGKILL)
            _until(lambda victim=victim: _all_serve(service, but=victim))  # type: ignore[misc]

    said = f"`kill -9` to one of two, {times} times at random moments at which both served"
    row = await _row(service, "Web processes are killed", said, effort, breaking)
    # Who was being answered by it asks again; there is nobody to answer him.
    return replace(row, broken=tuple(what for what in row.broken if "requests failed" not in what))


async def replaced(service: Service, effort: Effort) -> Row:
    """Replace every web process while visitors come (SIGHUP), again and again."""
    times = max(1, effort.rounds // 25)

    def breaking(_: MadeCode) -> None:
        for _number in range(times):
            before = set(web_processes(service))
            service.children["serve"].send_signal(signal.SIGHUP)
            _until(lambda old=before: not old & set(web_processes(service)))  # type: ignore[misc]

    said = f"SIGHUP, {times} times: each of two web processes gives way to another"
    return await _row(service, "Web processes are replaced", said, effort, breaking)


async def behind(service: Service, effort: Effort, events: int = BACKLOG) -> Row:
    """Let a backlog wait for the worker, and look at its memory while it catches up."""
    told: list[str] = []
    peak = 0

    def breaking(code: MadeCode) -> None:
        nonlocal peak
        service.stop("worker")
        fill(service, code, events)
        began = time.monotonic()
        service.start("worker")
        worker = service.children["worker"].pid
        redis = Redis.from_url(service.settings.redis_url)
        while time.monotonic() < began + PATIENCE_SECONDS:
            peak = max(peak, memory.used(worker))
            if int(redis.xlen(keys.events(WorkspaceId(code.workspace)))) * EVENTS_AN_ENTRY < events // 100:
                break
            time.sleep(_LOOK_SECONDS)
        took = time.monotonic() - began
        told.append(f"{events:,} events recorded in {took:.0f} s; the worker took {peak / 2**20:.0f} MB at most.")

    def too_large(_: Met) -> Sequence[str]:
        return [f"the worker took {peak / 2**20:.0f} MB"] if peak > WORKER_BYTES else []

    said = f"no worker, {events:,} events waiting, then a worker"
    row = await _row(service, "The record is far behind", said, effort, breaking, too_large)
    return replace(row, noted=f"{row.noted} {' '.join(told)}")


def fill(service: Service, code: MadeCode, events: int) -> None:
    """Write previews of a code into the stream, as many as a busy hour without a worker leaves."""
    redis = Redis.from_url(service.settings.redis_url)
    line = f"p|{code.id}|wechat|0...0.0.v|"
    entry = {"now": int(time.time() * 1000), "events": "\n".join([line] * EVENTS_AN_ENTRY)}
    left = -(-events // EVENTS_AN_ENTRY)
    while left > 0:
        with redis.pipeline(transaction=False) as pipe:
            for _ in range(min(left, 500)):
                pipe.xadd(keys.events(WorkspaceId(code.workspace)), entry)  # type: ignore[arg-type]
            pipe.execute()
        left -= 500


def web_processes(service: Service) -> list[int]:
    """Name the processes that `serve` looks after."""
    parent = service.children["serve"].pid
    found = []
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(OSError):
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                found.append(int(child))
    return found


def serves(pid: int) -> bool:
    """Tell whether a web process takes newcomers: its event loop watches a socket that listens."""
    folder = Path(f"/proc/{pid}")
    # Source: proc(5), /proc/pid/net/tcp: the fourth field is the state, 0A when it listens, the tenth the inode.
    rows = [line.split() for line in (folder / "net" / "tcp").read_text().splitlines()[1:]]
    listening = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"}
    watched: set[str] = set()
    for file in (folder / "fd").iterdir():
        if str(file.readlink()) == "anon_inode:[eventpoll]":
            watched |= set(_WATCHED.findall((folder / "fdinfo" / file.name).read_text()))
    return any(str((folder / "fd" / number).readlink()) in listening for number in watched)


def _all_serve(service: Service, *, but: int) -> bool:
    """Tell whether there are as many web processes as there should be, without one that was killed."""
    with suppress(OSError):
        there = web_processes(service)
        return but not in there and sum(map(serves, there)) == service.settings.workers
    return False


def _until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > until:
            raise AssertionError("processes did not come back")
        time.sleep(_LOOK_SECONDS)


def _nothing(_: Met) -> Sequence[str]:
    return ()


async def _row(
    service: Service,
    fault: str,
    injected: str,
    effort: Effort,
    breaking: Callable[[MadeCode], object],
    also: Callable[[Met], Sequence[str]] = _nothing,
) -> Row:
    borne = await under_load(service, effort, breaking)
    return await judge(service, borne, fault=fault, injected=injected, also=also)


def _inject(effort: Effort, say: Say) -> Sequence[Row]:
    rows = []
    with running_service(workers=2) as service:
        for one in (workers_killed, web_killed, replaced, behind):
            say(one.__name__)
            _keep_a_worker(service)
            rows.append(asyncio.run(one(service, effort)))
    return rows


def _keep_a_worker(service: Service) -> None:
    """Start a worker from this thread: one that another thread started has ended with it."""
    if "worker" in service.children:
        service.stop("worker")
    service.start("worker")


FAULTS: Final = (Fault("processes", _inject),)
