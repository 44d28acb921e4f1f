"""Keep the set of workspaces in which something happened lately, so that a worker need not ask about the others.

The set is a hint and lies outside the hash tags of workspaces: a script cannot write it, and a hint may get lost.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.client import NEVER_DECODE
from redis.exceptions import ClusterDownError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.counters import keys
from app.counters.server import away
from app.domain.code import WorkspaceId

_ASKED_TOGETHER: Final = 500
# Looser than our own ids; whatever else stands in the set is no workspace.
_WORKSPACE: Final = re.compile(rb"[\w-]{1,100}")
# What a cluster returns in the place of a reply that did not come.
_SILENT: Final = (RedisConnectionError, RedisTimeoutError, ClusterDownError, OSError)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Count the entries that wait in a workspace, and tell when its next hold ends.

    Shapes: `due_ms` is None when no hold is open.
    """

    entries: int
    due_ms: float | None


async def note(redis: Redis, workspaces: Collection[WorkspaceId]) -> None:
    """Note that something happened in some workspaces. Raises: CountersAway."""
    with away():
        await redis.sadd(keys.ACTIVE, *workspaces)


async def noted(redis: Redis) -> set[WorkspaceId]:
    """Name the workspaces in which something happened lately. Raises: CountersAway."""
    return await _members(redis, keys.ACTIVE)


async def lacking(redis: Redis) -> set[WorkspaceId]:
    """Name the workspaces that the record did not have. Raises: CountersAway."""
    return await _members(redis, keys.LACKING)


async def watched(redis: Redis) -> set[WorkspaceId]:
    """Name the workspaces that are noted or lacking. Cost: one command. Raises: CountersAway."""
    return await _members(redis, keys.ACTIVE, keys.LACKING)


async def _members(redis: Redis, *sets: str) -> set[WorkspaceId]:
    with away():
        found: Any = await redis.execute_command(  # type: ignore[no-untyped-call]
            "SUNION", *sets, **{NEVER_DECODE: True}
        )
    return {WorkspaceId(one.decode()) for one in found if _WORKSPACE.fullmatch(one)}


async def note_lacking(redis: Redis, workspace: WorkspaceId) -> None:
    """Note that the record does not have a workspace. Raises: CountersAway."""
    with away():
        await redis.sadd(keys.LACKING, workspace)


async def note_found(redis: Redis, workspace: WorkspaceId) -> None:
    """Note that the record has a workspace. Raises: CountersAway."""
    with away():
        await redis.srem(keys.LACKING, workspace)


async def forget(redis: Redis, workspaces: Collection[WorkspaceId]) -> None:
    """Note that nothing happens in some workspaces any more. Raises: CountersAway."""
    with away():
        await redis.srem(keys.ACTIVE, *workspaces)


async def look(redis: Redis, workspaces: Collection[WorkspaceId]) -> dict[WorkspaceId, Waiting | None]:
    """Tell what waits in some workspaces; None for one whose server does not answer.

    Shapes: one that is refused counts as one in which something waits: the work on it names the error.
    Raises: CountersAway — the only server does not answer.
    Cost: one round trip for each 500 workspaces.
    """
    found: dict[WorkspaceId, Waiting | None] = {}
    asked = list(workspaces)
    for start in range(0, len(asked), _ASKED_TOGETHER):
        some = asked[start : start + _ASKED_TOGETHER]
        with away():
            async with redis.pipeline(transaction=False) as pipe:
                for workspace in some:
                    pipe.xlen(keys.events(workspace))
                    # Not as text, which a member may not be.
                    pipe.execute_command("ZRANGE", keys.due(workspace), 0, 0, "WITHSCORES", **{NEVER_DECODE: True})
                replies = await pipe.execute(raise_on_error=False)
        for workspace, entries, first in zip(some, replies[::2], replies[1::2], strict=True):
            found[workspace] = _waiting(entries, first)
    return found


def _waiting(entries: Any, first: Any) -> Waiting | None:
    if isinstance(entries, _SILENT) or isinstance(first, _SILENT):
        return None
    if isinstance(entries, ResponseError) or isinstance(first, ResponseError):
        return Waiting(1, None)
    return Waiting(int(entries), _score(first))


def _score(first: Any) -> float | None:
    if not first:
        return None
    # Pairs where redis-py has put them together.
    return float(first[0][1]) if isinstance(first[0], (tuple, list)) else float(first[1])
