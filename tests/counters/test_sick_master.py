"""One master of a cluster refuses what is written; it still lets itself be read."""

from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import pytest

from app import worker
from app.counters import audit, keys, stream
from app.counters.server import connect
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway
from app.parts import Parts
from app.services.draining import Drain
from app.services.keeping_workspaces import create_workspace
from app.services.recalling import Recaller
from app.services.reconciling import Reconciler
from app.services.resting import Rester
from app.services.rounds import PAUSE_MAX
from app.services.watching import Watcher
from app.store.database import Database
from chaos.many import Many
from tests.conftest import Clock
from tests.counters.test_replicas import paused
from tests.services.test_draining import told

pytestmark = pytest.mark.timeout(120)


async def test_a_master_that_refuses_writes_stops_the_recording_of_its_own_workspaces_only(
    cluster: Many, database: Database, clock: Clock
) -> None:
    redis = connect(cluster.url, connections=8, timeout_seconds=5)
    drain = Drain(database, redis)
    recaller = Recaller(database, redis, drain, clock, slugs=10, codes=10)
    parts = Parts(
        database, redis, drain, recaller, Reconciler(database, redis, drain, recaller, clock),
        Rester(database, redis, after_seconds=3600), Watcher(database, redis, clock), clock,
    )  # fmt: skip
    workspaces = [(await create_workspace(database, f"w{n}", "Asia/Shanghai", clock()))[0].id for n in range(9)]
    masters = {one: cluster.master_of(keys.events(one)) for one in workspaces}
    sick = masters[workspaces[0]]
    healthy = [one for one in workspaces if masters[one] is not sick]
    assert healthy
    event: Any = {"now": int(datetime.now(UTC).timestamp() * 1000), "events": "p||wechat|0...0.0.v|"}
    try:
        for one in workspaces:
            await redis.set(keys.epoch(one), "life")
            await redis.xadd(keys.events(one), event)
        sick.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        crew = worker.Crew(parts)
        await crew.begin()
        await crew.finish()
        assert {one: await told(database, one) for one in workspaces} == {
            one: ["p"] if one in healthy else [] for one in workspaces
        }
        sick.ask("CONFIG", "SET", "min-replicas-to-write", "0")
        clock.forward(seconds=PAUSE_MAX.total_seconds())
        await crew.begin()
        await crew.finish()
        assert {one: await told(database, one) for one in workspaces} == {one: ["p"] for one in workspaces}
    finally:
        sick.ask("CONFIG", "SET", "min-replicas-to-write", "0")
        await redis.aclose()


async def test_a_master_that_is_silent_hides_nothing_of_the_others(
    cluster: Many, database: Database, clock: Clock
) -> None:
    redis = connect(cluster.url, connections=8, timeout_seconds=1)
    watcher = Watcher(database, redis, clock)
    workspaces = [(await create_workspace(database, f"w{n}", "Asia/Shanghai", clock()))[0].id for n in range(9)]
    for one in workspaces:
        await redis.xadd(keys.events(one), {"now": 1, "events": "?"})
    all_of_them = await watcher.look()
    silent = cluster.master_of(keys.events(workspaces[0]))
    lost = [one for one in workspaces if cluster.master_of(keys.events(one)) is silent]
    with paused(silent):
        assert (await watcher.look()).entries == all_of_them.entries, "as they were found last"
        await redis.xadd(keys.events(next(one for one in workspaces if one not in lost)), {"now": 1, "events": "?"})
        assert (await watcher.look()).entries == all_of_them.entries + 1
    for one in workspaces:
        await redis.delete(keys.events(one))
    await redis.aclose()


async def test_a_master_that_is_away_keeps_nobody_from_the_others(cluster: Many) -> None:
    redis = connect(cluster.url, connections=8, timeout_seconds=1)
    workspaces = [WorkspaceId(token_hex(4)) for _ in range(30)]
    for workspace in workspaces:
        await redis.xadd(keys.events(workspace), {"now": "1", "events": "x"})
    master = cluster.master_of(keys.events(workspaces[0]))
    here = [w for w in workspaces if cluster.master_of(keys.events(w)) is not master]
    assert here
    with paused(master):
        assert await audit.unsettled(redis, workspaces, 5) == here
        found = dict(zip(workspaces, await stream.waiting(redis, workspaces), strict=True))
        assert [one for one in workspaces if found[one] is not None] == here
        with pytest.raises(CountersAway):
            await stream.waiting(redis, [one for one in workspaces if one not in here])
    for one in workspaces:
        await redis.delete(keys.events(one))
    await redis.aclose()
