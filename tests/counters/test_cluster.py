"""A real cluster of three masters: slots that move, servers that leave, and what walks over all keys."""

import asyncio
from collections.abc import AsyncIterator, Callable
from secrets import token_hex

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from app.counters import audit, keys, rests
from app.counters.scripts import Script
from app.counters.server import away, connect
from app.counters.wire import Wire
from app.domain.code import CodeId, WorkspaceId
from app.domain.errors import CountersAway
from chaos.many import Many, Member, free_port_with_bus

COUNT = Script("count", "return redis.call('INCR', KEYS[1])")
BOTH = Script("both", "redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[2])")
TIMEOUT = 1.0


@pytest.fixture
async def redis(cluster: Many) -> AsyncIterator[Redis]:
    redis = connect(cluster.url, connections=4, timeout_seconds=TIMEOUT)
    yield redis
    await redis.aclose()


@pytest.fixture
async def wire(redis: Redis) -> AsyncIterator[Wire]:
    wire = Wire(redis, timeout_seconds=TIMEOUT)
    yield wire
    await wire.aclose()


@pytest.fixture
def key() -> str:
    return f"count:{{{token_hex(4)}}}"


@pytest.fixture(params=["wire", "redis"])
def way(request: pytest.FixtureRequest) -> Redis | Wire:
    """Be each of the two ways by which scripts travel."""
    way: Redis | Wire = request.getfixturevalue(request.param)
    return way


def parted(cluster: Many, key: str) -> tuple[int, Member, Member]:
    """Name a key's slot, its master, and another."""
    master = cluster.master_of(key)
    other = next(member for member in cluster.members if member is not master)
    return key_slot(key.encode()), master, other


def begin_to_move(slot: int, of: Member, to: Member) -> None:
    to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", of.ask("CLUSTER", "MYID"))
    of.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.ask("CLUSTER", "MYID"))


def carry(of: Member, to: Member, *names: str) -> None:
    of.ask("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *names)


def settle(cluster: Many, slot: int, on: Member) -> None:
    for member in (on, *cluster.members):
        member.ask("CLUSTER", "SETSLOT", slot, "NODE", on.ask("CLUSTER", "MYID"))


async def test_a_slot_that_has_moved_is_followed_and_nothing_counts_twice(
    cluster: Many, way: Redis | Wire, key: str
) -> None:
    slot, before, after = parted(cluster, key)
    assert await COUNT.run(way, [key], []) == 1
    begin_to_move(slot, before, after)
    carry(before, after, key)
    settle(cluster, slot, after)
    assert [await COUNT.run(way, [key], []) for _ in range(3)] == [2, 3, 4]


async def test_a_slot_that_is_moving_is_asked_for_where_its_keys_are(
    cluster: Many, way: Redis | Wire, key: str
) -> None:
    slot, before, after = parted(cluster, key)
    assert await COUNT.run(way, [key], []) == 1
    begin_to_move(slot, before, after)
    try:
        assert await COUNT.run(way, [key], []) == 2
        carry(before, after, key)
        assert await COUNT.run(way, [key], []) == 3
        assert await COUNT.run(way, [f"{key}:new"], []) == 1
    finally:
        settle(cluster, slot, after)
    assert await COUNT.run(way, [key], []) == 4


async def test_keys_on_both_sides_of_a_move_are_waited_for(cluster: Many, way: Redis | Wire, key: str) -> None:
    slot, before, after = parted(cluster, key)
    two = [key, f"{key}:2"]
    assert await BOTH.run(way, two, []) == 1
    begin_to_move(slot, before, after)
    carry(before, after, key)
    try:
        with pytest.raises(CountersAway):
            await BOTH.run(way, two, [])
        waiting = asyncio.create_task(BOTH.run(way, two, []))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        carry(before, after, two[1])
        assert await waiting == 2
    finally:
        settle(cluster, slot, after)


async def test_a_transaction_is_of_one_server_and_follows_it(cluster: Many, redis: Redis, key: str) -> None:
    slot, before, after = parted(cluster, key)
    await redis.set(key, "there")
    begin_to_move(slot, before, after)
    carry(before, after, key)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.get(key)
        pipe.get(f"{key}:2")
        with pytest.raises(CountersAway), away():
            await pipe.execute()
    settle(cluster, slot, after)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.get(key)
        pipe.set(f"{key}:2", 1)
        assert await pipe.execute() == ["there", True]


async def test_what_is_asked_of_many_comes_back_in_order_though_slots_have_moved(
    cluster: Many, redis: Redis, key: str
) -> None:
    names = [f"{key}:{n}" for n in range(3)] + [f"{token_hex(4)}" for _ in range(30)]
    for n, name in enumerate(names):
        await redis.set(name, n)
    slot, before, after = parted(cluster, key)
    begin_to_move(slot, before, after)
    carry(before, after, *names[:3])
    settle(cluster, slot, after)
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.get(name)
        assert await pipe.execute() == [str(n) for n in range(len(names))]


async def test_a_walk_over_all_keys_goes_over_all_masters(cluster: Many, redis: Redis) -> None:
    mark = token_hex(4)
    workspaces = [WorkspaceId(f"{mark}-{n}") for n in range(60)]
    for workspace in workspaces:
        await redis.hset(keys.meta(workspace, CodeId("c")), "seats", "1")
    assert {cluster.master_of(keys.meta(workspace, CodeId("c"))).port for workspace in workspaces} == {
        member.port for member in cluster.members
    }
    found, cursor = set(), 0
    while True:
        cursor, some = await rests.idle(redis, cursor, 0, 10)
        found |= {workspace for workspace, _ in some if workspace.startswith(mark)}
        if not cursor:
            break
    assert found == set(workspaces)


async def test_whoever_is_unsettled_is_named_wherever_he_is(redis: Redis) -> None:
    workspaces = [WorkspaceId(token_hex(4)) for _ in range(30)]
    for workspace in workspaces[::2]:
        await redis.xadd(keys.events(workspace), {"now": "1", "events": "x"})
    await redis.zadd(keys.due(workspaces[1]), {"c": 5})
    assert await audit.unsettled(redis, workspaces, 5) == sorted(
        [*workspaces[::2], workspaces[1]], key=workspaces.index
    )


async def test_nodes_that_are_not_there_keep_nobody_from_the_others(cluster: Many, key: str) -> None:
    gone = f"127.0.0.1:{free_port_with_bus()}"
    redis = connect(f"redis+cluster://{gone},{cluster.url.split(',')[-1]}", connections=2, timeout_seconds=TIMEOUT)
    wire = Wire(redis, timeout_seconds=TIMEOUT)
    assert [await COUNT.run(one, [key], []) for one in (wire, redis)] == [1, 2]
    await wire.aclose()
    await redis.aclose()


@pytest.mark.parametrize("one_server", [False, True])
async def test_what_is_no_cluster_is_away(servers_of: Callable[[bool], str], one_server: bool) -> None:  # noqa: FBT001
    redis = connect(f"redis+cluster://{servers_of(one_server)}", connections=2, timeout_seconds=TIMEOUT)
    wire = Wire(redis, timeout_seconds=TIMEOUT)
    for one in (redis, wire):
        with pytest.raises(CountersAway):
            await COUNT.run(one, ["k"], [])
    await wire.aclose()
    await redis.aclose()


@pytest.fixture
def servers_of(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Tell where nobody is, or where one server is that knows no cluster."""
    alone = Member(tmp_path_factory.mktemp("alone"), {})

    def where(there: bool) -> str:  # noqa: FBT001
        if there:
            alone.start()
        return f"127.0.0.1:{alone.port}"

    yield where
    alone.stop()
