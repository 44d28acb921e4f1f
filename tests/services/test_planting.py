"""Each corruption that is planted in Redis or PostgreSQL is named by `verify`, and nothing is once it is taken back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import keys
from app.domain.code import CodeId, WorkspaceId
from app.domain.pseudonym import Pseudonyms
from app.domain.shifts import local_day
from app.domain.workspace import Workspace
from app.services import sifting
from app.services.draining import Drain
from app.services.reconciling import Reconciler
from app.services.sifting import SieveMaker
from app.store.database import Database
from tests.conftest import START, Clock
from tests.ghosts import lose_code
from tests.resting import let_rest
from tests.scanning import SECRET, Made, Make, Process, make
from tests.web.api.steps import make_account

DAY = local_day(START, "Asia/Shanghai")


@dataclass
class Stage:
    """Hold what there is to be corrupted: a group with open holds, staff with adds, a channel, a resting code."""

    database: Database
    redis: Redis
    raw: Any
    process: Process
    workspace: WorkspaceId
    group: Made
    staff: Made
    account: str
    channel: str
    resting: Made
    statements: dict[str, str]

    async def verify(self) -> list[str]:
        return [str(one) for one in await self.process.reconciler.verify(self.workspace)]

    async def sql(self, statements: str) -> None:
        async with self.database.writing() as tx:
            for statement in statements.split(";"):
                if statement.strip():
                    await tx.execute(sa.text(statement.format(**self.statements)))

    @property
    def code(self) -> tuple[str, ...]:
        return keys.code_keys(self.workspace, CodeId(self.group.id))

    async def saved(self) -> dict[bytes, bytes]:
        """Dump every key of the workspace, and the slug filter."""
        mine = [f"huoma:{{{self.workspace}}}:*", "huoma:{slugs}:*"]
        names = [name for match in mine async for name in self.redis.scan_iter(match, count=10_000)]
        return {name: await self.raw.execute_command("DUMP", name, NEVER_DECODE=True) for name in names}

    async def restore(self, saved: dict[bytes, bytes]) -> None:
        for name in (await self.saved()).keys() - saved.keys():
            await self.redis.delete(name)
        for name, dumped in saved.items():
            await self.raw.execute_command("RESTORE", name, 0, dumped, "REPLACE")


@pytest.fixture
async def stage(
    database: Database, redis: Redis, process: Process, api: httpx.AsyncClient, workspace: Workspace, code: Make,
    clock: Clock,
) -> Stage:  # fmt: skip
    pseudonyms = Pseudonyms(lambda: [SECRET])
    process.drain = Drain(database, redis, pseudonyms)
    process.reconciler = Reconciler(database, redis, process.drain, process.recaller, clock, pseudonyms)
    account = await make_account(api, daily_cap=9)
    staff = await make(api, workspace.id, kind="staff", hold_seconds=600)
    for number in range(2):
        row = {"payload": f"https://u.wechat.com/invented{number:012}", "member_limit": 50, "account_id": account["id"]}
        made = (await api.post(f"/codes/{staff.id}/targets", json=row)).raise_for_status().json()
        staff.targets.append(made["id"])
    group, resting = await code(50, 50, hold_seconds=600), await code(20, hold_seconds=60)
    channel = (await api.post(f"/codes/{group.id}/channels", json={"name": "shop"})).raise_for_status().json()
    (await api.post(f"/targets/{group.targets[0]}/members", json={"count": 7})).raise_for_status()
    await process.phone().visit(channel["url"].rsplit("/", 1)[1])
    for made, visits in ((group, 4), (staff, 2), (resting, 2)):
        for _ in range(visits):
            await process.phone().visit(made.slug)
    await process.phone().scan(group.slug)
    await SieveMaker(database, redis).make()
    await process.drain.all_of(workspace.id)
    assert await let_rest(process, resting) == 1
    statements = {
        "w": workspace.id, "g": group.id, "t": group.targets[0], "u": group.targets[1], "s": staff.id,
        "a": account["id"], "r": resting.id, "slug": group.slug, "other": staff.slug, "day": str(DAY),
    }  # fmt: skip
    raw: Any = redis
    return Stage(
        database, redis, raw, process, workspace.id, group, staff, account["id"], channel["url"], resting, statements
    )


Plant = Callable[[Stage], Awaitable[Any]]


def late_hold(stage: Stage) -> Awaitable[Any]:
    return stage.redis.zadd(stage.code[2], dict.fromkeys(["1.x...0.v"], 9e15))


async def open_holds(stage: Stage) -> dict[str, float]:
    rows: Any = await stage.redis.zrange(stage.code[2], 0, -1, withscores=True)
    return dict(rows)


async def hold_never_ends(stage: Stage) -> None:
    await stage.raw.zadd(stage.code[2], dict.fromkeys(await open_holds(stage), 9e14))
    await stage.redis.zadd(keys.due(stage.workspace), {stage.group.id: 9e14})


async def hold_of_another(stage: Stage) -> None:
    holds = await open_holds(stage)
    await stage.redis.delete(stage.code[2])
    await stage.raw.zadd(stage.code[2], {seat.rsplit(".", 1)[0] + ".somebody": end for seat, end in holds.items()})


async def sieve_of_zeros(stage: Stage) -> None:
    size = await stage.redis.strlen(keys.SIEVE)
    await stage.redis.set(keys.SIEVE, b"\0" * size)


async def ghost_in_counts(stage: Stage) -> None:
    await stage.redis.hset(stage.code[1], "0ghost", "3")


REDIS: dict[str, tuple[Plant, str]] = {
    "taken": (lambda s: s.redis.hincrby(s.code[1], s.group.targets[0], 1), "places taken"),
    "taken_of_one_never_given": (lambda s: s.redis.hset(s.code[1], s.group.targets[1], "2"), "places taken"),
    "held": (lambda s: s.redis.hincrby(s.code[1], s.group.targets[0] + ":held", 1), "places held"),
    "adds": (lambda s: s.redis.hincrby(keys.adds(s.workspace, DAY), s.account, -2), "adds of account"),
    "adds_of_a_day": (lambda s: s.redis.delete(keys.adds(s.workspace, DAY)), "adds of account"),
    "adds_of_yesterday": (lambda s: s.redis.hset(keys.adds(s.workspace, DAY - 1), s.account, "3"), "adds of account"),
    "given_back": (lambda s: s.redis.hset(keys.adds(s.workspace, DAY), keys.FREED, "3"), "last add given back"),
    "seen": (lambda s: s.redis.delete(s.code[3]), "bits of seen seats"),
    "one_seen": (lambda s: s.redis.setbit(s.code[3], 0, 0), "bits of seen seats"),
    "seen_that_was_not": (lambda s: s.redis.setbit(s.code[3], 77, 1), "bits of seats that were never seen"),
    "holds": (lambda s: s.redis.delete(s.code[2]), "open holds"),
    "hold_of_another": (hold_of_another, "gave to another visitor"),
    "hold_never_ends": (hold_never_ends, "later than any may"),
    "hold_of_a_ghost": (late_hold, "open holds of a target that the record does not have"),
    "seats_back": (lambda s: s.redis.hincrby(s.code[0], "seats", -3), "last seat given"),
    "seats_on": (lambda s: s.redis.hincrby(s.code[0], "seats", 3), "last seat given"),
    "due": (lambda s: s.redis.delete(keys.due(s.workspace)), "first hold is due"),
    "due_of_nothing": (lambda s: s.redis.zadd(keys.due(s.workspace), {s.staff.id: 5}), "first hold is due"),
    "reopened": (lambda s: s.redis.delete(s.code[4]), "re-opening that processes can hear of"),
    "reopened_without_bound": (
        lambda s: s.redis.zadd(s.code[4], {f"t{n}": n for n in range(1_001)}), "re-openings remembered",
    ),
    "counts": (lambda s: s.redis.delete(s.code[1]), "places taken"),
    "counts_of_a_ghost": (ghost_in_counts, "target that the record does not have"),
    "counts_of_another_type": (lambda s: s.redis.rename(s.code[2], s.code[1]), "could not be compared"),
    "version": (lambda s: s.redis.hset(s.code[0], "state", "99"), "version in force"),
    "sieve": (sieve_of_zeros, "slugs that the filter"),
    "meta_that_ends": (lambda s: s.redis.expire(s.code[0], 3600), "the key meta ends"),
    "counts_that_end": (lambda s: s.redis.expire(s.code[1], 3600), "the key counts ends"),
    "holds_that_end": (lambda s: s.redis.expire(s.code[2], 3600), "the key holds ends"),
    "stream_that_ends": (lambda s: s.redis.expire(keys.epoch(s.workspace), 3600), "the key epoch ends"),
    "adds_that_end": (lambda s: s.redis.expire(keys.adds(s.workspace, DAY), 3600), "end too soon"),
    "lost_zone": (lambda s: s.redis.set(keys.eras(s.workspace), "0 77"), "changes of the time zone"),
}  # fmt: skip
# What is done, what undoes it, and what is named.
POSTGRESQL: dict[str, tuple[str, str, str]] = {
    "members": (
        "update target_totals set members = members + 5 where target_id = '{t}'",
        "update target_totals set members = members - 5 where target_id = '{t}'", "members by events",
    ),
    "total_seen": (
        "update target_totals set seen = seen + 1 where target_id = '{t}'",
        "update target_totals set seen = seen - 1 where target_id = '{t}'", "seen by events",
    ),
    "total_held": (
        "update target_totals set held = held + 1 where target_id = '{t}'",
        "update target_totals set held = held - 1 where target_id = '{t}'", "held by events",
    ),
    "total_of_another_code": (
        "update target_totals set code_id = '{s}' where target_id = '{t}'",
        "update target_totals set code_id = '{g}' where target_id = '{t}'", "places counted for code",
    ),
    "account_days": (
        "update account_days set adds = adds - 1 where account_id = '{a}'",
        "update account_days set adds = adds + 1 where account_id = '{a}'", "adds of account",
    ),
    "code_totals": (
        "update code_totals set seats = seats - 1 where code_id = '{g}'",
        "update code_totals set seats = seats + 1 where code_id = '{g}'", "last seat by events",
    ),
    "code_totals_of_zero": (
        "update code_totals set seats = seats - 1000000000000 where code_id = '{g}'",
        "update code_totals set seats = seats + 1000000000000 where code_id = '{g}'", "last seat by events",
    ),
    "hours_moved_by_days": (
        "update stat_hours set hour = hour - interval '30 days' where code_id = '{g}'",
        "update stat_hours set hour = hour + interval '30 days' where code_id = '{g}'", "in the hour from",
    ),
    "one_hour_moved": (
        "update stat_hours set hour = hour + interval '1 hour' where code_id = '{g}' and kind = 'c'",
        "update stat_hours set hour = hour - interval '1 hour' where code_id = '{g}' and kind = 'c'",
        "in the hour from",
    ),
    "hours_of_another_target": (
        "update stat_hours set target_id = 'zzz' where code_id = '{g}' and target_id = '{t}'",
        "update stat_hours set target_id = '{t}' where code_id = '{g}' and target_id = 'zzz'", "in the hour from",
    ),
    "hours_of_another_channel": (
        "update stat_hours set channel = 7 where code_id = '{g}' and channel = 1",
        "update stat_hours set channel = 1 where code_id = '{g}' and channel = 7", "in the hour from",
    ),
    "hours_of_another_program": (
        "update stat_hours set client = 'wecom' where code_id = '{s}' and kind = 'c'",
        "update stat_hours set client = 'wechat' where code_id = '{s}' and kind = 'c'",
        "in the hour from",
    ),
    "hours_of_another_account": (
        "update stat_hours set account_id = 'zzz' where code_id = '{s}' and account_id = '{a}'",
        "update stat_hours set account_id = '{a}' where code_id = '{s}' and account_id = 'zzz'", "in the hour from",
    ),
    "hours_of_another_kind": (
        "update stat_hours set kind = 'r' where code_id = '{g}' and kind = 's'",
        "update stat_hours set kind = 's' where code_id = '{g}' and kind = 'r'", "by the hour",
    ),
    "hours": (
        "update stat_hours set n = n + 1 where code_id = '{g}' and kind = 's'",
        "update stat_hours set n = n - 1 where code_id = '{g}' and kind = 's'", "by the hour",
    ),
    "event_of_a_sighting": (
        ("create table planted as select * from events where code_id = '{g}' and kind = 's';"
        "delete from events where code_id = '{g}' and kind = 's'"),
        "insert into events select * from planted; drop table planted", "seen by events",
    ),
    "event_of_a_claim": (
        ("create table planted as select * from events where code_id = '{g}' and kind = 'c';"
        "delete from events where code_id = '{g}' and kind = 'c'"),
        "insert into events select * from planted; drop table planted", "held by events",
    ),
    "event_of_another_seat": (
        "update events set seat = seat + 40 where code_id = '{g}' and kind = 's'",
        "update events set seat = seat - 40 where code_id = '{g}' and kind = 's'", "bits of seen seats",
    ),
    "event_of_another_day": (
        "update events set day = day - 1 where code_id = '{s}' and kind = 'c'",
        "update events set day = day + 1 where code_id = '{s}' and kind = 'c'", "adds of account",
    ),
    "visitors_swapped": (
        ("create table planted as select * from events where code_id = '{g}';"
        "update events set visitor = 'nobody' where code_id = '{g}' and visitor <> ''"),
        "delete from events where code_id = '{g}'; insert into events select * from planted; drop table planted",
        "gave to another visitor",
    ),
    "slugs_swapped": (
        ("update slugs set channel = 99 where slug = '{slug}';"
        "update slugs set code_id = '{g}', channel = 0 where slug = '{other}';"
        "update slugs set code_id = '{s}', channel = 0 where slug = '{slug}'"),
        ("update slugs set channel = 99 where slug = '{slug}';"
        "update slugs set code_id = '{s}', channel = 0 where slug = '{other}';"
        "update slugs set code_id = '{g}', channel = 0 where slug = '{slug}'"),
        "leads to another code",
    ),
    "slug_without_its_twin": (
        "update slugs set twin = true where slug = '{slug}'", "update slugs set twin = false where slug = '{slug}'",
        "is found in no other capitals",
    ),
    "payload_of_no_revision": (
        "update targets set payload = payload || 'x' where id = '{t}'",
        "update targets set payload = left(payload, -1) where id = '{t}'", "shows another QR than revision 1",
    ),
    "revision_that_is_not_there": (
        "update targets set revision = 9 where id = '{t}'", "update targets set revision = 1 where id = '{t}'",
        "revision 9 of its QR is not there",
    ),
    "target_moved_with_its_totals": (
        ("update targets set code_id = '{s}' where id = '{t}';"
        "update target_totals set code_id = '{s}' where target_id = '{t}'"),
        ("update targets set code_id = '{g}' where id = '{t}';"
        "update target_totals set code_id = '{g}' where target_id = '{t}'"), "places given for code",
    ),
    "slug_of_a_channel": (
        "update slugs set channel = 50 where code_id = '{g}' and channel = 1",
        "update slugs set channel = 1 where code_id = '{g}' and channel = 50", "which is not there",
    ),
    "slug_gone": (
        "create table planted as select * from slugs where slug = '{slug}'; delete from slugs where slug = '{slug}'",
        "insert into slugs select * from planted; drop table planted", "leads to another code, or nowhere",
    ),
    "rest_of_another_base": (
        "update rests set base = base + 1 where code_id = '{r}'",
        "update rests set base = base - 1 where code_id = '{r}'", "bits of",
    ),
    "rest_of_another_seat": (
        "update rests set seats = seats - 1 where code_id = '{r}'",
        "update rests set seats = seats + 1 where code_id = '{r}'", "last seat given",
    ),
    "rest_that_saw_nothing": (
        ("create table planted as select * from rests where code_id = '{r}';"
        "update rests set seen = '' where code_id = '{r}'"),
        "update rests set seen = planted.seen from planted where rests.code_id = planted.code_id; drop table planted",
        "bits of seen seats",
    ),
    "rest_that_cannot_be_read": (
        ("create table planted as select * from rests where code_id = '{r}';"
        "update rests set counts = '[' where code_id = '{r}'"),
        ("update rests set counts = planted.counts from planted where rests.code_id = planted.code_id;"
        "drop table planted"), "could not be compared",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REDIS)
async def test_what_is_planted_in_redis_is_named(stage: Stage, name: str) -> None:
    plant, named = REDIS[name]
    assert await stage.verify() == []
    saved = await stage.saved()
    await plant(stage)
    found = await stage.verify()
    await stage.restore(saved)
    assert [line for line in found if named in line] != [], found
    assert await stage.verify() == []


@pytest.mark.parametrize("name", POSTGRESQL)
async def test_what_is_planted_in_postgresql_is_named(stage: Stage, name: str) -> None:
    plant, undo, named = POSTGRESQL[name]
    assert await stage.verify() == []
    await stage.sql(plant)
    try:
        found = await stage.verify()
    finally:
        await stage.sql(undo)
    assert [line for line in found if named in line] != [], found
    assert await stage.verify() == []


async def test_places_held_are_compared_though_all_that_is_taken_agrees(stage: Stage) -> None:
    await stage.redis.hincrby(stage.code[1], stage.group.targets[0] + ":held", 1)
    [found] = await stage.process.reconciler.verify(stage.workspace)
    assert (found.what, found.counted, found.recorded) == ("places held", 2, 1)
    await stage.redis.hincrby(stage.code[1], stage.group.targets[0] + ":held", -1)


async def test_one_code_that_cannot_be_compared_hides_no_difference_of_another(stage: Stage) -> None:
    await stage.redis.rename(stage.code[2], stage.code[1])
    [staff] = [keys.code_keys(stage.workspace, CodeId(stage.staff.id))[1]]
    await stage.redis.hincrby(staff, stage.staff.targets[0], 1)
    found = await stage.verify()
    assert [line for line in found if f"code {stage.group.id}: could not be compared" in line] != []
    assert [line for line in found if f"target {stage.staff.targets[0]}: places taken" in line] != []


async def test_what_waits_and_cannot_be_recorded_hides_no_difference(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.process.phone().scan(stage.group.slug)
    monkeypatch.setattr("app.store.records._MOVE_TARGETS", "insert into no_such_table values ($1, $2, $3, $4, $5)")
    await stage.redis.hincrby(stage.code[1], stage.group.targets[0], 1)
    found = await stage.verify()
    assert [line for line in found if "what waits to be recorded could not be compared" in line] != []
    assert [line for line in found if "places taken" in line] != []


async def test_a_code_that_only_redis_knows_is_named(
    stage: Stage, database: Database, process: Process, code: Make, clock: Clock
) -> None:
    made = await code(5)
    await lose_code(database, made.id)
    found = [one async for one in process.reconciler.verifier.strays() if one.workspace == stage.workspace]
    assert [(one.code, one.what) for one in found] == [(made.id, "counters of a code that the record does not have")]


async def test_a_workspace_of_many_codes_is_compared_page_by_page(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.records._CODES", 2)
    monkeypatch.setattr("app.store.records._TARGETS", 1)
    monkeypatch.setattr("app.services.seen_seats._TOGETHER", 1)
    monkeypatch.setattr("app.services.seen_seats._ASKED_TOGETHER", 1)
    assert await stage.verify() == []
    await stage.redis.delete(stage.code[3])
    staff = keys.code_keys(stage.workspace, CodeId(stage.staff.id))
    await stage.redis.hincrby(staff[1], stage.staff.targets[0], 1)
    found = await stage.verify()
    assert [stage.group.id in line for line in found if "bits" in line] == [True]
    assert [stage.staff.targets[0] in line for line in found if "places taken" in line] == [True]


async def test_a_print_that_is_found_in_its_own_capitals_only_is_named(
    stage: Stage, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(api, stage.workspace, kind="group", slug="Moon-Cake")
    assert await stage.verify() == []
    with monkeypatch.context() as patch:
        # As the versions made it that knew of no other capitals.
        patch.setattr(sifting, "forms", list)
        await SieveMaker(stage.database, stage.redis).make()
    [found] = await stage.verify()
    assert "slugs that the filter" in found
    assert "moon-cake" in found
    await SieveMaker(stage.database, stage.redis).make()
    assert await stage.verify() == []
