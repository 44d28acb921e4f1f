"""Drive the real Lua and its specification through the same random lives, and demand the same story."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from redis.asyncio import Redis

from app.counters import claims, counts, keys, versions
from app.counters.claims import Ask, Block
from app.domain.code import AccountId, CodeId, Strategy, TargetId, TargetState, WorkspaceId
from app.domain.networks import Networks
from app.domain.rotation import Candidate, Ledger, Proposal, Terms, Verdict, turned_away, why_nobody
from app.domain.seat import Seat

T = TypeVar("T")
HOLD_SECONDS = 90
DAY = 20_000
TERMS = Terms(HOLD_SECONDS * 1000)
# What PTTL answers for a key that is not there.
GONE = -2
KEPT_MS = {
    "adds": 3 * 86_400_000,
    "adds before": 3 * 86_400_000,
    "freed": 3 * 86_400_000,
    "shares": 7_200_000,
    "news": 120_000,
}
TARGETS = [TargetId(f"t{i}") for i in range(4)]
ACCOUNTS = [AccountId(""), AccountId("anna"), AccountId("ben")]

candidates = st.builds(
    Candidate,
    target=st.sampled_from(TARGETS),
    ceiling=st.integers(0, 4),
    weight=st.integers(1, 3),
    account=st.sampled_from(ACCOUNTS),
    cap=st.integers(0, 5),
    handicap=st.integers(-2, 3),
    share=st.sampled_from([0, 0, 1, 2]),
)
proposals = st.builds(
    Proposal,
    strategy=st.sampled_from(Strategy),
    candidates=st.lists(candidates, max_size=4, unique_by=lambda c: c.target).map(tuple),
    complete=st.booleans(),
    why=st.sampled_from([TargetState.FULL, TargetState.OFF_SHIFT]),
    passed=st.booleans(),
)
terms = st.builds(
    Terms,
    hold_ms=st.sampled_from([0, HOLD_SECONDS * 1000]),
    rate=st.sampled_from([0, 0, 1, 2]),
)
names = st.sampled_from(["", "n1", "n2"])
networks = st.builds(Networks, names, names)
# Fractions at which a draw falls exactly between two weights come up by chance almost never.
marks = st.sampled_from(["none", "none", "now", "before", "yesterday"])
chances = st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 2 / 3, 0.75]))


@dataclass
class Life:
    """One code in one workspace of its own, in the real Redis and in the ledger."""

    redis: Redis
    loop: asyncio.AbstractEventLoop
    workspace: WorkspaceId
    code: CodeId = CodeId("c1")
    ledger: Ledger = field(default_factory=Ledger)
    seq: int = 0
    now_ms: int = 1_700_000_000_000
    day: int = DAY

    def run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self.loop.run_until_complete(wait())

    def settle(
        self, proposal: Proposal | None, *asks: Ask, version: int = 1, terms: Terms = TERMS
    ) -> claims.BlockReply:
        block = Block(self.code, version, self.seq, terms, proposal, asks)
        [reply] = self.run(claims.settle(self.redis, self.workspace, self.now_ms, self.day, [block]))
        return reply

    def told(self) -> list[str]:
        """Read the lines of the last entry of the stream."""
        entries: Any = self.run(self.redis.xrevrange(keys.events(self.workspace), count=1))
        return str(entries[0][1]["events"]).split("\n")


class Machine(RuleBasedStateMachine):
    """Live the life of one code."""

    redis: Redis
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.life = Life(self.redis, self.loop, WorkspaceId(f"machine-{token_hex(8)}"))
        self.seats: list[Seat] = []
        self.open_again: set[TargetId] = set()
        # Entries of the stream after the last step.
        self.written = 0
        life = self.life
        nothing = life.run(versions.in_force(life.redis, life.workspace, life.code))
        published = life.run(
            versions.publish(
                life.redis,
                life.workspace,
                versions.Publication(life.code, 1, {}, 0, (life.day,)),
                expected=nothing,
                now=at(life.now_ms),
            )
        )
        assert published is not None
        life.seq = published.seq

    def entries(self) -> int:
        """Count the entries of the stream."""
        return int(self.life.run(self.life.redis.xlen(keys.events(self.life.workspace))))

    def release(self) -> bool:
        """Do to the ledger what every settlement begins with; tell whether a roster would hear of it."""
        targets = self.life.ledger.release(self.life.now_ms, self.life.day)
        self.open_again |= set(targets)
        return bool(self.open_again)

    def hear(self, reply: claims.BlockReply) -> None:
        assert not reply.resync
        assert set(reply.reopened) == self.open_again, "a roster hears of every re-opening, once"
        self.open_again = set()
        self.life.seq = reply.seq

    def offered(self, proposal: Proposal, left_out: str) -> tuple[Proposal, bool]:
        """Say up to when a roster has heard of adds given back, and whether there is news."""
        now, day = self.life.ledger.mark(self.life.day), self.life.day
        before = f"{day}:{max(0, int(now.split(':')[1]) - 1)}"
        mark = {"none": "", "now": now, "before": before, "yesterday": f"{day - 1}:0"}[left_out]
        return replace(proposal, mark=mark), mark not in ("", now)

    def expected(self, proposal: Proposal, found: Seat | Verdict, *, news: bool) -> claims.Answer:
        """Say what is answered, and what is recorded last, for what the ledger found."""
        if found in (Verdict.FULL, Verdict.PASSED):
            assert isinstance(found, Verdict)
            return turned_away(proposal, found, news=news)
        return found

    @rule(proposal=proposals, chance=chances, terms=terms, network=networks, left_out=marks)
    def somebody_scans(self, proposal: Proposal, chance: float, terms: Terms, network: Networks, left_out: str) -> None:
        life = self.life
        news = self.release()
        proposal, outdated = self.offered(proposal, left_out)
        found = life.ledger.claim(proposal, (1, "v", network), life.now_ms, life.day, terms, chance)
        expected = self.expected(proposal, found, news=news or outdated)
        ask = claims.take_place(1, "v", "wechat", chance, networks=network, detail="again")
        reply = life.settle(proposal, ask, terms=terms)
        assert reply.answers == [expected]
        if isinstance(expected, Seat):
            assert life.told()[-1] == f"{'c' if terms.hold_ms else 't'}|c1|wechat|{expected}|again"
            self.seats.append(expected)
        elif expected is Verdict.LIMITED:
            assert life.told()[-1] == "l|c1|wechat|0...0.1.v|"
        elif expected is Verdict.FULL:
            why = why_nobody(proposal, life.ledger.taken, life.ledger.adds_on(life.day))
            assert life.told()[-1] == f"f|c1|wechat|0...0.1.v|{why}"
        elif self.entries() > self.written:
            assert {line[0] for line in life.told()} == {"x"}, "what is asked again is recorded when it is settled"
        self.hear(reply)
        self.learn(proposal, reply)

    def learn(self, proposal: Proposal, reply: claims.BlockReply) -> None:
        """Hold against the ledger what a roster learns of a proposal's candidates."""
        ledger, day = self.life.ledger, self.life.day
        adds = ledger.adds_on(day)
        full = [i for i, c in enumerate(proposal.candidates) if ledger.taken.get(c.target, 0) >= c.ceiling]
        capped = [i for i, c in enumerate(proposal.candidates) if c.account and adds.get(c.account, 0) >= c.cap]
        assert reply.full == full
        assert reply.capped == [i for i in capped if i not in full]
        assert reply.mark == (ledger.mark(day) if proposal.mark else "")
        freed = ledger.given_back(proposal.mark, day) if proposal.mark else set()
        assert (None if reply.freed is None else set(reply.freed)) == freed

    @rule(proposal=proposals, who=st.lists(st.tuples(chances, networks), min_size=2, max_size=6), terms=terms)
    def several_scan_together(self, proposal: Proposal, who: list[tuple[float, Networks]], terms: Terms) -> None:
        life = self.life
        news = self.release()
        found = [
            life.ledger.claim(proposal, (0, f"v{i}", network), life.now_ms, life.day, terms, chance)
            for i, (chance, network) in enumerate(who)
        ]
        asks = [claims.take_place(0, f"v{i}", "wechat", chance, networks=net) for i, (chance, net) in enumerate(who)]
        reply = life.settle(proposal, *asks, terms=terms)
        assert reply.answers == [self.expected(proposal, one, news=news) for one in found]
        self.seats += [one for one in found if isinstance(one, Seat)]
        self.hear(reply)
        self.learn(proposal, reply)

    @precondition(lambda self: self.seats)
    @rule(data=st.data(), proven=st.booleans())
    def somebody_comes_back(self, data: st.DataObject, proven: bool) -> None:  # noqa: FBT001
        seat = data.draw(st.sampled_from(self.seats))
        self.release()
        expected = self.life.ledger.come_back(seat, proven=proven)
        reply = self.life.settle(None, claims.return_to(seat, "wechat", proven=proven))
        assert reply.answers[0] is expected
        self.hear(reply)

    @precondition(lambda self: self.seats)
    @rule(data=st.data())
    def somebody_sees_his_code(self, data: st.DataObject) -> None:
        seat = data.draw(st.sampled_from(self.seats))
        self.release()
        expected = self.life.ledger.see(seat)
        reply = self.life.settle(None, claims.see_place(seat, "wechat", proven=False))
        assert reply.answers[0] is expected
        self.hear(reply)

    @rule(group=st.sampled_from(TARGETS), members=st.integers(0, 5))
    def the_head_count_is_reported(self, group: TargetId, members: int) -> None:
        life = self.life
        life.ledger.rebase(group, members)
        taken = life.run(counts.rebase(life.redis, life.workspace, life.code, group, members, at(life.now_ms)))
        assert taken == life.ledger.taken[group]
        self.open_again.add(group)

    @rule(proposal=proposals)
    def somebody_knows_an_old_version(self, proposal: Proposal) -> None:
        self.release()
        reply = self.life.settle(proposal, claims.take_place(0, "v", "wechat", 0.5), version=0)
        assert reply.answers[0] is Verdict.STALE
        assert not reply.full

    @rule(seconds=st.sampled_from([1, 30, 89, 90, 91, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.life.now_ms += seconds * 1000

    @rule()
    def midnight_passes(self) -> None:
        self.life.day += 1

    @rule()
    def the_worker_sweeps(self) -> None:
        self.release()
        self.life.settle(None)

    @invariant()
    def counters_and_ledger_agree(self) -> None:
        life, ledger = self.life, self.life.ledger
        taken, holds, seats, due, shares, self.written, kept, *adds = life.run(self.counters())
        expected = {str(t): n for t, n in ledger.taken.items() if n}
        expected |= {f"{t}:held": n for t, n in ledger.held.items() if n}
        expected |= {f"{t}:members": n for t, n in ledger.members.items() if n}
        assert {name: int(n) for name, n in taken.items() if int(n)} == expected
        assert dict(holds) == ledger.holds
        assert int(seats or 0) == ledger.seats
        assert due == min(ledger.holds.values(), default=None)
        for day, real in zip((life.day, life.day - 1), adds, strict=True):
            assert int(real.pop(keys.FREED, 0)) == len(ledger.freed.get(day, []))
            assert {a: int(n) for a, n in real.items() if int(n)} == {a: n for a, n in ledger.adds_on(day).items() if n}
        hour = life.now_ms // claims.HOUR_MS
        assert {name: int(n) for name, n in shares.items()} == {
            f"{network}.{account}": n for (when, network, account), n in ledger.shares.items() if when == hour
        }
        for kind, milliseconds in kept.items():
            assert milliseconds == GONE or 0 < milliseconds <= KEPT_MS[kind], f"{kind} must not stay for ever"

    async def counters(self) -> Any:
        """Read everything in one round trip: this is asked after every step."""
        life = self.life
        meta, counted, holds, _seen, _reopened = keys.code_keys(life.workspace, life.code)
        shares = keys.shares(life.workspace, life.now_ms // claims.HOUR_MS)
        expiring = {
            "adds": keys.adds(life.workspace, life.day),
            "adds before": keys.adds(life.workspace, life.day - 1),
            "freed": keys.freed(life.workspace, life.day),
            "shares": shares,
            "news": keys.news(life.workspace, life.code, life.now_ms // claims.MINUTE_MS),
        }
        async with life.redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(counted)
            pipe.zrange(holds, 0, -1, withscores=True)
            pipe.hget(meta, "seats")
            pipe.zscore(keys.due(life.workspace), life.code)
            pipe.hgetall(shares)
            pipe.xlen(keys.events(life.workspace))
            pipe.hgetall(expiring["adds"])
            pipe.hgetall(expiring["adds before"])
            for key in expiring.values():
                pipe.pttl(key)
            *found, today, before, a, b, c, d, e = await pipe.execute()
            return *found, dict(zip(expiring, (a, b, c, d, e), strict=True)), today, before


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
