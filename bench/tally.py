"""Count what one request of a contender costs in Redis and PostgreSQL, while the worker stands still.

Counted under load, where scans share round trips, from its first request to its last answer: Redis keeps the calls of
every command, those of scripts and those that scripts ran; PostgreSQL logs every statement.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from redis import Redis

from bench.loopback import Service
from bench.report import plain_url
from bench.rivals import Rival, put

_STATEMENT: Final = re.compile(rb"LOG:  (?:statement|execute [^:]*): ")
_SCRIPTS: Final = ("evalsha", "eval")
# What counting itself sends.
_OURS: Final = ("info", "client", "hello", "hget")


@dataclass(frozen=True, slots=True)
class Tally:
    """Count what one request has caused: calls of scripts, commands in all, theirs included, and statements of SQL."""

    scripts: float
    commands: float
    statements: float


def tallied(service: Service, rival: Rival, seconds: float) -> Tally:
    """Count under load.

    Shapes: nobody else may use Redis or PostgreSQL meanwhile; statements are logged, as `every_statement_logged` says.
    """
    log = service.servers.postgres.directory / "log"
    size, before = log.stat().st_size, _calls(service)
    requests = put(service, rival, seconds, to_the_end=True).requests
    made = {name: calls - before.get(name, 0) for name, calls in _calls(service).items() if name not in _OURS}
    with log.open("rb") as file:
        file.seek(size)
        statements = len(_STATEMENT.findall(file.read()))
    scripts = sum(made.get(name, 0) for name in _SCRIPTS)
    return Tally(scripts / requests, sum(made.values()) / requests, statements / requests)


def log_every_statement(service: Service) -> None:
    """Let PostgreSQL log every statement of every connection from now on."""
    asyncio.run(_log_every_statement(service))


async def _log_every_statement(service: Service) -> None:
    postgres = await asyncpg.connect(plain_url(service))
    try:
        await postgres.execute("alter system set log_statement = 'all'")
        await postgres.execute("select pg_reload_conf()")
        # Every connection hears of it when this one does.
        while await postgres.fetchval("show log_statement") != "all":
            await asyncio.sleep(0.01)
    finally:
        await postgres.close()


def _calls(service: Service) -> dict[str, int]:
    with Redis.from_url(service.settings.redis_url) as redis:
        said: dict[str, Any] = redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in said.items()}
