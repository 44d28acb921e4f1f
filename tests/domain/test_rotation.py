from datetime import UTC, datetime, timedelta

import pytest

from app.domain import limits
from app.domain.code import Code, CodeId, CodeKind, Strategy, Target, TargetId, TargetStatus, WorkspaceId
from app.domain.payload import TargetKind
from app.domain.roster import Roster
from app.domain.rotation import Candidate, Proposal, choose, propose, propose_only

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def target(name: str, *, limit: int = 200, expires_at: datetime | None = None, paused: bool = False) -> Target:
    status = TargetStatus.PAUSED if paused else TargetStatus.LIVE
    return Target(TargetId(name), name, TargetKind.WECHAT_GROUP, "p", status, limit, expires_at=expires_at)


def code(*targets: Target, strategy: Strategy = Strategy.FILL) -> Code:
    return Code(CodeId("c"), WorkspaceId("w"), "n", CodeKind.GROUP, strategy, 1, "Asia/Shanghai", targets)


def names(proposal: Proposal) -> list[str]:
    return [candidate.target for candidate in proposal.candidates]


def test_an_expired_target_is_not_offered_from_its_very_second_on() -> None:
    roster = Roster(code(target("a", expires_at=NOW), target("b")), {}, 0)
    assert names(propose(roster, NOW - timedelta(microseconds=1))) == ["a", "b"]
    assert names(propose(roster, NOW)) == ["b"]


def test_a_proposal_is_good_until_the_first_of_its_targets_expires() -> None:
    roster = Roster(code(target("a", expires_at=NOW + 2 * SECOND), target("b", expires_at=NOW + SECOND)), {}, 0)
    assert propose(roster, NOW).valid_until == NOW + SECOND


def test_a_paused_target_is_not_offered() -> None:
    assert names(propose(Roster(code(target("a", paused=True), target("b")), {}, 0), NOW)) == ["b"]


def test_what_was_full_when_the_code_was_read_is_not_offered() -> None:
    roster = Roster(code(target("a", limit=2), target("b", limit=2)), {TargetId("a"): 2, TargetId("b"): 1}, 0)
    assert names(propose(roster, NOW)) == ["b"]


def test_a_target_found_full_is_left_out_until_it_reopens() -> None:
    roster = Roster(code(target("a"), target("b")), {}, 0)
    roster.found_full(TargetId("a"))
    assert names(propose(roster, NOW)) == ["b"]
    roster.reopened([TargetId("a")], 7)
    assert names(propose(roster, NOW)) == ["a", "b"]
    assert roster.seq == 7


def test_a_reopened_target_found_full_again_is_left_out_again() -> None:
    roster = Roster(code(target("a"), target("b")), {}, 0)
    for _ in range(2):
        roster.found_full(TargetId("a"))
        assert names(propose(roster, NOW)) == ["b"]
        roster.reopened([TargetId("a"), TargetId("a")], 1)
    assert names(propose(roster, NOW)) == ["a", "b"]


def test_a_target_that_left_the_code_may_reopen_without_harm() -> None:
    roster = Roster(code(target("a")), {}, 0)
    roster.reopened([TargetId("gone")], 3)
    assert names(propose(roster, NOW)) == ["a"]


def test_a_window_is_complete_only_when_nothing_was_left_out() -> None:
    many = [target(f"t{i}") for i in range(limits.FILL_WINDOW + 1)]
    assert propose(Roster(code(*many[:-1]), {}, 0), NOW).complete
    assert not propose(Roster(code(*many), {}, 0), NOW).complete


def test_the_window_moves_on_over_everything_that_is_full() -> None:
    many = [target(f"t{i}", limit=1) for i in range(50_000)]
    roster = Roster(code(*many), {t.id: 1 for t in many[:49_990]}, 0)
    assert names(propose(roster, NOW)) == [f"t{i}" for i in range(49_990, 50_000)]
    assert propose(roster, NOW).complete


def test_a_lost_place_is_offered_in_its_own_target_only_while_that_lives() -> None:
    one = Roster(code(target("a", expires_at=NOW + SECOND), target("b")), {}, 0)
    again = propose_only(one, TargetId("a"), NOW)
    assert again is not None
    assert names(again) == ["a"]
    assert not again.complete
    assert propose_only(one, TargetId("a"), NOW + SECOND) is None
    assert propose_only(one, TargetId("gone"), NOW) is None


def offer(strategy: Strategy, *candidates: Candidate) -> Proposal:
    return Proposal(strategy, candidates, complete=True)


A, B = TargetId("a"), TargetId("b")


@pytest.mark.parametrize("strategy", Strategy)
def test_no_strategy_forgets_a_ceiling(strategy: Strategy) -> None:
    assert choose(offer(strategy, Candidate(A, 2), Candidate(B, 2)), {A: 2, B: 2}, {}, 0.5) is None
    assert choose(offer(strategy, Candidate(A, 2), Candidate(B, 2)), {A: 2, B: 1}, {}, 0.0) == 1
    assert choose(offer(strategy, Candidate(A, 2), Candidate(B, 3)), {A: 1, B: 3}, {}, 0.99) == 0


def test_fill_takes_the_first_with_room() -> None:
    assert choose(offer(Strategy.FILL, Candidate(A, 2), Candidate(B, 2)), {A: 1}, {}, 0.9) == 0


def test_balance_takes_the_emptiest_for_its_weight() -> None:
    proposal = offer(Strategy.BALANCE, Candidate(A, 99, weight=3), Candidate(B, 99, weight=1))
    assert choose(proposal, {A: 2, B: 1}, {}, 0.0) == 0
    assert choose(proposal, {A: 4, B: 1}, {}, 0.0) == 1


def test_random_draws_by_weight() -> None:
    proposal = offer(Strategy.RANDOM, Candidate(A, 99, weight=3), Candidate(B, 99, weight=1))
    assert [choose(proposal, {}, {}, chance) for chance in (0.0, 0.74, 0.75, 0.99)] == [0, 0, 1, 1]
