"""What cannot be recorded keeps nothing else waiting, is told, and is never lost."""

import asyncio
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from app import worker
from app.counters import keys, stream
from app.domain import tally
from app.domain.code import WorkspaceId
from app.domain.errors import StoreAway
from app.services import draining
from app.services.watching import Rereader
from app.store import partitions
from app.store.database import Database
from tests.conftest import START, Clock
from tests.scanning import Make, Process
from tests.services.test_draining import told, totals

NOW = str(int(START.timestamp() * 1000))


async def write(redis: Redis, workspace: WorkspaceId, events: str | bytes, now: str = NOW) -> str:
    fields: Any = {"now": now, "events": events}
    return str(await redis.xadd(keys.events(workspace), fields))


async def aside(redis: Redis, workspace: WorkspaceId) -> int:
    return int(await redis.xlen(keys.unreadable(workspace)))


@pytest.mark.parametrize(
    ("events", "now"),
    [
        ("no event at all", NOW),
        ("?|code|wechat|0...0.0.v|", NOW),
        ("p|code|wechat|0...many.0.v|", NOW),
        ("p|code|wechat|0...99999999999.0.v|", NOW),
        ("b|code|wechat|1e9.t..0.0.v|", NOW),
        ("b|code|wechat|99999999999999999999.t..0.0.v|", NOW),
        ("p|code|wechat|0...0.0.v|", "today"),
        ("p|code|wechat|0...0.0.v|", str(10**18)),
        ("p|code|wechat|0...0.0.v|", "253402214400000"),
        # The year 9000: PostgreSQL could name a partition for it, and no worker would ever drop that.
        ("p|code|wechat|0...0.0.v|", "221845392000000"),
        ("p|code|wechat|0...0.0.v|", "-50000000000000"),
        (b"p|code|wechat|0...0.0.\xff\xfe|", NOW),
    ],
    ids=[
        "no_event",
        "unknown_kind",
        "no_number",
        "day",
        "no_count",
        "count",
        "no_time",
        "far_time",
        "last_day",
        "year_9000",
        "year_385",
        "no_text",
    ],
)
async def test_an_entry_that_cannot_be_recorded_is_set_aside_whole(
    process: Process, code: Make, redis: Redis, database: Database, events: str | bytes, now: str
) -> None:
    made = await code(50)
    for _ in range(3):
        await process.phone().scan(made.slug)
    odd = await write(redis, made.workspace, events, now)
    for _ in range(3):
        await process.phone().scan(made.slug)

    await process.drain.all_of(made.workspace)

    assert await told(database, made.workspace) == ["c"] * 6
    assert await redis.xlen(keys.events(made.workspace)) == 0
    raw: Any = redis
    kept = await raw.execute_command("XRANGE", keys.unreadable(made.workspace), "-", "+", NEVER_DECODE=True)
    written = events.encode() if isinstance(events, str) else events
    assert kept == [(odd.encode(), {b"now": now.encode(), b"events": written})]
    assert await process.drain.reread(made.workspace) == 0
    async with database.reading() as connection:
        assert max(await partitions.days(connection)).year < 2100
    found = [str(one) for one in await process.reconciler.verify(made.workspace)]
    assert len(found) == 1
    assert "entries that could not be recorded" in found[0]


async def test_what_stands_before_an_entry_that_is_no_text_is_recorded(
    process: Process, code: Make, redis: Redis, database: Database
) -> None:
    made = await code(50)
    await process.phone().scan(made.slug)
    # As nearly always, the entry up to which the record has come is gone.
    await process.drain.all_of(made.workspace)
    await process.phone().scan(made.slug)
    await write(redis, made.workspace, b"p|code|wechat|0...0.0.\xff\xfe|")

    await process.drain.all_of(made.workspace)

    assert await told(database, made.workspace) == ["c"] * 2
    assert await aside(redis, made.workspace) == 1


async def test_two_drains_set_nothing_aside_but_what_cannot_be_recorded(
    process: Process, another_process: Process, code: Make, redis: Redis, database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(draining, "ENTRIES", 3)
    made = await code(200)
    for number in range(40):
        await process.phone().scan(made.slug)
        if number % 13 == 0:
            await write(redis, made.workspace, "no event at all")
    await asyncio.gather(*(one.drain.all_of(made.workspace) for one in (process, another_process)))
    await process.drain.all_of(made.workspace)
    assert await told(database, made.workspace) == ["c"] * 40
    assert await aside(redis, made.workspace) == 4


async def test_what_ails_the_server_sets_nothing_aside(
    process: Process, code: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    with monkeypatch.context() as patch:
        patch.setattr("app.store.records._MOVE_TARGETS", "insert into no_such_table values ($1, $2, $3, $4, $5)")
        with pytest.raises(StoreAway):
            await process.drain.once(made.workspace)
    assert (await aside(redis, made.workspace), await stream.backlog(redis, made.workspace)) == (0, 1)
    await process.drain.all_of(made.workspace)
    assert await process.reconciler.verify(made.workspace) == []


async def test_another_version_records_what_was_set_aside(
    process: Process, code: Make, redis: Redis, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(5)
    await process.phone().visit(made.slug)
    with monkeypatch.context() as patch:
        # A version that has never heard of pictures that were seen.
        patch.setattr(tally, "_KINDS", tally._KINDS - {"s"})
        await process.drain.all_of(made.workspace)
    assert await told(database, made.workspace) == ["c"]
    assert await process.drain.reread(made.workspace) == 1
    assert await told(database, made.workspace) == ["c", "s"]
    assert await process.reconciler.verify(made.workspace) == []


async def test_what_was_set_aside_is_recorded_once_whenever_its_worker_dies(
    process: Process, code: Make, redis: Redis, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    epoch = await stream.epoch_of(redis, made.workspace)
    await stream.set_aside(redis, made.workspace, epoch, stream.START)

    async def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stream, "drop_aside", die)
        with pytest.raises(KeyboardInterrupt):
            await process.drain.reread(made.workspace)
    parts = process.parts(database, redis, clock)
    assert made.workspace in (await parts.watcher.look()).with_unreadable
    await worker.reread(parts)
    assert await told(database, made.workspace) == ["c"]
    assert await aside(redis, made.workspace) == 0
    assert await process.reconciler.verify(made.workspace) == []


async def test_what_still_cannot_be_recorded_stays_and_hides_nothing_younger(
    process: Process, code: Make, redis: Redis, database: Database
) -> None:
    made = await code(5)
    await write(redis, made.workspace, b"p|code|wechat|0...0.0.\xff\xfe|")
    for _ in range(300):
        await redis.xadd(keys.unreadable(made.workspace), {"now": NOW, "events": "no event at all"})
    await process.phone().scan(made.slug)
    epoch = await stream.epoch_of(redis, made.workspace)
    for _ in range(2):
        await stream.set_aside(redis, made.workspace, epoch, stream.START)
    assert await aside(redis, made.workspace) == 302
    assert await process.drain.reread(made.workspace) == 1
    assert await told(database, made.workspace) == ["c"]
    assert await aside(redis, made.workspace) == 301, "a later version may read them"


async def test_an_entry_older_than_what_stands_aside_is_set_aside_too(
    process: Process, code: Make, redis: Redis, database: Database
) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    await redis.xadd(keys.unreadable(made.workspace), {"now": NOW, "events": "no event at all"})
    epoch = await stream.epoch_of(redis, made.workspace)
    assert len(await stream.set_aside(redis, made.workspace, epoch, stream.START)) == 1
    assert await process.drain.reread(made.workspace) == 1
    assert await told(database, made.workspace) == ["c"]
    assert await process.reconciler.verify(made.workspace) != [], "the one that holds no event"
    await redis.delete(keys.unreadable(made.workspace))
    assert await process.reconciler.verify(made.workspace) == []


@pytest.mark.parametrize("late", ["places", "head_count"])
async def test_what_is_recorded_after_a_head_count_counts_as_if_it_had_come_in_order(
    process: Process, code: Make, api: httpx.AsyncClient, redis: Redis, database: Database, late: str
) -> None:
    made = await code(50)
    await process.phone().scan(made.slug)
    await process.drain.all_of(made.workspace)
    epoch = await stream.epoch_of(redis, made.workspace)
    members = f"/targets/{made.targets[0]}/members"
    if late == "places":
        await process.phone().visit(made.slug)
        for _ in range(2):
            await stream.set_aside(redis, made.workspace, epoch, stream.START)
        (await api.post(members, json={"count": 30})).raise_for_status()
    else:
        (await api.post(members, json={"count": 30})).raise_for_status()
        await stream.set_aside(redis, made.workspace, epoch, stream.START)
        await process.phone().visit(made.slug)
    await process.drain.all_of(made.workspace)
    assert await process.drain.reread(made.workspace) > 0
    assert await process.reconciler.verify(made.workspace) == []
    assert await totals(database, made) == [(30, 1, 0 if late == "places" else 1)]


async def test_a_worker_reads_again_once_a_minute_what_was_set_aside(
    process: Process, code: Make, redis: Redis, database: Database, clock: Clock
) -> None:
    made = await code(5)
    parts = process.parts(database, redis, clock)
    rereader = Rereader(parts.drain, parts.watcher, clock)
    await rereader.some()
    await process.phone().scan(made.slug)
    await stream.set_aside(redis, made.workspace, await stream.epoch_of(redis, made.workspace), stream.START)
    await rereader.some()
    assert await aside(redis, made.workspace) == 1
    clock.forward(seconds=60)
    await rereader.some()
    assert await aside(redis, made.workspace) == 0
    assert await told(database, made.workspace) == ["c"]


async def test_what_ails_the_server_when_it_is_read_again_stops_no_worker(
    process: Process, code: Make, redis: Redis, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    epoch = await stream.epoch_of(redis, made.workspace)
    await stream.set_aside(redis, made.workspace, epoch, stream.START)
    parts = process.parts(database, redis, clock)
    with monkeypatch.context() as patch:
        patch.setattr("app.store.records._MOVE_TARGETS", "insert into no_such_table values ($1, $2, $3, $4, $5)")
        await worker.reread(parts)
    assert await aside(redis, made.workspace) == 1
    await worker.reread(parts)
    assert await told(database, made.workspace) == ["c"]


async def test_readiness_and_metrics_tell_how_far_the_record_is_behind(
    process: Process, code: Make, redis: Redis, clock: Clock
) -> None:
    client = process.phone().client
    made = await code(5)
    await process.phone().scan(made.slug)
    await redis.xadd(keys.events(made.workspace), {"now": NOW, "events": "no event at all"})
    rows: Any = await redis.xrange(keys.events(made.workspace), count=1)
    clock.now = START.fromtimestamp(int(rows[0][0].split("-")[0]) / 1000 + 90, START.tzinfo)

    waiting = await client.get("/readyz")
    assert (waiting.status_code, waiting.json()["behind"]["entries"] >= 2) == (200, True)
    assert waiting.json()["behind"]["seconds"] >= 90
    told = {
        line.split()[0]: float(line.split()[1])
        for line in (await client.get("/metrics")).text.splitlines()
        if line.startswith("huoma_")
    }
    assert told["huoma_stream_backlog"] >= 2
    assert told["huoma_stream_lag_seconds"] >= 90

    await process.drain.all_of(made.workspace)
    before = waiting.json()["behind"]["unreadable"]
    assert (await client.get("/readyz")).json()["behind"]["unreadable"] == before, "asked again in a few seconds only"
    clock.forward(seconds=5)
    assert (await client.get("/readyz")).json()["behind"]["unreadable"] == before + 1


@pytest.mark.parametrize(
    "odd",
    ["Y|{0}|wechat|0...0.0.v|", "c|{0}|wechat|7...0.0.v|one|field|more", "p|{0}|wechat|0...99999999999.0.v|"],
    ids=["unknown_kind", "more_fields", "number_without_room"],
)
async def test_a_line_that_cannot_be_recorded_sets_no_other_line_aside(
    process: Process, code: Make, redis: Redis, database: Database, odd: str
) -> None:
    made, other = await code(50), await code(50)
    for one in (made, other):
        await process.phone().scan(one.slug)
    waiting: Any = await redis.xrange(keys.events(made.workspace))
    await redis.xtrim(keys.events(made.workspace), maxlen=0)
    lines = [fields["events"] for _, fields in waiting]
    odd = odd.format(made.id)
    await write(redis, made.workspace, "\n".join([lines[0], odd, lines[1]]))

    await process.drain.all_of(made.workspace)

    assert await told(database, made.workspace) == ["c", "c"]
    kept: Any = await redis.xrange(keys.unreadable(made.workspace))
    assert [(fields["lines"], fields["events"]) for _, fields in kept] == [("1", odd)]
    assert await process.drain.reread(made.workspace) == 0
    assert await told(database, made.workspace) == ["c", "c"]
    found = [one.what for one in await process.reconciler.verify(made.workspace)]
    assert found == ["entries that could not be recorded"]


async def test_another_version_records_the_line_that_was_left_aside(
    process: Process, code: Make, redis: Redis, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(50)
    phone = process.phone()
    await phone.visit(made.slug)
    waiting: Any = await redis.xrange(keys.events(made.workspace))
    await redis.xtrim(keys.events(made.workspace), maxlen=0)
    await write(redis, made.workspace, "\n".join(fields["events"] for _, fields in waiting))
    with monkeypatch.context() as patch:
        patch.setattr(tally, "_KINDS", tally._KINDS - {"s"})
        await process.drain.all_of(made.workspace)
    assert await told(database, made.workspace) == ["c"]
    assert await process.drain.reread(made.workspace) == 1
    assert await told(database, made.workspace) == ["c", "s"]
    assert await process.reconciler.verify(made.workspace) == []
