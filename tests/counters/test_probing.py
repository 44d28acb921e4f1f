"""The probe of Redis: whatever a scan needs is tried once, and a Redis that is merely full passes."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis

from app.counters import refusals
from app.counters.probing import probe
from app.counters.server import connect
from app.domain.errors import CountersAway
from app.embedded import Servers
from chaos.many import Many

As = Callable[..., Awaitable[Redis]]


@pytest.fixture
async def as_user(servers: Servers, redis: Redis) -> AsyncIterator[As]:
    """Connect as a user with these rules."""
    opened: list[Redis] = []

    async def connected(*rules: str) -> Redis:
        await redis.execute_command("ACL", "SETUSER", "probed", "reset", "on", "nopass", *rules)  # type: ignore[no-untyped-call]
        opened.append(connect(f"{servers.redis_url}?username=probed&password=any", connections=2, timeout_seconds=5))
        return opened[-1]

    yield connected
    for one in opened:
        await one.aclose()
    await redis.execute_command("ACL", "DELUSER", "probed")  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "rules",
    [
        ("~*", "+@all", "-@scripting"),
        ("~*", "+@all", "-evalsha"),
        ("~other:*", "+@all"),
        ("~*", "+@read", "+@scripting", "+@connection"),
        *(("~*", "+@all", f"-@{kind}") for kind in ("hash", "sortedset", "stream", "string", "bitmap")),
    ],
)
async def test_a_user_who_lacks_what_a_scan_needs_is_found(as_user: As, rules: tuple[str, ...]) -> None:
    with pytest.raises(CountersAway) as raised:
        await probe(await as_user(*rules))
    assert refusals.lasting(raised.value)
    assert "Redis forbids its user what huoma does" in str(refusals.why(raised.value))


async def test_a_user_who_has_the_keys_of_huoma_alone_suffices(as_user: As, redis: Redis) -> None:
    for _ in range(2):
        await probe(await as_user("~huoma:*", "+@all", "-@admin", "-@dangerous", "-ping"))
    assert await redis.exists("huoma:{probe-0}:probe") == 0


async def test_a_full_redis_is_no_absence(redis: Redis) -> None:
    await redis.config_set("maxmemory", 1)
    try:
        await probe(redis)
    finally:
        await redis.config_set("maxmemory", 0)


async def test_a_replica_takes_no_writes(redis: Redis) -> None:
    await redis.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]
    try:
        await redis.config_set("replica-serve-stale-data", "yes")
        with pytest.raises(CountersAway):
            await probe(redis)
    finally:
        await redis.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]


async def test_every_master_of_a_cluster_is_tried(cluster: Many) -> None:
    redis = connect(cluster.url, connections=2, timeout_seconds=5)
    try:
        await probe(redis)
        for member in cluster.members:
            member.ask("ACL", "SETUSER", "default", "-xadd")
            try:
                with pytest.raises(CountersAway):
                    await probe(redis)
            finally:
                member.ask("ACL", "SETUSER", "default", "+@all")
        await probe(redis)
    finally:
        await redis.aclose()
