"""Find codes that nobody scans, pack what is counted of them, and forget it (休眠). `versions.publish` lays it back."""

from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.client import NEVER_DECODE
from redis.exceptions import ResponseError

from app.counters import keys
from app.counters.cluster import Cluster
from app.counters.scripts import PACK, REST, Argument
from app.counters.server import away
from app.domain.code import CodeId, WorkspaceId
from app.domain.rest import Rest

# Redis says so when it is told to evict what is used least often, and knows no idle times then.
_UNKNOWN_IDLE: Final = "LFU"


class IdleUnknownError(Exception):
    """Redis keeps no idle times under its `maxmemory-policy`."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Hold what would rest, and the state that the code was in."""

    rest: Rest
    state: str


async def idle(redis: Redis, cursor: int, seconds: int, size: int) -> tuple[int, list[tuple[WorkspaceId, CodeId]]]:
    """Look at about `size` keys, and name the codes among them that nothing has asked for that long.

    Shapes: the cursor to go on from, 0 after the last key; a code may be named twice, and none is missed that is there
    all the while.
    Cost: two round trips.
    Raises: CountersAway; IdleUnknownError.
    """
    with away():
        cursor, found = await redis.scan(cursor, match=keys.METAS, count=size)
        if not found:
            return int(cursor), []
        async with redis.pipeline(transaction=False) as pipe:
            for name in found:
                pipe.object("IDLETIME", name)
            ages = await pipe.execute(raise_on_error=False)
    return int(cursor), [_code_of(str(name)) for name, age in zip(found, ages, strict=True) if _old(age, seconds)]


async def beyond(redis: Redis, cursor: int) -> int:
    """Return a cursor for `idle` that leaves out what is left of a server which is away. Raises: CountersAway."""
    if not isinstance(redis, Cluster):
        return cursor
    with away():
        return await redis.beyond(cursor)


async def pack(redis: Redis, workspace: WorkspaceId, code: CodeId, token: str) -> Packed | None:
    """Read all that the counters hold of a code; None when a hold is open, or nothing is counted.

    Cost: two round trips.
    Raises: CountersAway.
    """
    meta, counts, holds, seen, _reopened = keys.code_keys(workspace, code)
    reply = await PACK.run(redis, [meta, counts, holds, keys.epoch(workspace)], [token])
    if not reply:
        return None
    epoch, state, seats, base, seq, counted = reply
    with away():
        # Who is seen meanwhile has a seat or a hold that was not packed, and the code will not rest.
        bits = await redis.execute_command("GET", seen, **{NEVER_DECODE: True})  # type: ignore[no-untyped-call]
    return Packed(Rest(token, epoch, int(seats), int(base), int(seq), counted, bits or b""), state)


async def rest(redis: Redis, workspace: WorkspaceId, code: CodeId, packed: Packed) -> bool:
    """Forget a code that was packed, unless something has happened to it since.

    Raises: CountersAway — it may be forgotten.
    """
    kept = packed.rest
    arguments: list[Argument] = [kept.token, packed.state, kept.seats, kept.seq]
    return bool(await REST.run(redis, keys.code_keys(workspace, code), arguments))


def _old(age: object, seconds: int) -> bool:
    if isinstance(age, ResponseError):
        if _UNKNOWN_IDLE in str(age):
            raise IdleUnknownError
        return False
    return isinstance(age, int) and age >= seconds


def _code_of(name: str) -> tuple[WorkspaceId, CodeId]:
    read = keys.META.fullmatch(name)
    assert read is not None
    return WorkspaceId(read[1]), CodeId(read[2])
