"""Read the stream of events in order, and drop what the record has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from app.counters import keys
from app.counters.scripts import FORGET, KEEP
from app.counters.server import away
from app.domain.code import CodeId, WorkspaceId
from app.domain.errors import CountersAway
from app.domain.event import Event, EventKind, Packed
from app.domain.seat import Seat

START = "0-0"


@dataclass(frozen=True, slots=True)
class Reading:
    """Hold some entries after a position; `epoch` names this life of the stream, '' when there is none.

    Shapes: `known` when the stream has, or had, the entry that was read from. One that has not is that of a server
    with older data: a replica that had not heard of it and is master now, or a server that lost its last writes.
    """

    epoch: str
    entries: Sequence[Packed]
    known: bool = True


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
            pipe.get(keys.recorded(workspace))
            # From the entry itself, if it is still there: an id alone says nothing of what came before it.
            pipe.xrange(keys.events(workspace), min=entry, count=limit + 1)
            now_epoch, recorded, rows = await pipe.execute()
        if now_epoch is None:
            return Reading("", ())
        if now_epoch != epoch and entry != START:
            return await read_after(redis, workspace, now_epoch, START, limit)
    there = bool(rows) and rows[0][0] == entry
    known = there or entry == START or entry in (recorded or "").split()
    return Reading(now_epoch, [packed(name, fields) for name, fields in rows[there:][:limit]], known)


async def keep(redis: Redis, workspace: WorkspaceId, epoch: str, after: str, entry: str) -> None:
    """Make sure, before the record moves, that whoever is master next has what is recorded.

    Replicas that are waited for have it; and should there be another master already, it has it, too.
    Raises: CountersAway — this may not be recorded now.
    """
    if not await KEEP.run(
        redis, [keys.events(workspace), keys.epoch(workspace), keys.recorded(workspace)], [epoch, after, entry]
    ):
        raise CountersAway


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


def packed(entry: str, fields: Mapping[str, str]) -> Packed:
    """Name the fields of an entry. Raises: KeyError, ValueError — nobody of ours wrote it."""
    return Packed(entry, int(fields["now"]), fields["events"])


def unpack(one: Packed) -> list[Event]:
    """Read the events that one script call packed into one entry. Raises: ValueError."""
    events = []
    for n, line in enumerate(one.text.split("\n")):
        # An entry from before events had a detail has four fields a line.
        kind, code, client, seat, detail = (*line.split("|"), "")[:5]
        events.append(Event(one.entry, n, one.at_ms, EventKind(kind), CodeId(code), client, Seat(seat), detail))
    return events
