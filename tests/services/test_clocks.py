"""A wrong clock of one machine, or of one server, ends nobody's hold and drops no day of events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app import worker
from app.counters import clocks
from app.domain.event import EventKind
from app.domain.workspace import Workspace
from app.embedded import Servers
from app.main import Web
from app.services.ageing import STEADY, Ager
from app.services.timekeeping import OWN, POSTGRESQL, SKEW_SECONDS, Clock, Timekeeper, utc_now
from app.settings import Settings
from app.store import partitions
from app.store.database import Database, now
from app.store.tables import events
from tests.conftest import PUBLIC_URL
from tests.running import PHONE
from tests.scanning import Made, Make, Phone
from tests.telling import Teller

HOUR = timedelta(hours=1)
REDIS = "redis"


def settings_of(servers: Servers) -> Settings:
    return Settings(
        database_url=servers.database_url,
        redis_url=servers.redis_url,
        secret="a secret for tests only",
        public_url=PUBLIC_URL,
        linger_seconds=0,
    )


def fast_by(skew: timedelta) -> Callable[[], datetime]:
    return lambda: utc_now() + skew


@asynccontextmanager
async def served(servers: Servers, skew: timedelta, *, started: bool = True) -> AsyncIterator[Phone]:
    """Run a web process on a machine whose clock is wrong; one that is not `started` has not asked for the time."""
    web = Web(settings_of(servers), fast_by(skew))
    if started:
        assert web.parts.keeper is not None
        await web.parts.keeper.look()
    transport = httpx.ASGITransport(web)
    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers={"User-Agent": PHONE}) as client:
        yield Phone(client)
    await web.close()


@pytest.mark.parametrize("skew", [HOUR, -HOUR, 400 * 24 * HOUR])
async def test_a_process_whose_clock_is_wrong_takes_back_no_hold(
    servers: Servers, database: Database, redis: Redis, code: Make, skew: timedelta
) -> None:
    made = await code(1, hold_seconds=60)
    async with served(servers, timedelta(0)) as right, served(servers, skew) as wrong:
        page = await right.scan(made.slug)
        assert page.outcome == "claimed"
        assert (await wrong.scan(made.slug)).outcome == "full"
        await right.look(page)
        assert await kinds(database, redis, made) - {"f"} == {"c", "s"}


async def test_a_scan_that_comes_before_the_time_was_asked_takes_back_no_hold(
    servers: Servers, database: Database, redis: Redis, code: Make
) -> None:
    made = await code(1, hold_seconds=60)
    async with served(servers, timedelta(0)) as right, served(servers, HOUR, started=False) as wrong:
        page = await right.scan(made.slug)
        assert [(await wrong.scan(made.slug)).outcome for _ in range(2)] == ["unavailable", "full"]
        await right.look(page)
        assert await kinds(database, redis, made) - {"f"} == {"c", "s"}


async def test_a_worker_whose_clock_is_wrong_takes_back_no_hold(
    servers: Servers, database: Database, redis: Redis, code: Make
) -> None:
    from app.parts import build_parts

    made = await code(1, hold_seconds=60)
    parts = build_parts(settings_of(servers), fast_by(HOUR))
    async with served(servers, timedelta(0)) as right:
        page = await right.scan(made.slug)
        stop = asyncio.Event()
        working = asyncio.create_task(worker.run(parts, stop))
        while await parts.redis.xlen(f"huoma:{{{made.workspace}}}:events"):
            await asyncio.sleep(0.02)
        stop.set()
        await working
        await right.look(page)
        assert await kinds(database, redis, made) - {"f"} == {"c", "s"}
    await parts.close()


async def kinds(database: Database, redis: Redis, made: Made) -> set[str]:
    """Name the kinds of what happened to a code, recorded or not."""
    async with database.reading() as connection:
        found = set(await connection.scalars(sa.select(events.c.kind).where(events.c.code_id == made.id)))
    rows: Any = await redis.xrange(f"huoma:{{{made.workspace}}}:events")
    for _, fields in rows:
        found |= {line.split("|")[0] for line in fields["events"].split("\n")}
    return found


class Machine:
    """Be a machine and its servers; each clock may be set, and time passes by itself."""

    def __init__(self) -> None:
        self.passed = 1000.0
        self.clocks = dict.fromkeys((OWN, REDIS, POSTGRESQL), 1_800_000_000.0)
        self.clock = Clock(lambda: datetime.fromtimestamp(self.clocks[OWN], UTC), lambda: self.passed)

    def wait(self, seconds: float) -> None:
        self.passed += seconds
        for name in self.clocks:
            self.clocks[name] += seconds

    def ask(self, *names: str, slowly: float = 0.0) -> None:
        for name in names:
            asked_at, shown = self.passed, self.clocks[name]
            self.wait(slowly)
            self.clock.hear(name, shown, asked_at)

    @property
    def time(self) -> float:
        return self.clock().timestamp()


@pytest.mark.parametrize("wrong", [OWN, REDIS, POSTGRESQL])
@pytest.mark.parametrize("by", [3600, -3600])
def test_of_three_clocks_one_may_be_set_to_anything(wrong: str, by: float) -> None:
    machine = Machine()
    machine.ask(REDIS, POSTGRESQL)
    machine.clocks[wrong] += by
    for _ in range(3):
        machine.wait(5)
        machine.ask(REDIS, POSTGRESQL)
        right = [shown for name, shown in machine.clocks.items() if name != wrong]
        assert machine.time == pytest.approx(right[0])
    assert machine.clock.steps == 0
    assert machine.clock.skews()[wrong] == pytest.approx(by)


def test_time_passes_by_itself_whatever_the_machine_s_clock_is_set_to() -> None:
    machine = Machine()
    before = machine.time
    machine.clocks[OWN] += 86_400
    machine.passed += 7
    assert machine.time == pytest.approx(before + 7)


def test_before_postgresql_has_answered_redis_alone_decides() -> None:
    machine = Machine()
    machine.clocks[OWN] += 3600
    machine.clock = Clock(lambda: datetime.fromtimestamp(machine.clocks[OWN], UTC), lambda: machine.passed)
    assert machine.time == pytest.approx(machine.clocks[OWN])
    machine.ask(REDIS)
    assert machine.time == pytest.approx(machine.clocks[REDIS])
    assert machine.clock.steps == 1


def test_one_master_of_a_cluster_whose_clock_is_wrong_is_outvoted_and_a_master_that_is_none_forgotten() -> None:
    machine = Machine()
    machine.clocks |= {f"redis 10.0.0.{n}:6379": machine.clocks[REDIS] for n in (1, 2, 3)}
    names = [name for name in machine.clocks if name.startswith("redis ")]
    machine.clocks[names[0]] += 3600
    machine.ask(*names)
    assert machine.time == pytest.approx(machine.clocks[REDIS])
    machine.clock.forget_but(names[:1])
    assert machine.time == pytest.approx(machine.clocks[names[0]])
    assert machine.clock.skews().keys() == {names[0], OWN}


def test_a_slow_answer_makes_no_clock_worse() -> None:
    machine = Machine()
    machine.ask(REDIS, slowly=0.001)
    chance = Random(4)
    for _ in range(500):
        machine.wait(5)
        machine.ask(REDIS, slowly=chance.random() * 3)
        assert machine.time == pytest.approx(machine.clocks[REDIS], abs=0.001)


async def test_every_server_is_asked_and_skew_is_shown(database: Database, redis: Redis) -> None:
    clock = Clock(fast_by(HOUR))
    keeper = Timekeeper(clock, database, redis)
    await keeper.look()
    assert clock.heard == {REDIS, POSTGRESQL}
    skews = keeper.skews()
    assert abs(skews[OWN] - 3600) < SKEW_SECONDS
    assert abs(skews[REDIS]) < SKEW_SECONDS
    assert abs((clock() - utc_now()).total_seconds()) < SKEW_SECONDS


async def test_skew_is_told_at_readyz_and_in_metrics(servers: Servers) -> None:
    async with served(servers, HOUR) as phone:
        told = (await phone.client.get("/readyz")).json()["clocks"]
        assert (round(told[OWN]), round(told[REDIS]), round(told[POSTGRESQL])) == (3600, 0, 0)
        metrics = (await phone.client.get("/metrics")).text
        [row] = [row for row in metrics.splitlines() if row.startswith('huoma_clock_skew_seconds{clock="own"}')]
        assert round(float(row.split()[1])) == 3600


async def test_a_redis_that_forbids_the_question_leaves_the_time_to_the_others(
    database: Database, redis: Redis, servers: Servers
) -> None:
    await redis.execute_command("ACL", "SETUSER", "timeless", "on", "nopass", "~*", "&*", "+@all", "-time")  # type: ignore[no-untyped-call]
    from app.counters.server import connect

    timeless = connect(f"{servers.redis_url}?username=timeless&password=x", connections=2, timeout_seconds=5)
    try:
        clock = Clock(fast_by(HOUR))
        assert await clocks.ask(timeless, clock) == [REDIS]
        assert clock.heard == set()
        await Timekeeper(clock, database, timeless).look()
        assert abs((clock() - utc_now()).total_seconds()) < SKEW_SECONDS, "PostgreSQL decides"
    finally:
        await timeless.aclose()
        await redis.execute_command("ACL", "DELUSER", "timeless")  # type: ignore[no-untyped-call]


@pytest.fixture
async def told_days_ago(database: Database, workspace: Workspace, code: Make) -> Callable[[int], Awaitable[datetime]]:
    made = await code(5)
    teller = Teller(database, workspace.id, made.id)

    async def tell(days: int) -> datetime:
        async with database.reading() as connection:
            at = (await now(connection)) - timedelta(days=days)
        await teller.tell(teller.event(EventKind.PREVIEW, at))
        return at

    return tell


@pytest.mark.parametrize("ahead", [timedelta(days=200), timedelta(hours=30), -timedelta(days=30)])
async def test_a_worker_whose_clock_is_wrong_drops_no_day_that_is_young(
    database: Database, told_days_ago: Callable[[int], Awaitable[datetime]], ahead: timedelta
) -> None:
    at = await told_days_ago(90)
    ager = Ager(database, fast_by(ahead), days=90)
    await ager.some()
    async with database.reading() as connection:
        assert at.astimezone(UTC).date() in await partitions.days(connection)


async def test_no_day_is_dropped_right_after_the_time_was_set(
    database: Database, told_days_ago: Callable[[int], Awaitable[datetime]]
) -> None:
    at = await told_days_ago(95)
    passed = 0.0

    def ticks() -> float:
        return passed

    real = utc_now()
    clock = Clock(lambda: real + HOUR, ticks)
    clock.hear(REDIS, real.timestamp(), passed)
    ager = Ager(database, clock, days=90)
    assert (clock.steps, await ager.some()) == (1, 0)
    passed += STEADY.total_seconds() + 1
    for _ in range(20):
        await ager.some()
        passed += 61
    async with database.reading() as connection:
        assert at.astimezone(UTC).date() not in await partitions.days(connection)


async def test_a_clock_that_is_set_back_puts_no_look_off(database: Database) -> None:
    shown = utc_now()
    ager = Ager(database, lambda: shown, days=90)
    async with database.writing() as tx:
        await tx.execute(sa.text("create table if not exists events_20100101 partition of events"
            " for values from ('2010-01-01') to ('2010-01-02')"))  # fmt: skip
    shown += timedelta(days=900)
    await ager.some()
    async with database.writing() as tx:
        await tx.execute(sa.text("create table if not exists events_20100101 partition of events"
            " for values from ('2010-01-01') to ('2010-01-02')"))  # fmt: skip
    shown -= timedelta(days=900)
    for _ in range(20):
        await ager.some()
        shown += timedelta(seconds=61)
    async with database.reading() as connection:
        assert "events_20100101" not in {partitions.name_of(day) for day in await partitions.days(connection)}
