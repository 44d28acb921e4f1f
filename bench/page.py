"""Count what one scan costs: bytes, requests until the QR is there, commands in Redis, statements in PostgreSQL.

Counted, not timed: Redis tells its `MONITOR` every command and which of them a script ran, PostgreSQL logs every
statement. The worker stands still meanwhile, so that all of them are the scan's.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
from redis.asyncio import Redis

from bench.loopback import HOST, PHONE, Service, make_code, running_service
from bench.report import Section, machine, plain_url, table
from bench.targets import Effort
from bench.wire import Connection, Reply, connected

REQUESTS: Final = 2
OUTCOMES: Final = ["claimed", "claimed", "claimed", "claimed", "returned"]
# What fits into the first flight of a new connection, ten segments (RFC 6928); design §4.
PAGE_BYTES_MAX: Final = 14_000
_LOADED: Final = re.compile(
    rb'<(?:img|script|iframe|source|video|audio|embed)\b[^>]*?\ssrc="([^"]+)"'
    rb'|<link\b(?=[^>]*\srel="?(?:stylesheet|preload|modulepreload|icon))[^>]*?\shref="([^"]+)"'
    rb"|@import\s+([^;]+);|url\(([^)]+)\)"
)
_STATEMENT: Final = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)")


@dataclass(frozen=True, slots=True)
class Cost:
    """Count what one request has caused.

    Shapes: `sent` commands that the process sent to Redis by name, `inside` those that scripts ran; `sql` statements.
    """

    label: str
    reply: Reply
    sent: Counter[str]
    inside: Counter[str]
    sql: tuple[str, ...]


class Meter:
    """Watch both servers while something is done."""

    def __init__(self, redis: Redis, postgres: Any, log: Path) -> None:
        self._redis = redis
        self._postgres = postgres
        self._log = log
        self._marks = 0

    async def cost(self, label: str, work: Awaitable[Reply]) -> Cost:
        """Do the work and count what it causes, between two marks that both servers show in order."""
        async with self._redis.monitor() as monitor:
            begin = await self._mark()
            reply = await work
            end = await self._mark()
            sent, inside = await _between(monitor, begin, end)
        return Cost(label, reply, sent, inside, self._statements(begin, end))

    async def _mark(self) -> str:
        self._marks += 1
        mark = f"bench-mark-{self._marks}"
        await self._redis.echo(mark)
        await self._postgres.execute(f"select '{mark}'")
        return mark

    def _statements(self, begin: str, end: str) -> tuple[str, ...]:
        said = _STATEMENT.findall(self._log.read_text(errors="replace"))
        first, last = (next(i for i, line in enumerate(said) if f"'{mark}'" in line) for mark in (begin, end))
        return tuple(said[first + 1 : last])


def measure(_effort: Effort, _say: Callable[[str], None]) -> Section:
    """Count one scan in a process that has just started, and the same when it knows the code."""
    with running_service() as service:
        code = make_code(service, "poster", [{"member_limit": 200}] * 3)
        service.stop("serve")
        service.stop("worker")
        costs = asyncio.run(_costs(service, code.slug))
        where = asyncio.run(machine(service))
    return _section(costs, where)


async def _costs(service: Service, slug: str) -> list[Cost]:
    async with _metered(service) as meter:
        # Only now: connections opened from here on log what they are told.
        await asyncio.to_thread(service.start, "serve")
        async with connected(HOST, service.settings.port, PHONE) as phone:
            costs = await _scan(meter, phone, slug, "first in a new process")
            return costs + await _scan(meter, phone, slug, "steady state") + await _come_back(meter, phone, costs[0])


async def _scan(meter: Meter, phone: Connection, slug: str, when: str) -> list[Cost]:
    page = await meter.cost(f"page, {when}", phone.get(f"/{slug}"))
    picture = await meter.cost(f"picture, {when}", phone.get(_loaded(page.reply)[0]))
    return [page, picture]


async def _come_back(meter: Meter, phone: Connection, before: Cost) -> list[Cost]:
    cookie = before.reply.headers["set-cookie"].split(";")[0]
    slug = "/" + _loaded(before.reply)[0].split("/")[1]
    return [await meter.cost("page, visitor comes back", phone.get(slug, cookie=cookie))]


@asynccontextmanager
async def _metered(service: Service) -> AsyncIterator[Meter]:
    redis = Redis.from_url(service.settings.redis_url, decode_responses=True)
    postgres = await asyncpg.connect(plain_url(service))
    await postgres.execute("alter database huoma set log_statement = 'all'")
    await postgres.execute("set log_statement = 'all'")
    try:
        yield Meter(redis, postgres, service.servers.postgres.directory / "log")
    finally:
        await postgres.close()
        await redis.aclose()


async def _between(monitor: Any, begin: str, end: str) -> tuple[Counter[str], Counter[str]]:
    sent: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    begun = False
    async for told in monitor.listen():
        command = told["command"]
        if command.endswith(end):
            break
        if begun:
            (inside if told["client_type"] == "lua" else sent)[command.split(" ")[0].lower()] += 1
        begun |= command.endswith(begin)
    return sent, inside


def _loaded(page: Reply) -> list[str]:
    """List what a browser loads because of the page, in order."""
    return [next(filter(None, found)).decode() for found in _LOADED.findall(page.body)]


def _section(costs: list[Cost], where: str) -> Section:
    steady_page, steady_picture = costs[2:4]
    requests = 1 + len(_loaded(steady_page.reply))
    size = steady_page.reply.head_bytes + len(steady_page.reply.body)
    broken = []
    if requests != REQUESTS:
        broken.append(f"{requests} requests until the QR is there: {_loaded(steady_page.reply)}")
    if size > PAGE_BYTES_MAX:
        broken.append(f"the page has {size:,} bytes, more than {PAGE_BYTES_MAX:,}")
    broken += [
        f"{cost.label}: {_spelt(cost.sent)} in Redis, {len(cost.sql)} statements"
        for cost in costs[2:]
        if cost.sent != {"evalsha": 1} or cost.sql
    ]
    outcomes = [cost.reply.outcome for cost in costs]
    if outcomes != OUTCOMES:
        broken.append(f"visitors were told {outcomes}")
    columns = ["", "body bytes", "head bytes", "sent to Redis", "run by scripts", "SQL statements"]
    rows = [
        [c.label, len(c.reply.body), c.reply.head_bytes, _spelt(c.sent), c.inside.total(), len(c.sql)] for c in costs
    ]
    text = f"""\
A visitor without cookies, alone. Requests until the QR can be pressed: {requests}.
Inside the one `evalsha` of a steady page:
{_spelt(steady_page.inside)}.
Of a steady picture:
{_spelt(steady_picture.inside)}.

{table(columns, rows)}
"""
    return Section("page", where, text, broken)


def _spelt(commands: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(commands.items())) or "0"
