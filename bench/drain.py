"""Let the worker record a backlog: rows a second, and the CPU time of worker and PostgreSQL, without history and with.

The backlog is written into the stream as `claim.lua` packs it, for a code made through the API, while the measurement
holds the lock on the stream's position; from the moment it lets go, the worker of the running service drains.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

import asyncpg
from redis.asyncio import Redis

from app.counters import audit, keys
from app.domain.code import CodeId, WorkspaceId
from bench.cpu import used
from bench.loopback import MadeCode, Service, make_code, running_service
from bench.report import Section, machine, plain_url, table
from bench.targets import Effort, large

LEAST: Final = 30_000
ROWS: Final = 400_000
BACKLOG: Final = 1_000_000
HISTORY: Final = 1_000_000
# Events of one round trip, as 64 visitors at a time make them.
PACKED: Final = 64
_DAY: Final = 20_000
_PATIENCE_SECONDS: Final = 600.0

TOLD: Final = {"typical": "`fill`: one group after another", "worst": "`balance`: every group as likely"}


@dataclass(frozen=True, slots=True)
class Drained:
    """Tell what it took to record some rows. Units: seconds of wall clock, and of CPU."""

    rows: int
    seconds: float
    worker: float
    postgres: float

    @property
    def per_second(self) -> float:
        """Count rows a second."""
        return self.rows / self.seconds


@dataclass(frozen=True, slots=True)
class Stream:
    """Write made-up events of one code into its workspace's stream."""

    redis: Redis
    code: MadeCode
    targets: Sequence[str]

    async def put(self, rows: int, spread: str, chance: Random) -> None:
        """Add so many events: places taken and seen, visitors who come back, and some who find all full."""
        workspace = WorkspaceId(self.code.workspace)
        await self.redis.set(keys.epoch(workspace), "a life for measuring", nx=True)
        now = int(time.time() * 1000)
        lines = self._lines(spread, chance)
        for start in range(0, rows, PACKED * 1_000):
            async with self.redis.pipeline(transaction=False) as pipe:
                for first in range(start, min(start + PACKED * 1_000, rows), PACKED):
                    text = "\n".join(next(lines) for _ in range(min(PACKED, rows - first)))
                    pipe.xadd(keys.events(workspace), {"now": now + first // PACKED, "events": text})
                await pipe.execute()

    def _lines(self, spread: str, chance: Random) -> Iterator[str]:
        """Tell what happens; a place is seen some hundred events after it was taken."""
        held: list[str] = []
        number = 0
        while True:
            kind = chance.choices("csrf", (46, 44, 8, 2))[0] if len(held) > PACKED else "c"
            if kind == "c":
                number += 1
                in_order = self.targets[number // 200 % len(self.targets)]
                target = in_order if spread == "typical" else chance.choice(self.targets)
                held.append(f"{number}.{target}..{_DAY}.0.{secrets.token_urlsafe(9)}")
            match kind:
                case "c":
                    seat = held[-1]
                case "s":
                    seat = held.pop(chance.randrange(len(held)))
                case "r":
                    seat = chance.choice(held)
                case _:
                    seat = f"0...0.0.{secrets.token_urlsafe(9)}"
            yield f"{kind}|{self.code.id}|wechat|{seat}|{'full' if kind == 'f' else ''}"


def measure(effort: Effort, say: Callable[[str], None]) -> Section:
    """Measure both kinds of stream, fill the tables with history, measure again, and then one large backlog."""
    quick = effort.rounds == 1
    rows, backlog = (ROWS // 10, BACKLOG // 20) if quick else (ROWS, BACKLOG)
    with running_service() as service:
        say(f"making {effort.size:,} targets")
        code = make_code(service, "drain", large(effort.size))
        return asyncio.run(_measured(service, code, effort, say, (rows, backlog)))


async def _measured(
    service: Service, code: MadeCode, effort: Effort, say: Callable[[str], None], sizes: tuple[int, int]
) -> Section:
    rows, backlog = sizes
    database = await asyncpg.connect(plain_url(service))
    redis = Redis.from_url(service.settings.redis_url, decode_responses=True)
    try:
        found = await database.fetch("select id from targets where code_id = $1 order by position, id", code.id)
        stream = Stream(redis, code, [row["id"] for row in found])
        # The counters have not seen what is made up here; without them `verify` compares record and events.
        await audit.drop(redis, WorkspaceId(code.workspace), CodeId(code.id))
        runs: dict[str, list[Drained]] = {}
        for history in ("none", "a year"):
            if history != "none":
                # What is made up from here on has no events behind it.
                await asyncio.to_thread(service.run, "verify")
                say("filling in history")
                await _fill_in_history(database, code)
            for number in range(effort.rounds):
                for spread, told in TOLD.items():
                    label = f"{told}, history: {history}"
                    run = await _drained(service, stream, rows, spread, database, Random(number))
                    say(f"round {number + 1}: {label}: {run.per_second:,.0f} rows/s")
                    runs.setdefault(label, []).append(run)
        before = _peak_mb(service)
        last = await _drained(service, stream, backlog, "worst", database, Random(1))
        return _section(runs, last, len(stream.targets), (before, _peak_mb(service)), await machine(service))
    finally:
        await redis.aclose()
        await database.close()


async def _drained(
    service: Service, stream: Stream, rows: int, spread: str, database: asyncpg.Connection, chance: Random
) -> Drained:
    """Let a backlog pile up, and the worker record it."""
    await database.execute(
        "insert into stream_positions values ($1, '', '0-0') on conflict do nothing", stream.code.workspace
    )
    async with database.transaction():
        await database.execute("select from stream_positions where workspace_id = $1 for update", stream.code.workspace)
        await stream.put(rows, spread, chance)
        before = _cpu(service)
        began = time.perf_counter()
    while await stream.redis.xlen(keys.events(WorkspaceId(stream.code.workspace))):
        if time.perf_counter() - began > _PATIENCE_SECONDS:
            raise RuntimeError("the worker does not keep up")
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - began
    worker, postgres = (after - first for after, first in zip(_cpu(service), before, strict=True))
    return Drained(rows, seconds, worker, postgres)


def _cpu(service: Service) -> tuple[float, float]:
    return used(service.children["worker"].pid), used(service.servers.postgres.pid)


def _peak_mb(service: Service) -> float:
    """Tell the most memory the worker has had at a time. Source: proc_pid_status(5), VmHWM."""
    status = Path(f"/proc/{service.children['worker'].pid}/status")
    if not status.exists():
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))


async def _fill_in_history(database: asyncpg.Connection, code: MadeCode) -> None:
    """Make up a million events of today, and as many rows of hours of the year before."""
    await database.execute(_EVENTS, code.workspace, code.id, HISTORY)
    await database.execute(_HOURS, code.workspace, code.id, HISTORY)
    await database.execute("vacuum analyze events, stat_hours")


_EVENTS: Final = """
    insert into events
    select date_trunc('day', now(), 'UTC') + i * interval '1 ms', $1, i, 0, 0, 'c', $2, 't' || i % 50000, '', 0, i, 0,
        md5(i::text), 'wechat', ''
    from generate_series(1, $3::bigint) as i
"""
_HOURS: Final = """
    insert into stat_hours
    select $2, date_trunc('hour', now()) - (1 + i / 120) * interval '1 hour', substr('csrf', 1 + i % 4, 1),
        't' || i % 120 / 4, 0, '', 'wechat', '', $1, 1
    from generate_series(1, $3::int) as i
"""


def _section(
    runs: dict[str, list[Drained]], last: Drained, groups: int, peaks: tuple[float, float], where: str
) -> Section:
    rows = [[label, *_cells(some)] for label, some in runs.items()]
    rows.append([f"{TOLD['worst']}, a backlog of {last.rows:,}", *_cells([last])])
    rates = {label: median(one.per_second for one in some) for label, some in runs.items()}
    broken = [f"{label}: {rate:,.0f} rows/s, less than {LEAST:,}" for label, rate in rates.items() if rate < LEAST]
    size = next(iter(runs.values()))[0].rows
    text = f"""\
A backlog of {size:,} events, {PACKED} to an entry, for one code of {groups:,} groups: 46 % places taken, 44 % seen, 8 %
visitors who come back, 2 % who find all full. Medians of {len(next(iter(runs.values())))}. One worker; it shares the
machine with its PostgreSQL and Redis. A history of a year is {HISTORY:,} events of the same day and as many rows of
hours. `huoma verify` proved the record before that was made up.

{table(["", "rows/s", "worker CPU s", "PostgreSQL CPU s"], rows)}

CPU seconds are those of 100,000 rows. The worker had taken {peaks[0]:,.0f} MB at most, and {peaks[1]:,.0f} MB after the
last backlog.
"""
    return Section("drain", where, text, broken)


def _cells(runs: Sequence[Drained]) -> list[str]:
    def each(what: Callable[[Drained], float]) -> float:
        return median(what(one) / one.rows * 100_000 for one in runs)

    rate = median(one.per_second for one in runs)
    return [f"{rate:,.0f}", f"{each(lambda one: one.worker):.2f}", f"{each(lambda one: one.postgres):.2f}"]
