"""Read the stream of events in order, drop what the record has, and set aside what it cannot have."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ClusterError, ResponseError

from app.counters import keys
from app.counters.scripts import FORGET, KEEP, NARROW, READ_AFTER, SET_ASIDE
from app.counters.server import away
from app.domain.code import CodeId, WorkspaceId
from app.domain.errors import CountersAway
from app.domain.event import Event, EventKind, Packed, Unreadable
from app.domain.seat import Seat

START = "0-0"

_ASKED_TOGETHER: Final = 500


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

    Cost: one round trip. An entry holds all events of one script call.
    Raises: CountersAway; Unreadable — one of them is no text.
    """
    stream_keys = [keys.events(workspace), keys.epoch(workspace), keys.recorded(workspace)]
    with _as_text():
        # No more than is wanted: one that is no text would make those before it unreadable, too.
        now_epoch, known, rows = await READ_AFTER.run(redis, stream_keys, [epoch, entry, limit])
    return Reading(str(now_epoch), [packed(name, paired(fields)) for name, fields in rows], bool(known))


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


async def set_aside(
    redis: Redis, workspace: WorkspaceId, epoch: str, entry: str, names: Sequence[str] = ()
) -> list[str]:
    """Set aside the first entry after a position, or the named ones, so that the entries behind can be recorded.

    Shapes: answers with the names under which they stand aside, in their order; empty when there was nothing.
    Raises: CountersAway.
    """
    stream_keys = [keys.events(workspace), keys.epoch(workspace), keys.unreadable(workspace)]
    return [str(name) for name in await SET_ASIDE.run(redis, stream_keys, [epoch, entry, *names])]


@dataclass(frozen=True, slots=True)
class Aside:
    """Hold an entry that was set aside: the name under which it stands aside, and what it holds.

    Shapes: `packed` is None when the entry is no text, and no version of huoma wrote it.
    """

    name: str
    packed: Packed | None


async def read_aside(redis: Redis, workspace: WorkspaceId, start: str, limit: int) -> list[Aside]:
    """Read at most `limit` entries that were set aside, the oldest first, from the one named `start` on.

    Shapes: `start` is `-` for the first one, and has `(` before it to begin behind an entry.
    Raises: CountersAway.
    """
    with away():
        # As bytes: one entry that is no text must not hide the others.
        rows = await redis.execute_command(  # type: ignore[no-untyped-call]
            "XRANGE", keys.unreadable(workspace), start, "+", "COUNT", limit, NEVER_DECODE=True
        )
    return [Aside(name.decode(), _read_aside(name.decode(), fields)) for name, fields in rows]


def _read_aside(name: str, raw: Mapping[bytes, bytes] | Sequence[bytes]) -> Packed | None:
    try:
        pairs = raw.items() if isinstance(raw, Mapping) else zip(raw[::2], raw[1::2], strict=True)
        fields = {key.decode(): value.decode() for key, value in pairs}
        one = packed(fields.get("entry", name), fields)
        return replace(one, numbers=tuple(map(int, fields["lines"].split()))) if "lines" in fields else one
    except ValueError:
        return None


async def drop_aside(redis: Redis, workspace: WorkspaceId, name: str) -> None:
    """Drop an entry that was set aside and that the record has by now. Raises: CountersAway."""
    with away():
        await redis.xdel(keys.unreadable(workspace), name)


async def narrow_aside(redis: Redis, workspace: WorkspaceId, name: str, left: Packed) -> None:
    """Leave those lines of an entry aside that the record does not have yet; nothing when the entry is gone.

    Raises: CountersAway — the entry may be there as it was.
    """
    numbers = " ".join(str(n) for n in left.numbers)
    await NARROW.run(redis, [keys.unreadable(workspace)], [name, left.entry, left.at_ms, numbers, left.text])


@dataclass(frozen=True, slots=True)
class Waiting:
    """Count the entries that wait for the record, and those set aside. Units: `oldest_ms` by the clock of Redis."""

    entries: int
    oldest_ms: int | None
    unreadable: int


async def waiting(redis: Redis, workspaces: Sequence[WorkspaceId]) -> list[Waiting | None]:
    """Return what waits of each workspace; None for one whose server, in a cluster, does not answer.

    Raises: CountersAway — no server answers.
    Cost: one round trip for each 500 workspaces.
    """
    found: list[Waiting | None] = []
    for start in range(0, len(workspaces), _ASKED_TOGETHER):
        some = workspaces[start : start + _ASKED_TOGETHER]
        with away():
            async with redis.pipeline(transaction=False) as pipe:
                for workspace in some:
                    pipe.xlen(keys.events(workspace))
                    # Not as text, which it may not be.
                    pipe.execute_command("XRANGE", keys.events(workspace), "-", "+", "COUNT", 1, NEVER_DECODE=True)
                    pipe.xlen(keys.unreadable(workspace))
                told = await pipe.execute(raise_on_error=False)
        found += [_waiting(*told[3 * i : 3 * i + 3]) for i in range(len(some))]
    if found and not any(found):
        raise CountersAway
    return found


def _waiting(entries: Any, first: Any, unreadable: Any) -> Waiting | None:
    # A key that is no stream counts as empty.
    if any(
        isinstance(one, Exception) and (isinstance(one, ClusterError) or not isinstance(one, ResponseError))
        for one in (entries, first, unreadable)
    ):
        return None
    counted = [0 if isinstance(one, Exception) else int(one) for one in (entries, unreadable)]
    named = None if isinstance(first, Exception) or not first else first[0][0]
    return Waiting(counted[0], int(named.split(b"-")[0]) if named else None, counted[1])


async def backlog(redis: Redis, workspace: WorkspaceId) -> int:
    """Count the entries that wait for the record."""
    with away():
        return int(await redis.xlen(keys.events(workspace)))


def paired(flat: Sequence[str]) -> dict[str, str]:
    """Put together what a script names one after another: field, value, field, value."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def packed(entry: str, fields: Mapping[str, str]) -> Packed:
    """Name the fields of an entry; one that nobody of ours wrote holds no events, and whoever reads them says so."""
    try:
        return Packed(entry, int(fields["now"]), fields["events"])
    except (KeyError, ValueError):
        return Packed(entry, 0, "")


@contextmanager
def _as_text() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise Unreadable("an entry is no text") from error


def unpack(one: Packed) -> list[Event]:
    """Read the events that one script call packed into one entry. Raises: ValueError."""
    events = []
    lines = one.text.split("\n")
    for n, line in zip(one.numbers or range(len(lines)), lines, strict=True):
        # An entry from before events had a detail has four fields a line.
        kind, code, client, seat, detail = (*line.split("|"), "")[:5]
        events.append(Event(one.entry, n, one.at_ms, EventKind(kind), CodeId(code), client, Seat(seat), detail))
    return events
