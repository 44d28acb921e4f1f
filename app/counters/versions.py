"""Agree on which version of a code is in force, across every process: mark before an edit, publish after it.

A code's `state` is the version that claims are judged by. An editor puts a mark there while it holds the code's row
locked; whoever meets a mark, or nothing, reads the record (waiting for the lock) and publishes what he read, unless
somebody has put another mark since. So no edit can be missed, and none that was undone can be seen.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from redis.asyncio import Redis

from app.counters import keys
from app.counters.counts import Places
from app.counters.scripts import ERAS, IN_FORCE, MARK, MARK_ALL, PUBLISH, Argument
from app.counters.server import away
from app.domain.cap_days import spell_span
from app.domain.code import AccountId, CodeId, TargetId, WorkspaceId
from app.domain.rest import Rest
from app.domain.roster import Spent

# Redis serves no other caller meanwhile: about a millisecond.
_MARKED_TOGETHER: Final = 500


@dataclass(frozen=True, slots=True)
class InForce:
    """What the counters know of a code: its state ('' when nothing) and whether its counters are there at all.

    Shapes: `epoch` names this life of the workspace's counters, '' when they have not begun or were lost; `dropped`
    when they were thrown away to be made anew from the record alone; `eras` as `CapDays` names them, those whose local
    days may have adds.
    """

    state: str
    counted: bool
    epoch: str
    dropped: bool = False
    eras: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Published:
    """What a publisher learns: places taken by target (absent = none), and the re-openings they already include."""

    taken: dict[TargetId, int]
    seq: int
    spent: Spent


async def mark(redis: Redis, workspace: WorkspaceId, code: CodeId) -> None:
    """Make every process read the code anew before it gives another place; a server without memory takes it, too.

    Raises: CountersAway — nothing may be edited then, since processes could not be told.
    """
    await MARK.run(redis, [keys.meta(workspace, code)], [f"!{secrets.token_hex(8)}"])


async def mark_all(redis: Redis, workspace: WorkspaceId, codes: Sequence[CodeId]) -> None:
    """Mark many codes as `mark` does, but for those without counters; their rows must be locked.

    A process that has read a code without counters publishes it only while it shares the lock of the row, and only if
    the version is still the one that it has read (`recalling`). So such a code needs no mark.
    Cost: one round trip for 500 codes, other callers between; about 0.3 s for 50,000.
    Raises: CountersAway — as `mark`; some may be marked, and are read anew by their next scans.
    """
    name = f"!{secrets.token_hex(8)}"
    for start in range(0, len(codes), _MARKED_TOGETHER):
        some = codes[start : start + _MARKED_TOGETHER]
        await MARK_ALL.run(redis, [keys.meta(workspace, code) for code in some], [name])


async def in_force(redis: Redis, workspace: WorkspaceId, code: CodeId) -> InForce:
    """Ask what is published, before the record is read. Raises: CountersAway."""
    named = [keys.meta(workspace, code), keys.epoch(workspace), keys.eras(workspace)]
    state, counted, epoch, dropped, noted = await IN_FORCE.run(redis, named, [])
    return InForce(str(state), bool(counted), str(epoch), bool(dropped), _eras(noted))


async def note_eras(redis: Redis, workspace: WorkspaceId, eras: Collection[int]) -> None:
    """Note the eras whose local days may have adds, before they are on record; a server without memory takes it, too.

    Raises: CountersAway — the zone may not be changed then, since the loss of that change would go unnoticed.
    """
    await ERAS.run(redis, [keys.eras(workspace)], [" ".join(map(str, sorted(eras)))])


async def noted_eras(redis: Redis, workspace: WorkspaceId) -> frozenset[int]:
    """Read the eras that were noted. Raises: CountersAway."""
    with away():
        return _eras(await redis.get(keys.eras(workspace)))


def _eras(noted: object) -> frozenset[int]:
    return frozenset(int(era) for era in str(noted or "").split())


@dataclass(frozen=True, slots=True)
class Publication:
    """Hold one version of a code, and what the record says for counters that are gone.

    Shapes: `floor` has places by target, used where the counters know nothing of the target; `seats` is the number
    below which no seat may be given, used only when the counters are gone. What was held then is taken for good.
    `adds` has those of every account of the workspace by local day, used only when all its counters are gone; with
    `accounts`, today's adds are told. `rest` is laid back when the counters are gone, and `seats` means nothing then.
    `span` has the days that count, as `CapDays.span` tells them.
    """

    code: CodeId
    version: int
    floor: Mapping[TargetId, Places]
    seats: int
    span: tuple[int, ...]
    adds: Mapping[int, Mapping[AccountId, int]] = field(default_factory=dict)
    accounts: bool = False
    rest: Rest | None = None


async def publish(
    redis: Redis, workspace: WorkspaceId, publication: Publication, *, expected: InForce, now: datetime
) -> Published | None:
    """Put a version in force, if the state is still the one met before the record was read.

    None: somebody else was quicker.
    """
    code, adds, rest = publication.code, publication.adds, publication.rest
    day, *further = publication.span
    # Yesterday may be one of the further days: it is restored once.
    days = {when: number for number, when in enumerate([day, day - 1, *further], 9)}
    rows = [(number, account, n) for when, number in days.items() for account, n in adds.get(when, {}).items()]
    arguments: list[Argument] = [
        code,
        expected.state,
        expected.epoch,
        publication.version,
        int(now.timestamp() * 1000),
        spell_span(publication.span),
        rest.seats if rest else publication.seats,
        secrets.token_hex(8),
        int(publication.accounts),
        len(publication.floor),
        len(rows),
        *((rest.base, rest.seq, rest.counts, rest.seen) if rest else ("", "", "", "")),
    ]
    for target, places in publication.floor.items():
        arguments += (target, places.taken, places.held)
    for row in rows:
        arguments += row
    reply = await PUBLISH.run(
        redis,
        [
            *keys.code_keys(workspace, code),
            keys.due(workspace),
            keys.epoch(workspace),
            keys.events(workspace),
            keys.adds(workspace, day),
            keys.adds(workspace, day - 1),
            *(keys.adds(workspace, other) for other in further),
        ],
        arguments,
    )
    published, seq, taken, mark, told = reply
    if not published:
        return None
    spent: dict[AccountId, int] = {}
    for account, n in zip(told[::2], told[1::2], strict=True):
        if account != keys.FREED:
            spent[account] = spent.get(account, 0) + int(n)
    return Published(
        {TargetId(t): int(n) for t, n in zip(taken[::2], taken[1::2], strict=True)}, seq, Spent(mark, spent)
    )
