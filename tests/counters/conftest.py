import asyncio
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from app.embedded import Servers
from tests.counters.machine import Machine


@pytest.fixture
def machine(servers: Servers) -> Iterator[type[Machine]]:
    """Make the machine live in the real Redis; it has a loop of its own, since its steps are not async."""
    loop = asyncio.new_event_loop()
    redis: Redis = Redis.from_url(servers.redis_url, decode_responses=True)
    yield type("RealMachine", (Machine,), {"redis": redis, "loop": loop})
    loop.run_until_complete(redis.aclose())
    loop.close()
