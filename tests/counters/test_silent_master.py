"""One master of a cluster is silent: codes on the others rest, are found, and are scanned."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from app.counters import keys
from app.counters.cluster import Cluster
from app.counters.server import connect
from app.domain.code import CodeId
from app.domain.errors import CountersAway
from app.domain.workspace import Scope
from app.qr.reader import Reader
from app.services.draining import Drain
from app.services.keeping_workspaces import create_workspace
from app.services.recalling import Recaller
from app.services.resting import Rester
from app.store.database import Database
from app.web.api import ApiContext
from chaos.many import Many, Member
from tests.conftest import PUBLIC_URL, Clock, client, key_to
from tests.counters.test_replicas import paused
from tests.resting import age
from tests.scanning import Made, Process, make

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def redis(cluster: Many) -> AsyncIterator[Redis]:
    redis = connect(cluster.url, connections=8, timeout_seconds=1)
    yield redis
    await redis.aclose()


@pytest.fixture
def context(database: Database, redis: Redis, reader: Reader, clock: Clock) -> ApiContext:
    recaller = Recaller(database, redis, Drain(database, redis), clock, slugs=100, codes=100)
    return ApiContext.of(
        database=database, redis=redis, publisher=recaller, reader=reader, public_url=PUBLIC_URL, clock=clock
    )


async def codes_on_all_masters(context: ApiContext, cluster: Many, clock: Clock) -> list[tuple[Made, str, Member]]:
    """Make a code in each of some workspaces; return them with a key of the API and the master that counts them."""
    made: list[tuple[Made, str, Member]] = []
    # Which master a workspace belongs to is a matter of its id.
    while len(made) < 60 and {master.port for *_, master in made} != {member.port for member in cluster.masters()}:
        workspace, _ = await create_workspace(context.database, f"w{len(made)}", "Asia/Shanghai", clock())
        key = await key_to(context, workspace, Scope.ADMIN)
        async with client(context, key) as api:
            one = await make(api, workspace.id, 20)
        made.append((one, key, cluster.master_of(keys.events(workspace.id))))
    return made


async def test_codes_on_other_masters_rest(
    context: ApiContext, cluster: Many, redis: Redis, database: Database, clock: Clock
) -> None:
    made = await codes_on_all_masters(context, cluster, clock)
    process = Process.of(context, redis, clock)
    for one, _, _ in made:
        await process.phone().visit(one.slug)
        await process.drain.all_of(one.workspace)
        await age(redis, one, 100)
    assert isinstance(redis, Cluster)
    first, *_ = await redis.masters()
    [silent] = [member for member in cluster.masters() if member.port == first[1]]
    healthy = [one for one, _, master in made if master is not silent]
    rester = Rester(database, redis, after_seconds=60)
    failed, masters = 0, len(await redis.masters())
    with paused(silent):
        # Each look shows all keys that one master has here.
        for _ in range(masters):
            try:
                await rester.some()
            except CountersAway:
                failed += 1
        assert failed == 1
        for one in healthy:
            meta = keys.meta(one.workspace, CodeId(one.id))
            assert not await redis.exists(meta), "it rests"


async def test_slugs_are_found_while_the_master_of_the_sieve_is_silent(
    context: ApiContext, cluster: Many, redis: Redis, clock: Clock
) -> None:
    made = await codes_on_all_masters(context, cluster, clock)
    silent = cluster.master_of(keys.SIEVE)
    healthy = [(one, key) for one, key, master in made if master is not silent]
    process = Process.of(context, redis, clock)
    with paused(silent):
        for one, _ in healthy:
            assert (await process.phone().scan(one.slug)).outcome == "claimed"
        capitals = healthy[0][0].slug.upper()
        assert (await process.phone().scan(capitals)).outcome == "claimed"
        assert (await process.phone().scan("never-made")).outcome == "unknown"
        async with client(context, healthy[0][1]) as api:
            answer = await api.post("/codes", json={"name": "new", "kind": "group", "slug": "never-made"})
        assert answer.json()["code"] == "counters_away", "what cannot be put into the sieve is not made"
    async with client(context, healthy[0][1]) as api:
        answer = await api.post("/codes", json={"name": "new", "kind": "group", "slug": "never-made"})
    assert answer.status_code == 201, answer.text
    assert (await process.phone().scan("never-made")).outcome != "unknown", "nothing was remembered without a mark"
