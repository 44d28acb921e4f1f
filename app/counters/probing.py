"""Find out whether Redis lets huoma work: it answers, takes writes, and permits scripts on huoma's keys."""

import asyncio
from typing import Final

from redis.asyncio import Redis
from redis.crc import key_slot

from app.counters import keys
from app.counters.cluster import Cluster
from app.counters.scripts import PROBE
from app.counters.server import away

# A master that serves fewer than a hundredth of the slots may be left out.
_KEYS_MAX: Final = 1_000


async def probe(redis: Redis) -> None:
    """Write and delete one key of each master. A full Redis passes: it goes on giving what it has.

    Cost: one round trip to each master, all at once.
    Raises: CountersAway — one does not answer, takes no writes, or forbids its user what huoma does.
    """
    with away():
        names = await _names(redis)
        # Each is waited for, so that none is left running when another fails.
        replies = await asyncio.gather(*(PROBE.run(redis, [name], []) for name in names), return_exceptions=True)
    for reply in replies:
        if isinstance(reply, BaseException):
            raise reply


async def _names(redis: Redis) -> list[str]:
    """Name a key for each master."""
    if not isinstance(redis, Cluster):
        return [keys.probe(0)]
    left = set(await redis.masters())
    found = []
    for number in range(_KEYS_MAX):
        name = keys.probe(number)
        host = await redis.serving(key_slot(name.encode()))
        if host in left:
            left.discard(host)
            found.append(name)
        if not left:
            break
    return found
