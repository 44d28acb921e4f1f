"""Put what arrived together before `claim.lua`, and read its verdicts. The only file that knows the script's order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redis.asyncio import Redis

from app.counters import keys
from app.counters.scripts import CLAIM, Argument
from app.domain.code import CodeId, TargetId, WorkspaceId
from app.domain.rotation import Proposal, Verdict
from app.domain.seat import Seat


@dataclass(frozen=True, slots=True)
class Ask:
    """Want one thing of the counters for one scan; `client` is what kind of program it came from.

    Shapes: `text` and `extra` as the header of `claim.lua` says for each verb.
    """

    verb: Literal["c", "r", "s", "n"]
    text: str
    client: str
    extra: str = ""

    @classmethod
    def place(cls, channel: int, visitor: str, client: str, chance: float) -> "Ask":
        """Take a place. Units: `chance` in [0, 1)."""
        return cls("c", f"{channel}.{visitor}", client, repr(chance))

    @classmethod
    def return_to(cls, seat: Seat, client: str, *, proven: bool) -> "Ask":
        """Come back to a place that a token names."""
        return cls("r", seat.text(), client, "1" if proven else "0")

    @classmethod
    def see(cls, seat: Seat, client: str, *, proven: bool) -> "Ask":
        """See the QR of a place, which keeps it."""
        return cls("s", seat.text(), client, "1" if proven else "0")

    @classmethod
    def note(cls, kind: str, channel: int, visitor: str, client: str) -> "Ask":
        """Take nothing, only be counted as an event of `kind`."""
        return cls("n", f"0...0.{channel}.{visitor}", client, kind)


@dataclass(frozen=True, slots=True)
class Block:
    """Ask several things of one code under one proposal; `seq` is the last re-opening its roster has heard of."""

    code: CodeId
    version: int
    seq: int
    hold_seconds: int
    proposal: Proposal | None
    asks: Sequence[Ask]


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold the verdict on one ask, and the seat when it was `claimed`."""

    verdict: Verdict
    seat: Seat | None


@dataclass(frozen=True, slots=True)
class BlockReply:
    """Hold the answers of one block, in the order asked, and what its roster must learn.

    Shapes: `reopened` and `full` are complete unless `resync`, when only reading the counters anew helps.
    """

    lost: bool
    seq: int
    resync: bool
    reopened: list[TargetId]
    full: list[int]
    answers: list[Answer]


async def settle(
    redis: Redis, workspace: WorkspaceId, now_ms: int, day: int, blocks: Sequence[Block]
) -> list[BlockReply]:
    """Settle everything in one round trip, all or nothing.

    Units: `day` is the workspace's local day, days since 1970-01-01.
    Cost: one round trip.
    Raises: CountersAway — some or all of it may have been settled; holds nobody learns of come back by themselves.
    """
    key_names = [
        keys.events(workspace),
        keys.adds(workspace, day),
        keys.adds(workspace, day - 1),
        keys.due(workspace),
    ]
    arguments: list[Argument] = [now_ms, day, len(blocks)]
    for block in blocks:
        key_names += keys.code_keys(workspace, block.code)
        proposal = block.proposal
        arguments += (
            block.code,
            block.version,
            block.seq,
            block.hold_seconds * 1000,
            proposal.strategy if proposal else "fill",
            int(proposal is not None and proposal.complete),
            len(proposal.candidates) if proposal else 0,
            len(block.asks),
        )
        if proposal:
            arguments += proposal.row
        for ask in block.asks:
            arguments += (ask.verb, ask.text, ask.client, ask.extra)
    return [_read(reply) for reply in await CLAIM.run(redis, key_names, arguments)]


def _read(reply: list[Any]) -> BlockReply:
    lost, seq, resync, reopened, full, flat = reply
    answers = [
        Answer(Verdict(verdict), Seat.parse(seat) if seat else None)
        for verdict, seat in zip(flat[::2], flat[1::2], strict=True)
    ]
    return BlockReply(bool(lost), seq, bool(resync), [TargetId(t) for t in reopened], full, answers)
