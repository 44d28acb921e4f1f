"""Ask the sieve (筛) which slugs may have been made, and put in those that are.

Law: a slug is in the sieve before it is made, or there is no sieve. No sieve means that every slug may have been made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from app.counters import keys
from app.counters.scripts import SIEVE, SIFT, Argument
from app.counters.server import away
from app.domain.code import CodeId, Slug, WorkspaceId
from app.domain.sieve import mesh, overfull

_KEYS = (keys.SIEVE_HEAD, keys.SIEVE, keys.SIEVE_DRAFT)


@dataclass(frozen=True, slots=True)
class Sifted:
    """Tell what the sieve says of one slug.

    Shapes: `mark` is another once a chosen slug was made, or Redis has begun another life.
    """

    may_be: bool
    mark: str


async def sift(redis: Redis, slugs: Sequence[Slug]) -> list[Sifted]:
    """Tell of some slugs, in their order, whether they may have been made.

    Cost: one round trip.
    Raises: CountersAway.
    """
    places = [number for slug in slugs for number in mesh(slug)]
    _, mark, verdicts = await SIFT.run(redis, (keys.SIEVE_HEAD, keys.SIEVE), places)
    return [Sifted(verdict == "1", mark) for verdict in verdicts]


async def wanted(redis: Redis) -> bool:
    """Tell whether a new sieve is wanted: there is none that may be believed, or it is overfull.

    Raises: CountersAway.
    """
    believed, _, _ = await SIFT.run(redis, (keys.SIEVE_HEAD, keys.SIEVE), ())
    with away():
        slugs, size = await redis.hmget(keys.SIEVE_HEAD, ["slugs", "size"])
    return not believed or overfull(int(slugs or 0), int(size or 0))


async def put(redis: Redis, slugs: Sequence[Slug], token: str = "") -> bool:
    """Put slugs into the sieve and into one that is being made; with a token, only into that one.

    False when the draft of this token is gone. Raises: CountersAway — some may have been put in, which harms nobody.
    """
    arguments: list[Argument] = ["put", token, len(slugs)]
    for slug in slugs:
        arguments += mesh(slug)
    return bool(await SIEVE.run(redis, _KEYS, arguments))


async def begin(redis: Redis, token: str, size: int) -> bool:
    """Begin a draft of so many bits; False when somebody is making one. Raises: CountersAway."""
    return bool(await SIEVE.run(redis, _KEYS, ("begin", token, size)))


async def place(redis: Redis, token: str, slugs: int) -> bool:
    """Put a finished draft in the place of the sieve; False when it is gone. Raises: CountersAway."""
    return bool(await SIEVE.run(redis, _KEYS, ("place", token, slugs)))


async def announce(redis: Redis) -> None:
    """Make processes that remember a slug as unknown ask again. Raises: CountersAway."""
    with away():
        await redis.hincrby(keys.SIEVE_HEAD, "made", 1)


async def owner(redis: Redis, slug: Slug) -> tuple[WorkspaceId, CodeId] | None:
    """Return the code for which a slug was last made; None when that is long ago, or was not noted.

    Cost: one command. Raises: CountersAway.
    """
    with away():
        noted = await redis.get(keys.slug_owner(slug))
    if noted is None:
        return None
    workspace, _, code = str(noted).partition(" ")
    return WorkspaceId(workspace), CodeId(code)


async def own(redis: Redis, slug: Slug, workspace: WorkspaceId, code: CodeId) -> None:
    """Note for which code a slug is made. Cost: one command. Raises: CountersAway."""
    with away():
        await redis.set(keys.slug_owner(slug), f"{workspace} {code}", ex=keys.SLUG_OWNED_SECONDS)


async def forget(redis: Redis) -> None:
    """Throw the sieve away, and one that is being made. Raises: CountersAway."""
    with away():
        await redis.delete(keys.SIEVE, keys.SIEVE_DRAFT)
