"""Newcomers to a balanced code, from the API to what a scan weighs."""

from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import counts, keys
from app.domain.code import CodeId, TargetId
from app.domain.workspace import Workspace
from app.services.recalling import Recaller
from app.store.database import Database
from app.store.tables import target_totals
from tests.conftest import Clock
from tests.web.api.steps import done, make_code, make_target, payload, refused


@pytest.fixture
async def code(api: httpx.AsyncClient) -> dict[str, Any]:
    return await make_code(api, strategy="balance")


async def handicaps(recaller: Recaller, code: dict[str, Any], *targets: dict[str, Any]) -> list[int]:
    """Read what a scan weighs beside the places taken."""
    await recaller.publish(CodeId(code["id"]))
    found = (await recaller.entry(CodeId(code["id"]))).code
    return [found.targets[found.index[TargetId(target["id"])]].handicap for target in targets]


async def recount(api: httpx.AsyncClient, target: dict[str, Any], count: int) -> None:
    done(await api.post(f"/targets/{target['id']}/members", json={"count": count}))


async def test_a_newcomer_begins_where_the_least_of_the_others_stands(
    api: httpx.AsyncClient, code: dict[str, Any], recaller: Recaller
) -> None:
    first = await make_target(api, code)
    second = await make_target(api, code, weight=2)
    assert await handicaps(recaller, code, first, second) == [0, 0]
    await recount(api, first, 100)
    await recount(api, second, 61)
    third = await make_target(api, code)
    fourth = await make_target(api, code, weight=3, members=40)
    fifth = await make_target(api, code, members=31)
    # The least is 61 / 2, then the third's 30.
    assert await handicaps(recaller, code, first, second, third, fourth, fifth) == [0, 0, 30, 50, 0]


async def test_a_batch_begins_where_those_that_were_there_stand(
    api: httpx.AsyncClient, code: dict[str, Any], recaller: Recaller
) -> None:
    await recount(api, await make_target(api, code), 70)
    rows = [{"payload": payload()}, {"payload": payload(), "weight": 2}, {"payload": payload(), "members": 100}]
    made = done(await api.post(f"/codes/{code['id']}/targets/batch", json={"targets": rows}), 201)["items"]
    assert await handicaps(recaller, code, *made) == [70, 140, 0]


async def test_who_gets_nobody_any_more_does_not_count(
    api: httpx.AsyncClient, code: dict[str, Any], recaller: Recaller, clock: Clock
) -> None:
    await make_target(api, code, member_limit=0)
    paused, removed = await make_target(api, code), await make_target(api, code)
    await make_target(api, code, expires_at="2026-11-21T11:00:00Z")
    await recount(api, await make_target(api, code), 50)
    done(await api.patch(f"/targets/{paused['id']}", json={"status": "paused"}))
    await api.delete(f"/targets/{removed['id']}")
    early = await make_target(api, code, member_limit=0)
    clock.forward(hours=1)
    late = await make_target(api, code)
    assert await handicaps(recaller, code, early, late) == [0, 50]


async def test_a_target_that_was_paused_comes_back_where_the_others_are(
    api: httpx.AsyncClient, code: dict[str, Any], recaller: Recaller
) -> None:
    resting, working = await make_target(api, code), await make_target(api, code)
    await recount(api, resting, 10)
    url = f"/targets/{resting['id']}"
    done(await api.patch(url, json={"status": "paused"}))
    await recount(api, working, 150)
    done(await api.patch(url, json={"name": "still paused"}))
    assert await handicaps(recaller, code, resting) == [0]
    done(await api.patch(url, json={"status": "live", "weight": 2}))
    assert await handicaps(recaller, code, resting, working) == [290, 0]
    done(await api.patch(url, json={"status": "live", "name": "live as before"}))
    assert await handicaps(recaller, code, resting) == [290]
    await recount(api, working, 20)
    done(await api.patch(url, json={"status": "paused"}))
    done(await api.patch(url, json={"status": "live"}))
    assert await handicaps(recaller, code, resting) == [290], "never lowered"


async def test_another_weight_leaves_a_target_where_it_stood(
    api: httpx.AsyncClient, code: dict[str, Any], recaller: Recaller
) -> None:
    target = await make_target(api, code)
    await recount(api, target, 100)
    for weight, handicap in ((3, 200), (1, 0), (1, 0)):
        done(await api.patch(f"/targets/{target['id']}", json={"weight": weight}))
        assert await handicaps(recaller, code, target) == [handicap]
    heavy = await make_target(api, code, weight=2, members=101)
    done(await api.patch(f"/targets/{heavy['id']}", json={"weight": 1}))
    # It was raised from 101 to 200 places when it came.
    assert await handicaps(recaller, code, heavy) == [-1]


async def test_only_balance_is_levelled(api: httpx.AsyncClient, recaller: Recaller) -> None:
    code = await make_code(api, strategy="fill")
    await recount(api, await make_target(api, code), 100)
    second = await make_target(api, code)
    done(await api.patch(f"/targets/{second['id']}", json={"weight": 5}))
    done(await api.patch(f"/codes/{code['id']}", json={"strategy": "balance"}))
    assert await handicaps(recaller, code, second) == [0]
    done(await api.patch(f"/codes/{code['id']}", json={"strategy": "random"}))
    assert await handicaps(recaller, code, await make_target(api, code)) == [0]


async def test_places_are_those_of_the_counters_while_they_are_there(
    api: httpx.AsyncClient, code: dict[str, Any], recaller: Recaller, redis: Redis, workspace: Workspace,
    database: Database, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(counts, "_SLICE", 2)
    targets = [await make_target(api, code, members=n) for n in (50, 60, 70)]
    ids = [TargetId(one["id"]) for one in targets]
    await recaller.publish(CodeId(code["id"]))
    counted = keys.code_keys(workspace.id, CodeId(code["id"]))[1]
    await redis.hset(counted, mapping={ids[0]: 90, ids[1]: 80, ids[2]: 75})
    newcomer = await make_target(api, code)
    assert await handicaps(recaller, code, newcomer) == [75]
    await recount(api, newcomer, 500)

    async with database.writing() as tx:
        await tx.execute(sa.update(target_totals).where(target_totals.c.target_id.in_(ids)).values(held=5, seen=10))
    await redis.delete(*keys.code_keys(workspace.id, CodeId(code["id"])))
    assert await counts.read(redis, workspace.id, CodeId(code["id"]), ids) == {}
    another = await make_target(api, code)
    assert await handicaps(recaller, code, another) == [65]


async def test_nothing_is_added_while_the_counters_cannot_be_asked(
    api: httpx.AsyncClient, code: dict[str, Any], monkeypatch: pytest.MonkeyPatch, context: Any, away_redis: Redis
) -> None:
    target = await make_target(api, code)
    before = done(await api.get(f"/codes/{code['id']}"))
    with monkeypatch.context() as patch:
        patch.setattr(context.targets._editing, "redis", away_redis)
        row = {"payload": payload()}
        refused(await api.post(f"/codes/{code['id']}/targets", json=row), 503, "counters_away")
        refused(await api.patch(f"/targets/{target['id']}", json={"weight": 2}), 503, "counters_away")
    assert done(await api.get(f"/codes/{code['id']}")) == before
