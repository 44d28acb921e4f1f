import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from app.embedded import Servers
from tests.counters.machine import Machine
from tests.counters.resting import RestingMachine


@pytest.fixture
def real(servers: Servers) -> Iterator[dict[str, Any]]:
    """Hold what a machine lives in: the real Redis, and a loop of its own, since its steps are not async."""
    loop = asyncio.new_event_loop()
    redis: Redis = Redis.from_url(servers.redis_url, decode_responses=True)
    yield {"redis": redis, "loop": loop}
    loop.run_until_complete(redis.aclose())
    loop.close()


@pytest.fixture
def machine(real: dict[str, Any]) -> type[Machine]:
    return type("RealMachine", (Machine,), real)


@pytest.fixture
def resting_machine(real: dict[str, Any]) -> type[RestingMachine]:
    return type("RealRestingMachine", (RestingMachine,), real)
