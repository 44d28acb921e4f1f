"""Head counts: what is really inside, and what is shown of it."""

import httpx
import pytest
from redis.asyncio import Redis

from app.counters import counts
from app.domain.code import CodeId, TargetId
from app.domain.workspace import Scope, Workspace
from app.qr.reader import Reader
from app.services.draining import Drain
from app.services.recalling import Recaller
from app.store.database import Database
from app.web.api import ApiContext
from tests.conftest import PUBLIC_URL, Clock, client, key_to
from tests.web.api.steps import done, make_code, make_target, refused


async def test_a_head_count_becomes_the_base_and_holds_stay_on_top(
    api: httpx.AsyncClient, redis: Redis, database: Database, workspace: Workspace, recaller: Recaller
) -> None:
    code = await make_code(api)
    target = await make_target(api, code)
    counted = done(await api.post(f"/targets/{target['id']}/members", json={"count": 150}))
    assert [counted[field] for field in ("members", "held", "seen", "taken", "counts")] == [150, 0, 0, 150, "live"]
    places = await counts.read(redis, workspace.id, CodeId(code["id"]), [TargetId(target["id"])])
    assert places[TargetId(target["id"])].taken == 150
    await Drain(database, redis).all_of(workspace.id)
    read = done(await api.get(f"/targets/{target['id']}"))
    assert [read[field] for field in ("members", "seen", "taken")] == [150, 0, 150]


async def test_a_head_count_is_set_even_when_redis_knows_nothing_of_the_code(
    api: httpx.AsyncClient, redis: Redis, workspace: Workspace
) -> None:
    code = await make_code(api)
    target = await make_target(api, code)
    async for key in redis.scan_iter(f"huoma:{{{workspace.id}}}:*"):
        await redis.delete(key)
    assert done(await api.post(f"/targets/{target['id']}/members", json={"count": 7}))["taken"] == 7


@pytest.mark.parametrize("count", [-1, 10**9 + 1, "5", None, 1.5, True])
async def test_a_head_count_has_bounds(api: httpx.AsyncClient, count: object) -> None:
    target = await make_target(api, await make_code(api))
    refused(await api.post(f"/targets/{target['id']}/members", json={"count": count}), 422, "invalid", "count")


async def test_counts_are_those_of_the_record_while_redis_is_away(
    api: httpx.AsyncClient, database: Database, away_redis: Redis, recaller: Recaller, reader: Reader, clock: Clock,
    workspace: Workspace,
) -> None:  # fmt: skip
    target = await make_target(api, await make_code(api), members=20)
    assert done(await api.get(f"/targets/{target['id']}"))["counts"] == "recorded", "nobody has scanned it yet"
    await recaller.publish(CodeId(target["code_id"]))
    assert done(await api.get(f"/targets/{target['id']}"))["counts"] == "live"
    context = ApiContext.of(
        database=database, redis=away_redis, publisher=recaller, reader=reader, public_url=PUBLIC_URL, clock=clock
    )
    async with client(context, await key_to(context, workspace, Scope.READ)) as blind:
        seen = done(await blind.get(f"/targets/{target['id']}"))
        assert (seen["counts"], seen["members"], seen["taken"], seen["state"]) == ("recorded", 20, 20, "live")
