"""A rebuild gives nothing twice, destroys nothing that it cannot restore, and makes counters and record agree."""

from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import keys, rebuilds
from app.domain.code import CodeId, WorkspaceId
from app.domain.errors import StoreAway
from app.domain.shifts import local_day
from app.domain.workspace import Workspace
from app.services.sifting import SieveMaker
from app.store import records
from app.store.database import Database
from app.store.tables import account_days, code_totals, events, stat_hours, stream_positions, target_totals
from tests.conftest import START, Clock
from tests.ghosts import lose_target
from tests.resting import let_rest
from tests.scanning import Made, Make, Process, make
from tests.web.api.steps import make_account

DAY = local_day(START, "Asia/Shanghai")
COUNTED = (events, stat_hours, target_totals, code_totals, account_days, stream_positions)


class Dump:
    """Keep what was counted of a workspace, as a dump of PostgreSQL or an old file of Redis does."""

    def __init__(self, database: Database, redis: Redis, workspace: WorkspaceId) -> None:
        self._database = database
        self._redis: Any = redis
        self._workspace = workspace
        self._rows: dict[sa.Table, list[dict[str, Any]]] = {}
        self._keys: dict[str, bytes] = {}

    async def _names(self) -> list[str]:
        return [name async for name in self._redis.scan_iter(f"huoma:{{{self._workspace}}}:*", count=10_000)]

    async def take(self) -> None:
        async with self._database.reading() as connection:
            for table in COUNTED:
                rows = await connection.execute(sa.select(table).where(table.c.workspace_id == self._workspace))
                self._rows[table] = [dict(row._mapping) for row in rows]
        for name in await self._names():
            self._keys[name] = await self._redis.execute_command("DUMP", name, NEVER_DECODE=True)

    async def restore_postgresql(self) -> None:
        async with self._database.writing() as tx:
            for table, rows in self._rows.items():
                await tx.execute(sa.delete(table).where(table.c.workspace_id == self._workspace))
                if rows:
                    await tx.execute(sa.insert(table).values(rows))

    async def restore_redis(self) -> None:
        for name in await self._names():
            await self._redis.delete(name)
        for name, dumped in self._keys.items():
            await self._redis.execute_command("RESTORE", name, 0, dumped, "REPLACE")


@pytest.fixture
async def dump(database: Database, redis: Redis, workspace: Workspace) -> Dump:
    await SieveMaker(database, redis).make()
    return Dump(database, redis, workspace.id)


async def staff_with_cap(api: httpx.AsyncClient, workspace: Workspace, cap: int) -> tuple[Made, str]:
    account = await make_account(api, daily_cap=cap)
    staff = await make(api, workspace.id, kind="staff", new_seats_per_minute=0)
    row = {"payload": "https://u.wechat.com/invented00000001", "member_limit": 1000, "account_id": account["id"]}
    made = (await api.post(f"/codes/{staff.id}/targets", json=row)).raise_for_status().json()
    staff.targets.append(made["id"])
    return staff, account["id"]


async def given(process: Process, made: Made, visitors: int) -> int:
    """Send visitors to a code; answer with how many were given a place."""
    outcomes = [(await process.phone().visit(made.slug)).outcome for _ in range(visitors)]
    return outcomes.count("claimed")


async def differences(process: Process, workspace: WorkspaceId) -> list[str]:
    return [str(one) for one in await process.reconciler.verify(workspace)]


async def test_a_days_cap_is_given_once_though_redis_came_back_with_older_data(
    process: Process, another_process: Process, api: httpx.AsyncClient, workspace: Workspace, dump: Dump
) -> None:
    staff, account = await staff_with_cap(api, workspace, 4)
    assert await given(process, staff, 1) == 1
    await process.drain.all_of(workspace.id)
    await dump.take()
    assert await given(process, staff, 5) == 3
    await process.drain.all_of(workspace.id)
    await dump.restore_redis()
    found = await differences(process, workspace.id)
    assert [line for line in found if f"adds of account {account} on 2026-11-21: counters say 1, record says 4" in line]

    rebuilt = await process.reconciler.rebuild(workspace.id)

    assert (rebuilt.codes, rebuilt.kept, rebuilt.failed) == (1, [], [])
    assert await differences(process, workspace.id) == []
    for one in (process, another_process):
        assert await given(one, staff, 3) == 0
    assert await differences(process, workspace.id) == []


@pytest.mark.parametrize("from_record", [False, True])
async def test_what_redis_gave_after_the_dump_is_not_given_again_unless_the_operator_says_so(
    process: Process, another_process: Process, api: httpx.AsyncClient, workspace: Workspace, code: Make, dump: Dump,
    redis: Redis, *, from_record: bool,
) -> None:  # fmt: skip
    made = await code(5, hold_seconds=600)
    staff, _ = await staff_with_cap(api, workspace, 4)
    assert (await given(process, made, 1), await given(process, staff, 1)) == (1, 1)
    await process.drain.all_of(workspace.id)
    await dump.take()
    assert (await given(process, made, 3), await given(process, staff, 2)) == (3, 2)
    await process.phone().scan(made.slug)
    await process.drain.all_of(workspace.id)
    await dump.restore_postgresql()
    assert await differences(process, workspace.id) != []

    rebuilt = await process.reconciler.rebuild(workspace.id, from_record=from_record)

    assert (rebuilt.codes, rebuilt.failed) == (2, [])
    assert await differences(process, workspace.id) == []
    again = await given(process, made, 2) + await given(another_process, made, 6)
    adds = await given(process, staff, 2) + await given(another_process, staff, 6)
    assert (again, adds) == ((4, 3) if from_record else (0, 1))
    assert len(rebuilt.kept) == (0 if from_record else 3), "places of two targets and the adds of an account"
    assert await differences(process, workspace.id) == []


async def test_codes_that_cannot_be_rebuilt_are_named_and_left_as_they_were(
    process: Process, code: Make, redis: Redis, workspace: Workspace, dump: Dump
) -> None:
    made = [await code(5) for _ in range(3)]
    for one in made:
        assert await given(process, one, 2) == 2
    counts = [keys.code_keys(workspace.id, CodeId(one.id))[1] for one in made]
    await redis.rename(counts[1], "kept elsewhere")
    await redis.set(counts[1], "no counts")
    await redis.hincrby(counts[2], made[2].targets[0], -1)

    rebuilt = await process.reconciler.rebuild(workspace.id)

    assert rebuilt.codes == 2
    assert [one.code for one in rebuilt.failed] == [made[1].id]
    assert "was not rebuilt and is as it was" in str(rebuilt.failed[0])
    assert await redis.get(counts[1]) == "no counts"
    await redis.rename("kept elsewhere", counts[1])
    assert await differences(process, workspace.id) == []
    assert [(await process.phone().scan(one.slug)).outcome for one in made] == ["claimed"] * 3


async def test_a_server_that_goes_away_in_the_middle_takes_no_counters_with_it(
    process: Process, code: Make, redis: Redis, workspace: Workspace, dump: Dump, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(5)
    assert await given(process, made, 2) == 2
    before = await made.places(redis)

    async def away(*_: object) -> None:
        raise StoreAway

    with monkeypatch.context() as patch:
        patch.setattr(records, "seats_of", away)
        rebuilt = await process.reconciler.rebuild(workspace.id)
    assert rebuilt.codes == 0
    assert "only 0 codes were rebuilt" in str(rebuilt.failed[0])
    assert await made.places(redis) == before
    assert await redis.exists(keys.code_keys(workspace.id, CodeId(made.id))[3]), "seen places are still known"
    assert await given(process, made, 4) == 3
    assert await differences(process, workspace.id) == []


async def test_what_cannot_be_recorded_keeps_a_rebuild_from_destroying_anything(
    process: Process, code: Make, redis: Redis, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await code(5)
    assert await given(process, made, 2) == 2
    before = await made.places(redis)
    with monkeypatch.context() as patch:
        patch.setattr("app.store.records._MOVE_TARGETS", "insert into no_such_table values ($1, $2, $3, $4, $5)")
        rebuilt = await process.reconciler.rebuild(workspace.id)
    assert (rebuilt.codes, len(rebuilt.failed)) == (0, 1)
    assert await made.places(redis) == before


async def test_a_hold_that_ends_while_a_code_is_rebuilt_is_not_lost(
    process: Process, code: Make, redis: Redis, workspace: Workspace, dump: Dump, clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    made = await code(2)
    await process.phone().scan(made.slug)
    await process.phone().visit(made.slug)
    head = rebuilds.head
    met = 0

    async def late(*arguments: Any) -> Any:
        nonlocal met
        met += 1
        found = await head(*arguments)
        if met == 1:
            clock.forward(seconds=91)
            assert await process.reconciler.sweep(workspace.id) == 1
        return found

    monkeypatch.setattr(rebuilds, "head", late)
    rebuilt = await process.reconciler.rebuild(workspace.id)
    assert (rebuilt.codes, rebuilt.failed, met) == (1, [], 2)
    assert await made.places(redis) == [(1, 0)]
    assert await differences(process, workspace.id) == []


async def test_places_of_a_target_that_the_record_lacks_stay_taken(
    process: Process, code: Make, redis: Redis, database: Database, workspace: Workspace
) -> None:
    made = await code(1, 5)
    await process.phone().scan(made.slug)
    await process.drain.all_of(workspace.id)
    await lose_target(database, made.targets[0])
    rebuilt = await process.reconciler.rebuild(workspace.id)
    assert (rebuilt.codes, rebuilt.failed) == (1, [])
    assert (await made.places(redis))[0] == (1, 0)
    found = await differences(process, workspace.id)
    assert [line for line in found if f"target {made.targets[0]}: places taken of a target that the record" in line]
    await process.reconciler.rebuild(workspace.id, from_record=True)
    assert (await made.places(redis))[0] == (0, 0)


async def test_a_rest_that_holds_more_than_the_record_is_believed_and_one_that_cannot_be_read_is_not(
    process: Process, code: Make, redis: Redis, database: Database, workspace: Workspace, dump: Dump
) -> None:
    made = await code(5)
    await process.drain.all_of(workspace.id)
    await dump.take()
    assert await given(process, made, 3) == 3
    await process.drain.all_of(workspace.id)
    await dump.restore_postgresql()
    assert await let_rest(process, made) == 1
    rebuilt = await process.reconciler.rebuild(workspace.id)
    assert (rebuilt.codes, rebuilt.failed) == (1, [])
    assert await given(process, made, 5) == 2

    await process.drain.all_of(workspace.id)
    assert await let_rest(process, made) == 1
    async with database.writing() as tx:
        await tx.execute(sa.text("update rests set counts = '[' where code_id = :code").bindparams(code=made.id))
    rebuilt = await process.reconciler.rebuild(workspace.id)
    assert [one.code for one in rebuilt.failed] == [made.id]
    rebuilt = await process.reconciler.rebuild(workspace.id, from_record=True)
    assert (rebuilt.codes, rebuilt.failed) == (1, [])
    assert await differences(process, workspace.id) == []
    assert await given(process, made, 1) == 0


async def test_adds_that_are_given_up_are_offered_again_by_every_process(
    process: Process, another_process: Process, api: httpx.AsyncClient, workspace: Workspace, redis: Redis, dump: Dump
) -> None:
    staff, account = await staff_with_cap(api, workspace, 2)
    await process.drain.all_of(workspace.id)
    await redis.hset(keys.adds(workspace.id, DAY), account, "2")
    for one in (process, another_process):
        assert await given(one, staff, 1) == 0
    await process.reconciler.rebuild(workspace.id, from_record=True)
    assert await given(process, staff, 1) + await given(another_process, staff, 2) == 2
    assert await differences(process, workspace.id) == []
