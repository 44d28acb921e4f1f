"""What PostgreSQL has lost is not shown for long, stops nobody's recording, and is recorded when it comes back."""

import asyncio
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app import worker
from app.counters import keys, stream
from app.domain.code import CodeId
from app.domain.workspace import Workspace
from app.services import draining
from app.store.database import Database
from app.store.tables import events, stat_hours
from tests.conftest import Clock
from tests.ghosts import bring_back, kept_target, lose_code, lose_target
from tests.running import group_payload
from tests.scanning import Made, Make, Process, Seen, make
from tests.services.test_draining import told, totals
from tests.services.test_setting_aside import aside, write


async def add_first(api: httpx.AsyncClient, made: Made) -> str:
    """Put a fresh target before the others."""
    row = {"payload": group_payload(99), "member_limit": 50, "position": 0}
    return str((await api.post(f"/codes/{made.id}/targets", json=row)).raise_for_status().json()["id"])


@pytest.fixture
async def ghost(
    process: Process, another_process: Process, code: Make, api: httpx.AsyncClient, database: Database
) -> tuple[Made, str]:
    """Have a code of which a target is gone from the record while two processes go on showing it."""
    made = await code(50)
    target = await add_first(api, made)
    for one in (process, another_process):
        assert (await one.phone().scan(made.slug)).target == target
    await process.drain.all_of(made.workspace)
    await lose_target(database, target)
    return made, target


async def test_a_target_that_the_record_lost_stops_no_recording_and_is_shown_no_more(
    process: Process, another_process: Process, code: Make, database: Database, redis: Redis, ghost: tuple[Made, str]
) -> None:
    made, target = ghost
    other = await code(5)
    assert (await process.phone().visit(made.slug)).target == target
    await process.phone().visit(other.slug)

    await process.drain.all_of(made.workspace)

    assert await redis.xlen(keys.events(made.workspace)) == 0
    assert await totals(database, other) == [(0, 0, 1)]
    assert await aside(redis, made.workspace) == 2, "a place given and one seen"
    for one in (process, another_process):
        assert (await one.phone().scan(made.slug)).target == made.targets[0]


async def test_only_the_lines_that_name_what_is_lost_are_set_aside(
    process: Process, code: Make, database: Database, redis: Redis, ghost: tuple[Made, str]
) -> None:
    made, target = ghost
    other = await code(50)
    await process.phone().scan(other.slug)

    async def both() -> list[Seen]:
        return await asyncio.gather(*(process.phone().scan(slug) for slug in [made.slug, other.slug] * 8))

    await both()
    assert await redis.xlen(keys.events(made.workspace)) < 17, "scans of both codes share entries"
    await process.drain.all_of(made.workspace)
    assert await totals(database, other) == [(0, 9, 0)]
    rows: Any = await redis.xrange(keys.unreadable(made.workspace))
    left = [str(fields["events"]) for _, fields in rows]
    lines = "\n".join(left).split("\n")
    assert len(lines) == 8
    assert all(target in line for line in lines)
    assert [one.code for one in await process.reconciler.verify(made.workspace) if one.code == other.id] == []


async def test_what_was_set_aside_is_recorded_exactly_once_when_the_target_is_back(
    process: Process, code: Make, api: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    made, other = await code(50), await code(50)
    target = await add_first(api, made)
    await process.phone().visit(made.slug)
    await process.phone().scan(other.slug)
    await process.drain.all_of(made.workspace)
    before = await told(database, made.workspace)
    async with database.reading() as connection:
        rows = [
            dict(row._mapping)
            for row in await connection.execute(sa.select(events).where(events.c.target_id == target))
        ]
        hours = await connection.execute(sa.select(stat_hours).where(stat_hours.c.target_id == target))
        hour_rows = [dict(row._mapping) for row in hours]
    kept = await kept_target(database, target)
    await lose_target(database, target)
    await asyncio.gather(*(process.phone().visit(slug) for slug in (made.slug, other.slug, other.slug)))
    await process.drain.all_of(made.workspace)
    assert await process.drain.reread(made.workspace) == 0
    assert await aside(redis, made.workspace) > 0

    await bring_back(database, kept)
    async with database.writing() as tx:
        for table, table_rows in ((events, rows), (stat_hours, hour_rows)):
            await tx.execute(sa.insert(table).values(table_rows))
    waiting = await aside(redis, made.workspace)
    assert await process.drain.reread(made.workspace) == waiting
    assert await process.drain.reread(made.workspace) == 0
    assert sorted(await told(database, made.workspace)) == sorted([*before, *"cccsss"])
    assert await process.reconciler.verify(made.workspace) == []


@pytest.mark.parametrize("dies_at", ["narrow_aside", "drop_aside"])
async def test_a_process_that_dies_between_record_and_stream_records_nothing_twice(
    process: Process, code: Make, database: Database, redis: Redis, ghost: tuple[Made, str],
    monkeypatch: pytest.MonkeyPatch, dies_at: str,
) -> None:  # fmt: skip
    made, _ = ghost
    other = await code(50)
    await process.phone().scan(other.slug)
    await asyncio.gather(*(process.phone().scan(slug) for slug in (made.slug, other.slug)))
    epoch = str(await redis.get(keys.epoch(made.workspace)))
    if dies_at == "drop_aside":
        # As if the entry had been set aside whole by a process that died at once.
        await process.drain.all_of(made.workspace)
        await process.phone().scan(other.slug)
        await stream.set_aside(redis, made.workspace, epoch, stream.START)

    async def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"app.counters.stream.{dies_at}", die)
        with pytest.raises(KeyboardInterrupt):
            await (process.drain.all_of if dies_at == "narrow_aside" else process.drain.reread)(made.workspace)
    await process.drain.all_of(made.workspace)
    await process.drain.reread(made.workspace)
    given = {"narrow_aside": 2, "drop_aside": 3}[dies_at]
    assert await totals(database, other) == [(0, given, 0)]
    rows: Any = await redis.xrange(keys.unreadable(made.workspace))
    assert [fields for _, fields in rows if other.id in fields["events"]] == [], "what is recorded is set aside no more"


async def test_a_late_hold_of_a_lost_target_comes_back_and_stops_nothing(
    process: Process, another_process: Process, code: Make, database: Database, redis: Redis, clock: Clock,
    ghost: tuple[Made, str],
) -> None:  # fmt: skip
    made, _ = ghost
    other = await code(5)
    await process.phone().scan(other.slug)
    await process.drain.all_of(made.workspace)
    parts = process.parts(database, redis, clock)
    clock.forward(seconds=91)
    while await worker.one_round(parts):
        pass
    assert await redis.xlen(keys.events(made.workspace)) == 0
    assert await totals(database, other) == [(0, 0, 0)]
    assert await redis.zcard(keys.code_keys(made.workspace, CodeId(made.id))[2]) == 0
    await worker.chores(parts)
    assert await parts.rester.rest([(made.workspace, CodeId(made.id))]) == 1, "and the code may rest"
    assert (await another_process.phone().scan(made.slug)).target == made.targets[0]
    assert await process.reconciler.sweep(made.workspace) == 0


async def test_a_code_that_the_record_lost_is_over_where_it_is_known_and_stops_nothing(
    process: Process, another_process: Process, code: Make, database: Database, redis: Redis, clock: Clock
) -> None:
    made, other = await code(5), await code(5)
    await process.phone().scan(made.slug)
    await process.drain.all_of(made.workspace)
    await lose_code(database, made.id)
    await process.phone().visit(made.slug)
    await process.phone().visit(other.slug)
    parts = process.parts(database, redis, clock)
    clock.forward(seconds=91)
    while await worker.one_round(parts):
        pass
    assert await totals(database, other) == [(0, 0, 1)]
    assert await redis.xlen(keys.events(made.workspace)) == 0
    assert (await process.phone().scan(made.slug)).outcome == "closed"
    assert (await another_process.phone().scan(made.slug)).outcome == "unknown"


async def test_many_entries_that_name_what_is_lost_cost_few_transactions(
    process: Process, code: Make, database: Database, redis: Redis, ghost: tuple[Made, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    made, target = ghost
    other = await code(200)
    await process.phone().scan(other.slug)
    lost = f"c|{made.id}|wechat|{{0}}.{target}..20778.0.v|"
    good = f"c|{other.id}|wechat|{{0}}.{other.targets[0]}..20778.0.v|"
    for number in range(300):
        await write(redis, made.workspace, lost.format(10**13 + number) + "\n" + good.format(10**13 + number))
    begun = 0
    once = draining.Drain._once

    async def counted(*arguments: object, **options: object) -> int:
        nonlocal begun
        begun += 1
        return await once(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(draining.Drain, "_once", counted)
    await process.drain.all_of(made.workspace)
    assert begun <= 3
    assert await totals(database, other) == [(0, 301, 0)]
    assert await aside(redis, made.workspace) == 300


async def test_a_lost_target_is_shown_no_more_to_those_who_come_back(
    process: Process, code: Make, api: httpx.AsyncClient, database: Database, redis: Redis
) -> None:
    made = await code(50)
    target, phone = await add_first(api, made), process.phone()
    assert (await phone.visit(made.slug)).target == target
    await process.drain.all_of(made.workspace)
    await lose_target(database, target)
    assert (await phone.scan(made.slug)).target == target, "from memory"
    await process.drain.all_of(made.workspace)
    assert await aside(redis, made.workspace) == 1
    assert (await phone.scan(made.slug)).target == made.targets[0]
    await process.drain.all_of(made.workspace)
    assert await told(database, made.workspace) == ["c"]


@pytest.mark.parametrize("kind", ["menu", "disabled"])
async def test_a_lost_code_that_gives_no_places_is_over(
    process: Process, code: Make, api: httpx.AsyncClient, database: Database, redis: Redis, workspace: Workspace,
    kind: str,
) -> None:  # fmt: skip
    made = other = await code(50)
    if kind == "menu":
        made = await make(api, workspace.id, kind="menu")
        rows = {"options": [{"label": "A", "code_id": other.id}]}
        (await api.put(f"/codes/{made.id}/options", json=rows)).raise_for_status()
    else:
        (await api.patch(f"/codes/{made.id}", json={"disabled": True})).raise_for_status()
    before = (await process.phone().scan(made.slug)).outcome
    await process.drain.all_of(workspace.id)
    await lose_code(database, made.id)
    assert (await process.phone().scan(made.slug)).outcome == before, "from memory"
    await process.drain.all_of(workspace.id)
    assert await aside(redis, workspace.id) == 1
    assert (await process.phone().scan(made.slug)).outcome == "closed"
