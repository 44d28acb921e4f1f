"""Replace counters by what the record says (重建): what they hold beyond it stays, unless it is not to be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from app.counters import keys
from app.counters.counts import Places
from app.counters.scripts import REBUILD, RESTORE_ADDS, Argument
from app.counters.server import away
from app.domain.code import AccountId, CodeId, TargetId, WorkspaceId


@dataclass(frozen=True, slots=True)
class Head:
    """Hold what changes whenever a place of a code is given, released or reported.

    Shapes: `seats` is '' when nothing is counted.
    """

    state: str
    seats: str
    seq: str


async def head(redis: Redis, workspace: WorkspaceId, code: CodeId) -> Head:
    """Read the head of a code. Raises: CountersAway."""
    with away():
        found = await redis.hmget(keys.meta(workspace, code), ["state", "seats", "seq"])
    return Head(*(str(one or "") for one in found))


async def replace(
    redis: Redis, workspace: WorkspaceId, code: CodeId, met: Head, record: Mapping[TargetId, Places], seats: int,
    *, now_ms: int, keep: bool,
) -> dict[TargetId, int] | None:  # fmt: skip
    """Put the record in the place of a code's counters; None when something has happened since its head was met.

    Shapes: `record` has every target of the code; `seats` is a number below which no seat may be given. With `keep`,
    more places than the record knows stay taken, and the record hears of them as a head count; answers with those.
    Raises: CountersAway — nothing was replaced, or all.
    """
    arguments: list[Argument] = [code, met.state, met.seats, met.seq, now_ms, seats, int(keep)]
    for target, places in record.items():
        arguments += (target, places.taken, places.held)
    named = [*keys.code_keys(workspace, code), keys.due(workspace), keys.events(workspace)]
    done, kept = await REBUILD.run(redis, named, arguments)
    return {TargetId(t): int(n) for t, n in zip(kept[::2], kept[1::2], strict=True)} if done else None


@dataclass(frozen=True, slots=True)
class AddsRow:
    """Say how often an account was added on a day.

    Shapes: `was` is what was counted, `wanted` what it shall be, and of this the record does not know `unknown`.
    """

    account: AccountId
    day: int
    was: int
    wanted: int
    unknown: int


async def restore_adds(
    redis: Redis, workspace: WorkspaceId, days: Sequence[int], rows: Sequence[AddsRow], *, now_ms: int
) -> bool:
    """Set the adds of accounts on some days, today first; False when some have changed meanwhile, and were left.

    Raises: CountersAway.
    """
    arguments: list[Argument] = [now_ms]
    for row in rows:
        arguments += (3 + days.index(row.day), row.account, row.day, row.was, row.wanted, row.unknown)
    named = [keys.events(workspace), keys.freed(workspace, days[0]), *(keys.adds(workspace, day) for day in days)]
    return not await RESTORE_ADDS.run(redis, named, arguments)


async def forget(redis: Redis, workspace: WorkspaceId, code: CodeId) -> None:
    """Throw away the counters of a code that the record does not have. Raises: CountersAway."""
    with away():
        async with redis.pipeline(transaction=True) as pipe:
            pipe.delete(*keys.code_keys(workspace, code))
            pipe.zrem(keys.due(workspace), code)
            await pipe.execute()
