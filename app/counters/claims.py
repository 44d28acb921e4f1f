"""Put what arrived together before `claim.lua`, and read its verdicts. The only file that knows the script's order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redis.asyncio import Redis

from app.counters import keys
from app.counters.scripts import CLAIM, Argument
from app.domain.code import AccountId, CodeId, TargetId, WorkspaceId
from app.domain.rotation import Proposal, Terms, Verdict
from app.domain.seat import Seat


@dataclass(frozen=True, slots=True)
class Ask:
    """Want one thing of the counters for one scan; `client` is what kind of program it came from.

    Shapes: `text`, `extra` and `detail` as the header of `claim.lua` says for each verb.
    """

    verb: Literal["c", "r", "s", "n"]
    text: str
    client: str
    extra: str = ""
    detail: str = ""

    @classmethod
    def place(
        cls, channel: int, visitor: str, client: str, chance: float, *, network: str = "", detail: str = ""
    ) -> "Ask":
        """Take a place; one without a network is never too many. Units: `chance` in [0, 1)."""
        return cls("c", f"{channel}.{visitor}", client, f"{chance!r} {network}", detail)

    @classmethod
    def return_to(cls, seat: Seat, client: str, *, proven: bool) -> "Ask":
        """Come back to a place that a token names."""
        return cls("r", seat.text(), client, "1" if proven else "0")

    @classmethod
    def see(cls, seat: Seat, client: str, *, proven: bool) -> "Ask":
        """See the QR of a place, which keeps it."""
        return cls("s", seat.text(), client, "1" if proven else "0")

    @classmethod
    def note(cls, kind: str, channel: int, visitor: str, client: str, detail: str = "") -> "Ask":
        """Take nothing, only be counted as an event of `kind`."""
        return cls("n", f"0...0.{channel}.{visitor}", client, kind, detail)


@dataclass(frozen=True, slots=True)
class Block:
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


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold the verdict on one ask, and the seat when it was `claimed`."""

    verdict: Verdict
    seat: Seat | None


@dataclass(frozen=True, slots=True)
class BlockReply:
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
        keys.freed(workspace, day),
    ]
    arguments: list[Argument] = [now_ms, day, len(blocks)]
    for block in blocks:
        key_names += (*keys.code_keys(workspace, block.code), keys.news(workspace, block.code, now_ms // 60_000))
        proposal, terms = block.proposal, block.terms
        arguments += (
            block.code,
            block.version,
            block.seq,
            proposal.mark if proposal else "",
            terms.hold_ms,
            terms.rate,
            proposal.strategy if proposal else "fill",
            int(proposal is not None and proposal.complete),
            block.turned,
            proposal.why if proposal else "",
            len(proposal.candidates) if proposal else 0,
            len(block.asks),
        )
        if proposal:
            arguments += proposal.row
        for ask in block.asks:
            arguments += (ask.verb, ask.text, ask.client, ask.extra, ask.detail)
    return [_read(reply) for reply in await CLAIM.run(redis, key_names, arguments)]


def _read(reply: list[Any]) -> BlockReply:
    lost, seq, resync, reopened, full, capped, mark, too_many, freed, flat = reply
    answers = [
        Answer(Verdict(verdict), Seat.parse(seat) if seat else None)
        for verdict, seat in zip(flat[::2], flat[1::2], strict=True)
    ]
    return BlockReply(
        bool(lost),
        seq,
        bool(resync),
        [TargetId(t) for t in reopened],
        full,
        capped,
        mark,
        None if too_many else [AccountId(account) for account in freed],
        answers,
    )
