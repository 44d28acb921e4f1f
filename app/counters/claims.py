"""Put what arrived together before `claim.lua`, and read its verdicts. The only file that knows the script's order."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias, cast

from redis.asyncio import Redis

from app.counters import keys
from app.counters.scripts import CLAIM, Argument
from app.counters.wire import Wire
from app.domain.cap_days import spell_span
from app.domain.code import AccountId, CodeId, TargetId, WorkspaceId
from app.domain.networks import NO_NETWORKS, Networks
from app.domain.rotation import Proposal, Terms, Verdict
from app.domain.seat import Seat

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000

Ask: TypeAlias = str
"""One thing wanted of the counters for one scan, spelt as `claim.lua` reads it: verb, text, client, extra, detail.

Shapes: no field holds a `|` or a line's end: all are ours, or were signed by us.
"""


def take_place(
    channel: int, visitor: str, client: str, chance: float, *, networks: Networks = NO_NETWORKS, detail: str = ""
) -> Ask:
    """Take a place; an ask without a network is never too many.

    Shapes: `client` is what kind of program the scan came from, as in the others.
    Units: `chance` in [0, 1).
    """
    return f"c|{channel}.{visitor}|{client}|{chance!r} {networks.at_code} {networks.at_accounts}|{detail}"


def return_to(seat: Seat, client: str, *, proven: bool) -> Ask:
    """Come back to a place that a token names."""
    return f"r|{seat}|{client}|{proven:d}|"


def see_place(seat: Seat, client: str, *, proven: bool) -> Ask:
    """See the QR of a place, which keeps it."""
    return f"s|{seat}|{client}|{proven:d}|"


def note(kind: str, channel: int, visitor: str, client: str, detail: str = "") -> Ask:
    """Take nothing, only be counted as an event of `kind`."""
    return f"n|0...0.{channel}.{visitor}|{client}|{kind}|{detail}"


class Block(NamedTuple):
    """Ask several things of one code under one proposal; `seq` is the last re-opening its roster has heard of.

    Shapes: `turned` is the event kind of a visitor for whom nobody has room.
    """

    code: CodeId
    version: int
    seq: int
    terms: Terms
    proposal: Proposal | None
    asks: Sequence[Ask]
    turned: str = "f"


Answer: TypeAlias = Seat | Verdict
"""What one ask came to: the seat when it was `claimed`, else the verdict."""


class BlockReply(NamedTuple):
    """Hold the answers of one block, in the order asked, and what its roster must learn.

    Shapes: `reopened`, `full` and `capped` are complete unless `resync`, when only reading the counters anew helps;
    `mark` is '' when no account was involved; `freed` has the accounts given an add back since the mark that was sent,
    None when these are too many to be remembered.
    """

    lost: bool
    seq: int
    resync: bool
    reopened: list[TargetId]
    full: list[int]
    capped: list[int]
    mark: str
    freed: list[AccountId] | None
    answers: list[Answer]


async def settle(
    redis: Redis | Wire,
    workspace: WorkspaceId,
    now_ms: int,
    day: int,
    blocks: Sequence[Block],
    further: Sequence[int] = (),
) -> list[BlockReply]:
    """Settle everything in one round trip, all or nothing.

    Shapes: `day` is today as `CapDays` numbers it; `further` are the days whose adds count together with its own.
    Cost: one round trip.
    Raises: CountersAway — some or all of it may have been settled; holds nobody learns of come back by themselves.
    """
    minute = now_ms // MINUTE_MS
    key_names = [*keys.shared_keys(workspace, day, now_ms // HOUR_MS)]
    arguments: list[Argument] = [now_ms, spell_span((day, *further)) if further else day, len(blocks)]
    for block in blocks:
        code, version, seq, (hold_ms, rate), proposal, asks, turned = block
        key_names += keys.scanned_keys(workspace, code, minute)
        offer, rows = (proposal.offer, proposal.rows) if proposal else _NO_OFFER
        head = f"{code}|{version}|{seq}|{hold_ms}|{rate}|{turned}"
        arguments += (head, offer, rows, "\n".join(asks))
    if further:
        key_names += [keys.adds(workspace, other) for other in further]
    return [_read(reply) for reply in await CLAIM.run(redis, key_names, arguments)]


# Nothing is offered to those who take nothing.
_NO_OFFER: Final = ("|fill|0||0|", "")
_CLAIMED: Final = str(int(Verdict.CLAIMED))
_VERDICTS: Final = {f"{verdict:x}": verdict for verdict in Verdict}


def _read(reply: list[Any]) -> BlockReply:
    lost, seq, resync, reopened, full, capped, mark, too_many, freed, verdicts, given = reply
    seats = map(Seat, given)
    return BlockReply(
        bool(lost),
        seq,
        bool(resync),
        cast("list[TargetId]", reopened),
        full,
        capped,
        mark,
        None if too_many else cast("list[AccountId]", freed),
        [next(seats) if verdict == _CLAIMED else _VERDICTS[verdict] for verdict in verdicts],
    )
