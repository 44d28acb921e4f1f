"""Look at counters from outside: which holds are late, what one code has taken, and how to throw it all away."""

import math
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.client import NEVER_DECODE
from redis.exceptions import ClusterDownError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.counters import activity, keys
from app.counters.counts import Places
from app.counters.scripts import AUDIT, AUDIT_ADDS, GIVE_BACK
from app.counters.server import away
from app.counters.stream import packed, paired, unpack
from app.domain.code import AccountId, CodeId, TargetId, WorkspaceId
from app.domain.errors import CountersAway
from app.domain.event import Event
from app.domain.seat import Seat

_ASKED_TOGETHER: Final = 500
# How a code may be called in the order of the sweep: more loosely than we call one, so that none of ours is forgotten.
_CODE: Final = re.compile(rb"[\w-]{1,100}")
# What a cluster tells in the place of a reply that did not come.
_SILENT: Final = (RedisConnectionError, RedisTimeoutError, ClusterDownError, OSError)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Hold the counters of one code and the events the record does not have yet, as of one moment.

    Shapes: `seats` and what follows mean nothing when not `counted`: the counters are gone, or rest. `holds` has each
    open hold with its deadline (ms), `due` the deadline under which the code waits to be swept, None when it does not;
    `reopened` counts the targets whose last re-opening is known, `highest` is the last of these, None when none is.
    """

    counted: bool
    state: str
    seats: int
    base: int
    seq: int
    floor: int
    events: list[Event]
    places: dict[TargetId, Places]
    holds: dict[Seat, int]
    due: int | None
    reopened: int
    highest: int | None


@dataclass(frozen=True, slots=True)
class Adds:
    """Hold the adds of all accounts on some days and the events the record does not have yet, as of one moment.

    Shapes: `epoch` is '' when nothing is counted for the workspace. `freed` has how many were given back on a day, and
    the number of the last account that processes can hear of.
    """

    epoch: str
    events: list[Event]
    adds: dict[int, dict[AccountId, int]]
    freed: dict[int, tuple[int, int]]


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


async def snapshot(redis: Redis, workspace: WorkspaceId, code: CodeId, epoch: str, entry: str) -> Snapshot:
    """Read one code's counters together with the stream after (`epoch`, `entry`).

    Cost: one round trip. Raises: CountersAway; Unreadable — the stream holds what is no event.
    """
    meta, counts, holds, _seen, reopened = keys.code_keys(workspace, code)
    named = [keys.events(workspace), keys.epoch(workspace), meta, counts, holds, reopened, keys.due(workspace)]
    (state, *numbers), rows, flat, held, due, (known, highest) = await AUDIT.run(redis, named, [epoch, entry, code])
    seats, base, seq, floor = (int(number or 0) for number in numbers)
    return Snapshot(
        numbers[0] is not None,
        str(state or ""),
        seats,
        base,
        seq,
        floor,
        _events(rows),
        places_of(flat),
        {Seat(seat): int(float(deadline)) for seat, deadline in zip(held[::2], held[1::2], strict=True)},
        int(float(due)) if due else None,
        known,
        int(float(highest)) if highest else None,
    )


def places_of(flat: Sequence[str]) -> dict[TargetId, Places]:
    """Read the places of every target out of a code's counts: field, value and so on."""
    counts = dict(zip(flat[::2], flat[1::2], strict=True))
    return {
        TargetId(field): Places(int(taken), int(counts.get(f"{field}:held", 0)))
        for field, taken in counts.items()
        if ":" not in field
    }


async def adds(redis: Redis, workspace: WorkspaceId, days: Sequence[int], epoch: str, entry: str) -> Adds:
    """Read the adds of some local days together with the stream after (`epoch`, `entry`). Raises: as `snapshot`."""
    named = [keys.events(workspace), keys.epoch(workspace)]
    for day in days:
        named += (keys.adds(workspace, day), keys.freed(workspace, day))
    life, rows, *told = await AUDIT_ADDS.run(redis, named, [epoch, entry])
    found: dict[int, dict[AccountId, int]] = {}
    freed = {}
    for day, flat, last in zip(days, told[::2], told[1::2], strict=True):
        found[day] = {AccountId(a): int(n) for a, n in zip(flat[::2], flat[1::2], strict=True)}
        freed[day] = found[day].pop(AccountId(keys.FREED), 0), int(float(last or 0))
    return Adds(life, _events(rows), found, freed)


async def seen_bits(redis: Redis, workspace: WorkspaceId, codes: Sequence[CodeId]) -> dict[CodeId, tuple[int, bytes]]:
    """Read base and bitmap of seen places of some codes; those that are not counted are left out.

    Cost: one round trip. Raises: CountersAway.
    """
    with away():
        async with redis.pipeline(transaction=False) as pipe:
            for code in codes:
                meta, _counts, _holds, seen, _reopened = keys.code_keys(workspace, code)
                pipe.hmget(meta, ["seats", "base"])
                pipe.execute_command("GET", seen, NEVER_DECODE=True)
            told = await pipe.execute(raise_on_error=False)
    found = {}
    for code, head, bits in zip(codes, told[::2], told[1::2], strict=True):
        for one in (head, bits):
            if isinstance(one, Exception) and not isinstance(one, ResponseError):
                raise CountersAway from one
        # A key of another type is named where the code itself is compared, or holds no bits.
        if not isinstance(head, Exception) and head[0] is not None:
            found[code] = int(head[1]), b"" if isinstance(bits, Exception) else bits or b""
    return found


async def strays(redis: Redis) -> AsyncIterator[list[tuple[WorkspaceId, CodeId]]]:
    """Name every code that is in Redis, some at a time, perhaps more than once.

    Cost: a walk over all keys, a thousand in a round trip. Raises: CountersAway.
    """
    cursor = 0
    while True:
        with away():
            cursor, found = await redis.scan(cursor, match=keys.METAS, count=1_000)
        read = [keys.META.fullmatch(str(name)) for name in found]
        yield [(WorkspaceId(one[1]), CodeId(one[2])) for one in read if one]
        if not cursor:
            return


async def streams(redis: Redis) -> AsyncIterator[set[WorkspaceId]]:
    """Name the workspaces that have a stream in Redis, some at a time, perhaps more than once.

    Cost, Raises: as `strays`.
    """
    cursor = 0
    while True:
        with away():
            cursor, found = await redis.scan(cursor, match=keys.WORKSPACES, count=1_000, _type="stream")
        read = [keys.STREAM.fullmatch(str(name)) for name in found]
        yield {WorkspaceId(one[1]) for one in read if one}
        if not cursor:
            return


async def time_left(redis: Redis, names: Sequence[str]) -> list[int | None]:
    """Tell in how many ms each key ends by itself; None for one that lasts, or is not there.

    Cost: one round trip. Raises: CountersAway.
    """
    with away():
        async with redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.pttl(name)
            return [int(ms) if int(ms) >= 0 else None for ms in await pipe.execute()]


def _events(rows: Sequence[Any]) -> list[Event]:
    return [event for name, fields in rows for event in unpack(packed(name, paired(fields)))]


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
    ended = 0
    for code in await late(redis, workspace, math.inf, -1):
        holds = keys.code_keys(workspace, CodeId(code))[2]
        with away():
            seats = [str(seat) async for seat, _ in redis.zscan_iter(holds, match=f"*.{visitor}")]
        if seats:
            ended += await GIVE_BACK.run(redis, [holds, keys.due(workspace)], [code, *seats])
    if ended:
        # A hint, which a server without memory refuses: without it, a worker looks a little later.
        with suppress(CountersAway):
            await activity.note(redis, [workspace])
