"""Read the stream of events in order, and drop what the record has. Knows how `claim.lua` packs them."""

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from app.counters import keys
from app.counters.scripts import FORGET
from app.counters.server import away
from app.domain.code import CodeId, WorkspaceId
from app.domain.event import Event, EventKind
from app.domain.seat import Seat

START = "0-0"


@dataclass(frozen=True, slots=True)
class Reading:
    """Hold some events after a position; `epoch` names this life of the stream, '' when there is none."""

    epoch: str
    last: str | None
    events: Sequence[Event]


async def epoch_of(redis: Redis, workspace: WorkspaceId) -> str:
    """Ask which life of the stream this is; '' when nothing was ever counted, or all was lost."""
    with away():
        return str(await redis.get(keys.epoch(workspace)) or "")


async def read_after(redis: Redis, workspace: WorkspaceId, epoch: str, entry: str, limit: int) -> Reading:
    """Read at most `limit` entries after `entry`; from the start when the stream's life is not `epoch`.

    Cost: one round trip, one more when the life has changed. An entry holds all events of one script call.
    Raises: CountersAway.
    """
    with away():
        async with redis.pipeline(transaction=True) as pipe:
            pipe.get(keys.epoch(workspace))
            pipe.xrange(keys.events(workspace), min=f"({entry}", count=limit)
            now_epoch, rows = await pipe.execute()
        if now_epoch is None:
            return Reading("", None, ())
        if now_epoch != epoch and entry != START:
            return await read_after(redis, workspace, now_epoch, START, limit)
    return Reading(now_epoch, rows[-1][0] if rows else None, [event for row in rows for event in unpack(*row)])


async def forget(redis: Redis, workspace: WorkspaceId, epoch: str, entry: str) -> None:
    """Forget every entry up to and including `entry`, which the record must have, if this is still that stream.

    Raises: CountersAway — the entries stay; they are recorded already and will not be recorded again.
    """
    ms, seq = entry.split("-")
    await FORGET.run(redis, [keys.events(workspace), keys.epoch(workspace)], [epoch, f"{ms}-{int(seq) + 1}"])


async def backlog(redis: Redis, workspace: WorkspaceId) -> int:
    """Count the entries that wait for the record."""
    with away():
        return int(await redis.xlen(keys.events(workspace)))


def unpack(entry: str, fields: dict[str, str]) -> list[Event]:
    """Read the events that one script call packed into one entry."""
    at_ms = int(fields["now"])
    events = []
    for n, line in enumerate(fields["events"].split("\n")):
        # An entry from before events had a detail has four fields a line.
        kind, code, client, seat, detail = (*line.split("|"), "")[:5]
        events.append(Event(entry, n, at_ms, EventKind(kind), CodeId(code), client, Seat(seat), detail))
    return events
