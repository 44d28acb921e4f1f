"""Let the code of the machine rest and wake among all else that happens to it: the story must stay the same."""

from secrets import token_hex
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from app.counters import audit, claims, counts, keys, rests, versions
from app.counters.rests import Packed
from app.domain.rest import Rest
from app.domain.rotation import Verdict
from tests.counters.machine import TARGETS, Machine, at

# What a code that was packed may go through and still rest.
HARMLESS = frozenset("rfl")


class RestingMachine(Machine):
    """Live the life of one code that rests now and then."""

    packs: list[tuple[Packed, int]]
    behind: bool

    @initialize()
    def begin(self) -> None:
        self.packs, self.behind = [], False

    @rule()
    def the_code_is_packed(self) -> None:
        life = self.life
        packed = life.run(rests.pack(life.redis, life.workspace, life.code, token_hex(4)))
        assert (packed is None) == bool(life.ledger.holds), "a code with an open hold does not rest"
        if packed is not None:
            self.packs.append((packed, len(self.kinds())))

    @precondition(lambda self: self.packs)
    @rule(data=st.data())
    def what_was_packed_rests(self, data: st.DataObject) -> None:
        i = data.draw(st.integers(0, len(self.packs) - 1))
        packed, told = self.packs[i]
        newest = i == len(self.packs) - 1
        harmless = set(self.kinds()[told:]) <= HARMLESS
        assert self.rest(packed) == (newest and harmless)
        if newest and harmless:
            self.packs = []
            self.sleep()
            self.leave_word(data.draw(st.sampled_from(["nothing", "an edit", "a rebuild"])))
            self.wake(packed.rest)

    @precondition(lambda self: self.packs)
    @rule()
    def an_edit_comes_in_between(self) -> None:
        life = self.life
        before = life.run(versions.in_force(life.redis, life.workspace, life.code))
        life.run(versions.mark(life.redis, life.workspace, life.code))
        assert not self.rest(self.packs[-1][0])
        marked = life.run(versions.in_force(life.redis, life.workspace, life.code))
        assert marked.counted
        assert marked.state != before.state
        self.publish(marked, None)

    @rule()
    def a_rest_is_laid_on_a_code_that_is_awake(self) -> None:
        life = self.life
        now = life.run(versions.in_force(life.redis, life.workspace, life.code))
        self.publish(now, Rest("t", now.epoch, 1, 1, 1, '["t0","9"]', b"\xff"))

    def rest(self, packed: Packed) -> bool:
        life = self.life
        return life.run(rests.rest(life.redis, life.workspace, life.code, packed))

    def sleep(self) -> None:
        """Insist that nothing is left, and that nothing can be counted."""
        life = self.life
        names = keys.code_keys(life.workspace, life.code)
        assert life.run(life.redis.exists(*names)) == 0
        told = self.kinds()
        reply = life.settle(None, claims.note("p", 0, "v", "wechat"))
        assert (reply.lost, reply.answers) == (True, [Verdict.STALE])
        assert life.run(counts.rebase(life.redis, life.workspace, life.code, TARGETS[0], 1, at(life.now_ms))) is None
        assert self.kinds() == told

    def leave_word(self, what: str) -> None:
        """Let somebody else write on a code that rests, and the worker come across it again."""
        life = self.life
        if what == "an edit":
            life.run(versions.mark(life.redis, life.workspace, life.code))
        if what == "a rebuild":
            life.run(audit.drop(life.redis, life.workspace, life.code))
        assert life.run(rests.pack(life.redis, life.workspace, life.code, "t")) is None
        now = life.run(versions.in_force(life.redis, life.workspace, life.code))
        assert (now.state != "", now.dropped, now.counted) == (what == "a rebuild", what == "a rebuild", False)

    def wake(self, rest: Rest) -> None:
        life = self.life
        nothing = life.run(versions.in_force(life.redis, life.workspace, life.code))
        published = self.publish(nothing, rest)
        assert not life.run(versions.in_force(life.redis, life.workspace, life.code)).dropped
        assert {t: n for t, n in published.taken.items() if n} == {t: n for t, n in life.ledger.taken.items() if n}
        self.behind |= bool(self.open_again)
        assert self.behind == (published.seq != life.seq)

    def publish(self, expected: versions.InForce, rest: Rest | None) -> versions.Published:
        life = self.life
        publication = versions.Publication(life.code, 1, {}, 0, (life.day,), rest=rest)
        published = life.run(
            versions.publish(life.redis, life.workspace, publication, expected=expected, now=at(life.now_ms))
        )
        assert published is not None
        return published

    def hear(self, reply: claims.BlockReply) -> None:
        """Take in a reply; a roster that had not heard of everything when the code went to rest reads it anew."""
        if not self.behind:
            super().hear(reply)
            return
        assert reply.resync
        self.behind, self.open_again, self.life.seq = False, set(), reply.seq

    def kinds(self) -> str:
        """Read the kinds of all events so far."""
        entries: Any = self.life.run(self.life.redis.xrange(keys.events(self.life.workspace)))
        return "".join(line[0] for _, fields in entries for line in fields["events"].split("\n"))
