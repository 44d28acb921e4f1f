import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from app.counters.server import connect
from app.embedded import Servers
from chaos.many import Many, running_cluster
from tests.counters.machine import Machine
from tests.counters.resting import RestingMachine
from tests.running import server_folder


@pytest.fixture(scope="session")
def cluster() -> Iterator[Many]:
    with server_folder() as folder, running_cluster(folder) as cluster:
        yield cluster


@pytest.fixture
def where(request: pytest.FixtureRequest, servers: Servers) -> str:
    """Tell where Redis is: one server, or with the parameter `cluster` three masters."""
    if getattr(request, "param", "one") == "one":
        return servers.redis_url
    cluster: Many = request.getfixturevalue("cluster")
    return cluster.url


@pytest.fixture
def real(where: str) -> Iterator[dict[str, Any]]:
    """Hold what a machine lives in: the real Redis, and a loop of its own, since its steps are not async."""
    loop = asyncio.new_event_loop()
    redis = connect(where, connections=2, timeout_seconds=5)
    yield {"redis": redis, "loop": loop}
    loop.run_until_complete(redis.aclose())
    loop.close()


@pytest.fixture
def machine(real: dict[str, Any]) -> type[Machine]:
    return type("RealMachine", (Machine,), real)


@pytest.fixture
def resting_machine(real: dict[str, Any]) -> type[RestingMachine]:
    return type("RealRestingMachine", (RestingMachine,), real)
