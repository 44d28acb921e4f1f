"""Break Redis: killed, paused, out of memory or disk, cut off in the middle of replies, emptied."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Final
from urllib.parse import unquote, urlsplit

import redis

from app.counters import keys
from app.domain.code import WorkspaceId
from bench.loopback import MadeCode, Service, running_service
from chaos import disk, processes
from chaos.fault import Effort, Fault, Say
from chaos.judging import judge, until_drained
from chaos.load import under_load
from chaos.proxy import Proxy, proxied
from chaos.row import Row
from chaos.visitors import Met

# Bytes of replies after which a connection is cut: the reply to one scan has some hundred.
CUT_AFTER: Final = (20, 3_000)
# New visitors are served within a second of its end; the rest is what busy cores may add.
BACK_SECONDS: Final = 2.0
# A reply may take a second, and who asks later is told at once; the rest is again for busy cores.
ANSWER_SECONDS: Final = 2.0
# The worker looks again after five seconds at most; the rest is recording half of what waits.
RECOVERED_SECONDS: Final = 15.0
BACKLOG: Final = 200_000
_LOOK_SECONDS: Final = 0.1

Breaking = Callable[[MadeCode], object]


async def killed(service: Service, effort: Effort) -> Row:
    """Kill Redis as `kill -9` does, again and again, and start it on its append-only file."""
    times = min(3, effort.rounds)

    def breaking(_: MadeCode) -> None:
        for _number in range(times):
            service.servers.redis.kill()
            time.sleep(1.0)
            service.servers.redis.start()

    said = f"`kill -9`, {times} times, a second without, then a start on its append-only file"
    return await _row(service, "Redis is killed", said, effort, breaking)


async def paused(service: Service, effort: Effort) -> Row:
    """Stop Redis without ending it: connections stay open, and nothing answers."""

    def breaking(_: MadeCode) -> None:
        pid = service.servers.redis.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(effort.seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    said = f"SIGSTOP, and SIGCONT {effort.seconds:.0f} s later"
    return await _row(service, "Redis is paused", said, effort, breaking)


async def cut(service: Service, effort: Effort, proxy: Proxy) -> Row:
    """Cut connections to Redis in the middle of replies, again and again; the service must use the proxy."""
    before = proxy.cuts

    def breaking(_: MadeCode) -> None:
        proxy.cut_replies(CUT_AFTER)
        time.sleep(effort.seconds)
        proxy.cut_replies(None)

    least, most = CUT_AFTER
    said = f"for {effort.seconds:.0f} s a proxy cut every connection after {least} to {most:,} bytes of replies"
    row = await _row(service, "Redis is cut off within replies", said, effort, breaking)
    assert proxy.cuts > before, "nothing was cut"
    return replace(row, injected=f"{row.injected}: {proxy.cuts - before:,} cuts")


async def filled(service: Service, effort: Effort) -> Row:
    """Give Redis no memory for anything new, as `maxmemory` does where nothing may be thrown away."""

    def breaking(_: MadeCode) -> None:
        allow(service, 1)
        time.sleep(effort.seconds)
        allow(service, 0)

    said = f"`maxmemory` reached for {effort.seconds:.0f} s: it answers `OOM` to whatever writes"
    return await _row(service, "Redis is full", said, effort, breaking)


async def filled_behind(service: Service, effort: Effort, events: int = BACKLOG) -> Row:
    """Fill Redis with events that wait for a PostgreSQL that is away; bring only PostgreSQL back.

    The limit stays: half of what waits must leave before Redis takes anything new, and only the drain removes it.
    """
    took = 0.0

    def breaking(code: MadeCode) -> None:
        nonlocal took
        service.servers.postgres.kill()
        processes.fill(service, code, events)
        with redis.Redis.from_url(service.servers.servers.redis_url) as client:
            waiting = client.memory_usage(keys.events(WorkspaceId(code.workspace)), samples=0)
            limit = int(client.info("memory")["used_memory"]) - int(waiting or 0) // 2
            allow(service, limit)
            time.sleep(effort.seconds)
            service.servers.postgres.start()
            began = time.monotonic()
            while int(client.info("memory")["used_memory"]) >= limit and took < RECOVERED_SECONDS * 4:
                time.sleep(_LOOK_SECONDS)
                took = time.monotonic() - began

    def slow(met: Met) -> list[str]:
        bound = RECOVERED_SECONDS * effort.times_as_late
        return [*([f"Redis was full for {took:.1f} s after PostgreSQL was back"] if took > bound else []),
                *late(met, effort.times_as_late)]  # fmt: skip

    said = f"PostgreSQL killed, {events:,} events waiting, `maxmemory` below that; back in {effort.seconds:.0f} s"
    try:
        borne = await under_load(service, effort, breaking)
        row = await judge(service, borne, fault="Redis is full while the record is away", injected=said, also=slow)
    finally:
        allow(service, 0)
    return replace(row, noted=f"{row.noted} There was room again {took:.1f} s after PostgreSQL was back.")


async def disk_filled(service: Service, effort: Effort) -> Row:
    """Leave no room for the append-only file: Redis ends at its next write, and starts when there is room again."""

    def breaking(_: MadeCode) -> None:
        disk.fill(service.servers.redis, effort.seconds)

    return await _row(service, "The disk of Redis is full", disk.said(effort.seconds), effort, breaking)


async def emptied(service: Service, effort: Effort, proxy: Proxy) -> Row:
    """Let Redis come back with nothing, when all that it had was recorded; web processes must use the proxy."""

    def breaking(code: MadeCode) -> None:
        proxy.refuse()
        left = asyncio.run(until_drained(service, code))
        assert not left, left
        empty(service)
        proxy.admit()

    said = "out of reach of web processes until all was recorded, then `kill -9`, and a start on an empty directory"
    return await _row(service, "Redis comes back empty", said, effort, breaking)


def empty(service: Service) -> None:
    """Kill Redis, throw away all that it knows, and start it."""
    service.servers.redis.kill()
    shutil.rmtree(service.servers.redis.data)
    service.servers.redis.start()


def allow(service: Service, memory: int) -> None:
    """Bound the memory of Redis; 0 for no bound. Units: bytes."""
    with redis.Redis.from_url(service.servers.servers.redis_url) as client:
        client.config_set("maxmemory", memory)


def behind(service: Service, stack: ExitStack, *names: str) -> Proxy:
    """Put a proxy between Redis and some processes, which are started anew, and again without it at the end."""

    def start(**variables: str) -> None:
        for name in names:
            service.stop(name)
            service.start(name, **variables)

    proxy = stack.enter_context(proxied(unquote(urlsplit(service.servers.servers.redis_url).path)))
    stack.callback(start)
    start(HUOMA_REDIS_URL=proxy.url)
    return proxy


def late(met: Met, times: float) -> list[str]:
    """Name answers that took too long, and a service that was too long in coming back."""
    slow = [answer for answer in met.answers if answer.took > ANSWER_SECONDS * times]
    found = [f"{len(slow)} answers took more than {ANSWER_SECONDS * times} s, such as {slow[0]}"] if slow else []
    back = met.back_seconds()
    if back is not None and back > BACK_SECONDS * times:
        found.append(f"nobody new was given a place for {back:.1f} s after the fault had ended")
    return found


async def _row(service: Service, fault: str, injected: str, effort: Effort, breaking: Breaking) -> Row:
    borne = await under_load(service, effort, breaking)
    return await judge(service, borne, fault=fault, injected=injected, also=lambda met: late(met, effort.times_as_late))


def _inject(effort: Effort, say: Say) -> Sequence[Row]:
    rows = []
    with running_service(workers=2) as service:
        for one in (killed, paused, filled, filled_behind, disk_filled):
            say(one.__name__)
            rows.append(asyncio.run(one(service, effort)))
    return rows


def _inject_between(effort: Effort, say: Say) -> Sequence[Row]:
    rows = []
    with running_service(workers=2) as service:
        with ExitStack() as stack:
            say(cut.__name__)
            rows.append(asyncio.run(cut(service, effort, behind(service, stack, "worker", "serve"))))
        with ExitStack() as stack:
            say(emptied.__name__)
            rows.append(asyncio.run(emptied(service, effort, behind(service, stack, "serve"))))
    return rows


FAULTS: Final = (Fault("redis", _inject), Fault("redis-between", _inject_between))
