"""A Redis that may lose counters by its settings is named at the start, at /readyz and by `huoma verify`."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from app.counters import fitness
from app.counters.server import connect
from app.domain.errors import CountersAway
from app.embedded import RedisServer
from app.services.inspecting import Inspector
from tests.running import running_service, server_folder


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with server_folder() as folder:
        server = RedisServer(folder)
        server.start()
        yield server
        server.stop()


@pytest.fixture
async def own(server: RedisServer) -> AsyncIterator[Redis]:
    redis = connect(server.url, connections=2, timeout_seconds=5)
    yield redis
    for name, value in (("maxmemory-policy", "noeviction"), ("maxmemory", "0"), ("appendonly", "yes")):
        await redis.config_set(name, value)
    await redis.aclose()


async def set_up(redis: Redis, **settings: Any) -> None:
    for name, value in settings.items():
        await redis.config_set(name.replace("_", "-"), value)


async def test_a_redis_that_is_set_up_well_is_not_mentioned(own: Redis) -> None:
    await set_up(own, maxmemory="100mb")
    assert await fitness.warnings(own) == []
    await set_up(own, maxmemory="0", maxmemory_policy="allkeys-lru")
    assert await fitness.warnings(own) == [], "nothing is evicted without a limit"


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-ttl", "volatile-random", "allkeys-lru", "allkeys-lfu"])
async def test_a_redis_that_may_evict_counters_is_named(own: Redis, policy: str) -> None:
    await set_up(own, maxmemory="100mb", maxmemory_policy=policy)
    [said] = await fitness.warnings(own)
    assert f"maxmemory-policy is {policy}" in said


@pytest.mark.parametrize("forbidden", ["-config", "-config -info"])
async def test_where_settings_may_not_be_read_what_info_says_counts(
    own: Redis, server: RedisServer, forbidden: str
) -> None:
    await set_up(own, maxmemory="100mb", maxmemory_policy="allkeys-lru", appendonly="no")
    await own.acl_setuser("shy", enabled=True, nopass=True, categories=["+@all"], commands=forbidden.split())
    shy = connect(f"{server.url}?username=shy&password=x", connections=2, timeout_seconds=5)
    try:
        said = await fitness.warnings(shy)
    finally:
        await shy.aclose()
        await own.acl_deluser("shy")
    assert len(said) == (2 if forbidden == "-config" else 0), "what is unknown is not called wrong"


async def test_it_is_logged_once_and_again_when_it_comes_back(own: Redis, caplog: pytest.LogCaptureFixture) -> None:
    inspector = Inspector(own)
    for appends in ("no", "no", "yes", "no"):
        await set_up(own, appendonly=appends)
        assert len(await inspector.look()) == (appends == "no")
    assert [record.getMessage() for record in caplog.records] == ["redis_may_lose_counters"] * 2


async def test_a_redis_that_is_away_is_not_called_well(away_redis: Redis) -> None:
    with pytest.raises(CountersAway):
        await fitness.warnings(away_redis)


def test_an_operator_is_told_by_readyz_and_by_verify() -> None:
    import httpx
    from redis import Redis as Plain

    with server_folder() as folder, server_folder() as logs, running_service(folder, log=logs / "log") as service:
        redis = Plain(unix_socket_path=str(service.servers.redis.sockets / "redis.sock"))
        assert httpx.get(service.url + "/readyz", trust_env=False).json()["warnings"] == []
        assert "warning" not in service.run("verify").stdout
        redis.config_set("appendonly", "no")
        said: subprocess.CompletedProcess[str] = service.run("verify")
        assert (said.returncode, said.stdout.count("warning: Redis keeps no append-only file")) == (0, 1)
        service.stop("serve")
        service.start("serve")
        service.wait_until_ready()
        ready = httpx.get(service.url + "/readyz", trust_env=False)
        assert ready.status_code == 200
        assert "append-only" in " ".join(ready.json()["warnings"])
        assert "redis_may_lose_counters" in (logs / "log").read_text()
