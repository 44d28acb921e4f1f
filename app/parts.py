"""Put together what every process is made of: servers, drain, memory. Knows no web, so that tools start quickly."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from redis.asyncio import Redis

from app.counters.server import connect
from app.domain.pseudonym import Pseudonyms
from app.services.ageing import Ager
from app.services.draining import Drain
from app.services.erasing import Eraser
from app.services.inspecting import Inspector
from app.services.preparing import Preparer
from app.services.recalling import Recaller
from app.services.reconciling import Reconciler
from app.services.resting import Rester
from app.services.sifting import SieveMaker
from app.services.timekeeping import Clock, Timekeeper, utc_now
from app.services.watching import Rereader, Watcher
from app.settings import Settings
from app.store.database import Database


@dataclass(frozen=True, slots=True)
class Parts:
    """What every process is made of; built from settings, closed in reverse order."""

    database: Database
    redis: Redis
    drain: Drain
    recaller: Recaller
    reconciler: Reconciler
    rester: Rester
    watcher: Watcher
    clock: Callable[[], datetime]
    pseudonyms: Pseudonyms = field(default_factory=lambda: Pseudonyms(tuple))
    # What a worker does beside its rounds.
    chores: Sequence[Callable[[], Awaitable[object]]] = ()
    # None where the clock is a given one.
    keeper: Timekeeper | None = None
    inspector: Inspector | None = None

    async def close(self) -> None:
        """Close every connection."""
        await self.redis.aclose()
        await self.database.close()


def build_parts(
    settings: Settings,
    wall: Callable[[], datetime] = utc_now,
    *,
    clock: Callable[[], datetime] | None = None,
    watchful: bool = False,
) -> Parts:
    """Make the parts; nothing is connected before it is first needed. `watchful` is for where a caller waits.

    `wall` is the machine's clock, one of those that the time is agreed from; a given `clock` is used as it is.
    """
    database = Database(
        settings.database_url,
        pool_size=settings.database_connections,
        connect_seconds=settings.database_connect_seconds,
        statement_seconds=settings.database_statement_seconds,
        watchful=watchful,
    )
    redis = connect(
        settings.redis_url,
        connections=settings.redis_connections,
        timeout_seconds=settings.redis_timeout_seconds,
        replicas=settings.redis_replicas,
    )
    keeper = None
    if clock is None:
        agreed = Clock(wall)
        clock, keeper = agreed, Timekeeper(agreed, database, redis)
    pseudonyms = Pseudonyms(settings.secrets)
    drain = Drain(database, redis, pseudonyms)
    recaller = Recaller(database, redis, drain, clock, slugs=settings.slugs_remembered, codes=settings.codes_remembered)
    reconciler = Reconciler(database, redis, drain, recaller, clock, pseudonyms)
    rester = Rester(database, redis, after_seconds=settings.rest_after_seconds)
    sieve = SieveMaker(database, redis)
    ager = Ager(database, clock, days=settings.events_days)
    eraser = Eraser(database, redis, pseudonyms)
    watcher = Watcher(database, redis, clock)
    chores = (Preparer(database, clock).some, sieve.keep, eraser.some, ager.some, Rereader(drain, watcher, clock).some)
    inspector = Inspector(redis)
    return Parts(
        database, redis, drain, recaller, reconciler, rester, watcher, clock, pseudonyms, chores, keeper, inspector
    )
