"""Read places taken and adds of accounts, and set the true head count of a target."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from redis.asyncio import Redis

from app.counters import activity, keys
from app.counters.scripts import REBASE
from app.counters.server import away
from app.domain.code import AccountId, CodeId, TargetId, WorkspaceId
from app.domain.errors import CountersAway

# Targets whose places are read at once: others have scans meanwhile.
_SLICE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Places:
    """Places gone in one target: all of them (members + seen + held), and those that are only held.

    `members` is the head count last reported, None when none was since the counters began.
    """

    taken: int
    held: int
    members: int | None = None


async def read(
    redis: Redis, workspace: WorkspaceId, code: CodeId, targets: Sequence[TargetId]
) -> dict[TargetId, Places]:
    """Read the places of some targets of one code; a target the counters know nothing of is left out.

    Cost: one round trip for 1,000 targets.
    Raises: CountersAway.
    """
    found: dict[TargetId, Places] = {}
    for start in range(0, len(targets), _SLICE):
        some = targets[start : start + _SLICE]
        fields = [field for target in some for field in (target, f"{target}:held", f"{target}:members")]
        with away():
            values = await redis.hmget(keys.code_keys(workspace, code)[1], fields)
        found |= {
            target: Places(int(taken), int(held or 0), None if members is None else int(members))
            for target, taken, held, members in zip(some, values[::3], values[1::3], values[2::3], strict=True)
            if taken is not None
        }
    return found


async def adds(redis: Redis, workspace: WorkspaceId, day: int, accounts: Sequence[AccountId]) -> dict[AccountId, int]:
    """Read how often some accounts were added on one local day; one the counters know nothing of is left out.

    Units: `day` in days since 1970-01-01.
    Raises: CountersAway.
    """
    if not accounts:
        return {}
    with away():
        values = await redis.hmget(keys.adds(workspace, day), list(accounts))
    return {account: int(value) for account, value in zip(accounts, values, strict=True) if value is not None}


async def known(redis: Redis, workspace: WorkspaceId, code: CodeId) -> frozenset[TargetId]:
    """Name the targets of a code whose places the counters know. Raises: CountersAway."""
    with away():
        fields = await redis.hkeys(keys.code_keys(workspace, code)[1])
    return frozenset(TargetId(str(field)) for field in fields if ":" not in str(field))


async def rebase(
    redis: Redis,
    workspace: WorkspaceId,
    code: CodeId,
    target: TargetId,
    members: int,
    now: datetime,
    question: str = "",
) -> int | None:
    """Set how many are inside a target; answer with the places taken now, open holds included.

    None when the counters of the code are gone: publish the code first, then ask again.
    Raises: CountersAway.
    """
    meta, counts, _holds, _seen, reopened = keys.code_keys(workspace, code)
    known, taken = await REBASE.run(
        redis,
        [keys.events(workspace), meta, counts, reopened],
        [int(now.timestamp() * 1000), code, target, members, question],
    )
    with suppress(CountersAway):
        await activity.note(redis, [workspace])
    return int(taken) if known else None
