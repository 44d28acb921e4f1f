"""Let codes rest for tests, however young, and see what is left of them."""

from redis.asyncio import Redis

from app.counters import keys
from app.domain.code import CodeId
from tests.scanning import Made, Process, Seen


async def let_rest(process: Process, *made: Made) -> int:
    """Let codes rest; answer with how many do."""
    return await process.rester.rest([(one.workspace, CodeId(one.id)) for one in made])


async def kept_in_redis(redis: Redis, made: Made) -> set[str]:
    """Name every key of a code but the one that ends by itself with the minute."""
    names = {str(name) async for name in redis.scan_iter(f"*{made.id}*")}
    return {name for name in names if ":news:" not in name}


async def age(redis: Redis, made: Made, seconds: int) -> None:
    """Make the counters of a code look as if nobody had asked for them that long."""
    meta = keys.meta(made.workspace, CodeId(made.id))
    dumped = await redis.dump(meta)
    assert dumped is not None
    await redis.restore(meta, 0, dumped, replace=True, idletime=seconds)


def number(seen: Seen) -> int:
    """Read the number of the seat that a page shows."""
    assert seen.image
    return int(seen.image.rsplit("/", 1)[1].split(".")[0])
