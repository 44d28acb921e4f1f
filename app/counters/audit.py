"""Look at counters from outside: which holds are late, what one code has taken, and how to throw it all away."""

import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.client import NEVER_DECODE
from redis.exceptions import ClusterDownError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.counters import activity, keys
from app.counters.counts import Places
from app.counters.scripts import AUDIT, GIVE_BACK
from app.counters.server import away
from app.counters.stream import packed, paired, unpack
from app.domain.code import CodeId, TargetId, WorkspaceId
from app.domain.errors import CountersAway
from app.domain.event import Event

_ASKED_TOGETHER: Final = 500
# How a code may be called in the order of the sweep: more loosely than we call one, so that none of ours is forgotten.
_CODE: Final = re.compile(rb"[\w-]{1,100}")
# What a cluster tells in the place of a reply that did not come.
_SILENT: Final = (RedisConnectionError, RedisTimeoutError, ClusterDownError, OSError)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Hold the places of one code and the events the record does not have yet, as of one moment.

    Shapes: targets the counters know nothing of are left out; `counted` is false when the counters are gone.
    """

    counted: bool
    events: list[Event]
    places: dict[TargetId, Places]


async def late(redis: Redis, workspace: WorkspaceId, now_ms: float, limit: int) -> list[CodeId]:
    """Name codes that have a hold whose deadline has passed, the latest first; what names no code is forgotten.

    Raises: CountersAway.
    """
    with away():
        # Not as text, which a member may not be.
        found: list[bytes] = await redis.execute_command(  # type: ignore[no-untyped-call]
            "ZRANGE", keys.due(workspace), "-inf", now_ms, "BYSCORE", "LIMIT", 0, limit, **{NEVER_DECODE: True}
        )
        strange = [member for member in found if not _CODE.fullmatch(member)]
        if strange:
            await redis.zrem(keys.due(workspace), *strange)
    return [CodeId(member.decode()) for member in found if _CODE.fullmatch(member)]


async def unsettled(redis: Redis, workspaces: Sequence[WorkspaceId], now_ms: int) -> list[WorkspaceId]:
    """Name the workspaces that have events to be recorded or a hold whose deadline has passed, in their order.

    Those whose server in a cluster is away are left out: the others' events are not to wait for it.
    Raises: CountersAway — none of them can be asked.
    Cost: one round trip for each 500 workspaces.
    """
    found, silent = [], 0
    for start in range(0, len(workspaces), _ASKED_TOGETHER):
        some = workspaces[start : start + _ASKED_TOGETHER]
        with away():
            async with redis.pipeline(transaction=False) as pipe:
                for workspace in some:
                    pipe.xlen(keys.events(workspace))
                    pipe.zcount(keys.due(workspace), "-inf", now_ms)
                # What is refused for one workspace is met again, and told, where that one is worked on.
                told = await pipe.execute(raise_on_error=False)
        for workspace, *both in zip(some, told[::2], told[1::2], strict=True):
            if any(isinstance(one, _SILENT) for one in both):
                silent += 1
            elif any(both):
                found.append(workspace)
    if silent and silent == len(workspaces):
        raise CountersAway
    return found


async def snapshot(
    redis: Redis, workspace: WorkspaceId, code: CodeId, targets: Sequence[TargetId], epoch: str, entry: str
) -> Snapshot:
    """Read one code's counters together with the stream after (`epoch`, `entry`). Raises: CountersAway."""
    meta, counts, *_ = keys.code_keys(workspace, code)
    counted, rows, places = await AUDIT.run(
        redis, [keys.events(workspace), keys.epoch(workspace), meta, counts], [epoch, entry, *targets]
    )
    return Snapshot(
        bool(counted),
        [event for name, fields in rows for event in unpack(packed(name, paired(fields)))],
        {
            target: Places(int(places[2 * i]), int(places[2 * i + 1] or 0))
            for i, target in enumerate(targets)
            if places[2 * i]
        },
    )


async def drop(redis: Redis, workspace: WorkspaceId, code: CodeId) -> None:
    """Throw a code's counters away; they are rebuilt from the record before anything else is given.

    Raises: CountersAway.
    """
    with away():
        async with redis.pipeline(transaction=True) as pipe:
            pipe.delete(*keys.code_keys(workspace, code))
            # Not the empty state: who read the record for an earlier loss must not publish that for this one.
            pipe.hset(keys.meta(workspace, code), "state", f"!{secrets.token_hex(8)}")
            # And nobody may believe a rest any more: it may know as wrongly as what was thrown away.
            pipe.hset(keys.meta(workspace, code), "dropped", "1")
            pipe.zrem(keys.due(workspace), code)
            await pipe.execute()


async def give_back(redis: Redis, workspace: WorkspaceId, visitor: str) -> None:
    """Let the open holds of a visitor end now: the next to settle their codes takes them back.

    Cost: one round trip a code with open holds, and one more for a code in which the visitor has some.
    Raises: CountersAway.
    """
    for code in await late(redis, workspace, math.inf, -1):
        holds = keys.code_keys(workspace, CodeId(code))[2]
        with away():
            seats = [str(seat) async for seat, _ in redis.zscan_iter(holds, match=f"*.{visitor}")]
        if seats:
            await GIVE_BACK.run(redis, [holds, keys.due(workspace)], [code, *seats])
            await activity.note(redis, [workspace])
