"""Scan without HTTP: the scanner of a web process in this one, for what the counters and the rules cost alone."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from app.counters.wire import Wire
from app.domain.code import Slug
from app.domain.outcome import Given, Visit
from app.domain.token import Signer
from app.domain.visitor import Browser, Client, System
from app.parts import build_parts
from app.services.batching import Batcher
from app.services.scanning import Scanner
from app.settings import Settings
from bench.load import CONNECTIONS, Load, summed_up
from bench.loopback import Service

T = TypeVar("T")
BROWSER: Final = Browser(Client.WECHAT, System.IOS)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on the event loop that web processes run on."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@asynccontextmanager
async def fresh_scanner(settings: Settings) -> AsyncIterator[Scanner]:
    """Be a web process that knows nothing yet."""
    parts = build_parts(settings)
    wire = Wire(parts.redis, timeout_seconds=settings.redis_timeout_seconds)
    batcher = Batcher(wire, parts.clock)
    try:
        # Opening connections is not what is measured.
        await parts.redis.ping()
        async with parts.database.reading():
            pass
        yield Scanner(parts.recaller, batcher, Signer(settings.secrets()), parts.clock)
    finally:
        await batcher.drained()
        await wire.aclose()
        await parts.close()


async def first_scan(service: Service, slug: str) -> float:
    """Tell how many milliseconds the first scan of a code takes in a process that has never met it."""
    async with fresh_scanner(service.settings) as scanner:
        began = time.perf_counter()
        await _claim(scanner, slug)
        return (time.perf_counter() - began) * 1000


async def put(service: Service, slug: str, seconds: float) -> Load:
    """Let 64 new visitors at a time take places for so long."""
    took: list[float] = []
    async with fresh_scanner(service.settings) as scanner:
        await _claim(scanner, slug)
        began = time.perf_counter()

        async def scan() -> None:
            while (sent := time.perf_counter()) < began + seconds:
                await _claim(scanner, slug)
                took.append(time.perf_counter() - sent)

        await asyncio.gather(*(scan() for _ in range(CONNECTIONS)))
        return summed_up(took, time.perf_counter() - began, 0)


async def _claim(scanner: Scanner, slug: str) -> None:
    outcome = await scanner.scan(Visit(Slug(slug), BROWSER, preview=False, tokens={}))
    if not isinstance(outcome, Given):
        raise TypeError(f"a scan ended as {outcome}")
    # What the page carries is signed in any case.
    scanner.tokens(outcome)[outcome.code.id]
