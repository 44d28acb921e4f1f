"""What a roster believes about accounts and hours, and when it forgets."""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta

from app.domain import limits
from app.domain.code import (
    Account,
    AccountId,
    Code,
    CodeId,
    CodeKind,
    Strategy,
    Target,
    TargetId,
    TargetState,
    TargetStatus,
    WorkspaceId,
)  # fmt: skip
from app.domain.payload import TargetKind
from app.domain.roster import Roster, Spent
from app.domain.rotation import Proposal, propose
from app.domain.shifts import Shifts, Window

# Eight in the evening in Shanghai, a Saturday.
NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
DAY = 20_778
EVENING = Shifts(((Window(time(20), time(21)),),) * 7)
MORNING = Shifts(((Window(time(8), time(9)),),) * 7)


def roster(
    *accounts: Account, spent: Mapping[str, int] | None = None, taken: Mapping[str, int] | None = None
) -> Roster:
    """Make a code with a target for each account, called like it, and the roster of a process that has just read it."""
    targets = tuple(
        Target(TargetId(a.id), a.name, TargetKind.WECHAT_PERSONAL, "p", TargetStatus.LIVE, 10, account=a.id)
        for a in accounts
    )
    code = Code(
        CodeId("c"), WorkspaceId("w"), "n", CodeKind.STAFF, Strategy.FILL, 1, "Asia/Shanghai", targets,
        accounts={a.id: a for a in accounts},
    )  # fmt: skip
    adds = {AccountId(name): n for name, n in (spent or {}).items()}
    return Roster(code, {TargetId(name): n for name, n in (taken or {}).items()}, 0, Spent(f"{DAY}:0", adds))


def account(name: str, cap: int = limits.UNLIMITED, shifts: Shifts | None = None, **fields: object) -> Account:
    hours = {} if shifts is None else {"shifts": shifts}
    return Account(AccountId(name), name, cap, **hours, **fields)  # type: ignore[arg-type]


def names(proposal: Proposal) -> list[str]:
    return [candidate.target for candidate in proposal.candidates]


def test_candidates_carry_the_cap_of_their_account() -> None:
    (candidate,) = propose(roster(account("a", 7)), NOW).candidates
    assert (candidate.account, candidate.cap, candidate.ceiling) == ("a", 7, 10)


def test_the_capped_are_left_out_from_the_start_under_a_mark() -> None:
    proposal = propose(roster(account("a", 2), account("b", 2), spent={"a": 2, "b": 1}), NOW)
    assert (names(proposal), proposal.mark, proposal.complete) == (["b"], f"{DAY}:0", True)


def test_a_cap_of_nothing_is_known_before_anybody_came() -> None:
    assert names(propose(roster(account("a", 0), account("b")), NOW)) == ["b"]


def test_who_was_given_an_add_back_is_offered_again_and_nobody_else() -> None:
    known = roster(account("a", 2), account("b", 2), account("c"), spent={"a": 2, "b": 2})
    assert names(propose(known, NOW)) == ["c"]
    known.given_back(f"{DAY}:1", [AccountId("b"), AccountId("somebody else")])
    proposal = propose(known, NOW)
    assert (names(proposal), proposal.mark) == (["b", "c"], f"{DAY}:1")
    known.given_back(f"{DAY}:2000", None)
    assert names(propose(known, NOW)) == ["a", "b", "c"], "too many to be told one by one"


def test_an_add_given_back_opens_no_target_that_is_full() -> None:
    known = roster(account("a", 2), account("b"), taken={"a": 10})
    known.given_back(f"{DAY}:1", [AccountId("a")])
    assert names(propose(known, NOW)) == ["b"]


def test_the_capped_are_offered_again_with_the_first_instant_of_the_local_day() -> None:
    known = roster(account("a", 2), account("b"), spent={"a": 2})
    midnight = datetime(2026, 11, 21, 16, tzinfo=UTC)
    assert names(propose(known, midnight - timedelta(microseconds=1))) == ["b"]
    assert names(propose(known, midnight)) == ["a", "b"]


def test_who_was_found_capped_is_left_out_until_then() -> None:
    known = roster(account("a", 2), account("b"))
    known.found_capped([TargetId("a")])
    assert names(propose(known, NOW)) == ["b"]
    known.reopened([TargetId("a")], 1)
    assert names(propose(known, NOW)) == ["a", "b"], "a place of its own came back"


def test_who_is_off_shift_is_asleep_until_the_minute_and_not_longer() -> None:
    known = roster(account("evening", shifts=EVENING), account("morning", shifts=MORNING))
    proposal = propose(known, NOW)
    assert names(proposal) == ["evening"]
    assert proposal.valid_until == datetime(2026, 11, 21, 12, 1, tzinfo=UTC)
    nine = datetime(2026, 11, 21, 13, 0, tzinfo=UTC)
    assert names(propose(known, nine - timedelta(microseconds=1))) == ["evening"]
    assert names(propose(known, nine)) == []
    assert names(propose(known, datetime(2026, 11, 22, 0, 0, tzinfo=UTC))) == ["morning"]


def test_who_is_away_wakes_at_his_instant_within_the_minute() -> None:
    until = NOW + timedelta(seconds=7)
    known = roster(account("a", available=False, until=until), account("b"))
    proposal = propose(known, NOW)
    assert (names(proposal), proposal.valid_until) == (["b"], until)
    assert names(propose(known, until)) == ["a", "b"]


def test_who_is_away_without_an_end_stays_away() -> None:
    known = roster(account("a", available=False))
    assert names(propose(known, NOW + timedelta(days=400))) == []


def test_a_code_without_hours_has_a_proposal_that_lasts() -> None:
    assert propose(roster(), NOW).valid_until is None


def test_why_nobody_is_offered_is_the_first_reason_that_is_true_of_anybody() -> None:
    away, asleep = account("away", available=False), account("asleep", shifts=MORNING)
    full, capped = account("full"), account("capped", 1)

    def why(*accounts: Account) -> TargetState:
        return propose(roster(*accounts, spent={"capped": 1}, taken={"full": 10}), NOW).why

    assert why(full) is TargetState.FULL
    assert why(full, away) is TargetState.UNAVAILABLE
    assert why(full, away, asleep) is TargetState.OFF_SHIFT
    assert why(full, away, asleep, capped) is TargetState.CAPPED
    assert why(away, account("free")) is TargetState.UNAVAILABLE, "should the free one be full by now"
    assert why() is TargetState.FULL


def test_those_who_keep_the_same_hours_are_looked_at_once() -> None:
    asked = 0

    class Counting(Shifts):
        def on(self, now: datetime, time_zone: str) -> bool:
            nonlocal asked
            asked += 1
            return super().on(now, time_zone)

    hours = Counting(MORNING.weekly)
    known = roster(*(account(f"a{i}", shifts=hours) for i in range(5_000)), account("z"))
    for minute in range(10):
        assert names(propose(known, NOW + timedelta(minutes=minute))) == ["z"]
    assert asked == 10
    assert len(propose(known, datetime(2026, 11, 22, 0, 0, tzinfo=UTC)).candidates) == limits.FILL_WINDOW
