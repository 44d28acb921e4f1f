"""Agree on which version of a code is in force, across every process: mark before an edit, publish after it.

A code's `state` is the version that claims are judged by. An editor puts a mark there while it holds the code's row
locked; whoever meets a mark, or nothing, reads the record (waiting for the lock) and publishes what he read, unless
somebody has put another mark since. So no edit can be missed, and none that was undone can be seen.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from redis.asyncio import Redis

from app.counters import keys
from app.counters.counts import Places
from app.counters.scripts import PUBLISH, Argument
from app.counters.server import away
from app.domain.code import CodeId, TargetId, WorkspaceId


@dataclass(frozen=True, slots=True)
class InForce:
    """What the counters know of a code: its state ('' when nothing) and whether its counters are there at all."""

    state: str
    counted: bool


@dataclass(frozen=True, slots=True)
class Published:
    """What a publisher learns: places taken by target (absent = none), and the re-openings they already include."""

    taken: dict[TargetId, int]
    seq: int


async def mark(redis: Redis, workspace: WorkspaceId, code: CodeId) -> None:
    """Make every process read the code anew before it gives another place.

    Raises: CountersAway — nothing may be edited then, since processes could not be told.
    """
    with away():
        await redis.hset(keys.meta(workspace, code), "state", f"!{secrets.token_hex(8)}")


async def in_force(redis: Redis, workspace: WorkspaceId, code: CodeId) -> InForce:
    """Ask what is published, before the record is read."""
    with away():
        state, seats = await redis.hmget(keys.meta(workspace, code), ["state", "seats"])
    return InForce(str(state or ""), counted=seats is not None)


async def publish(
    redis: Redis,
    workspace: WorkspaceId,
    code: CodeId,
    *,
    expected: InForce,
    version: int,
    floor: Mapping[TargetId, Places],
    seats: int,
    now: datetime,
) -> Published | None:
    """Put a version in force, if the state is still the one met before the record was read.

    Shapes: `floor` has places by target, used where the counters know nothing of the target; `seats` is the number
    below which no seat may be given, used only when the counters are gone. What was held then
    is taken for good. None: somebody else was quicker.
    """
    arguments: list[Argument] = [
        code,
        expected.state,
        version,
        int(now.timestamp() * 1000),
        seats,
        secrets.token_hex(8),
        len(floor),
    ]
    for target, places in floor.items():
        arguments += (target, places.taken, places.held)
    reply = await PUBLISH.run(
        redis,
        [*keys.code_keys(workspace, code), keys.due(workspace), keys.epoch(workspace), keys.events(workspace)],
        arguments,
    )
    published, seq, taken = reply
    if not published:
        return None
    return Published({TargetId(t): int(n) for t, n in zip(taken[::2], taken[1::2], strict=True)}, seq)
