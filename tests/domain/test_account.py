"""When an account may be offered, and why it may not."""

from datetime import UTC, date, datetime, timedelta

import pytest

from app.domain.code import (
    Account,
    AccountId,
    Target,
    TargetId,
    TargetState,
    TargetStatus,
    state_of,
)
from app.domain.payload import TargetKind
from app.domain.shifts import ALWAYS, Shifts, check_shifts

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OFF = check_shifts(None, [(date(2026, 11, 21), [])])


def account(*, cap: int = 5, shifts: Shifts = ALWAYS, available: bool = True, until: datetime | None = None) -> Account:
    return Account(AccountId("a"), "n", cap, shifts, available, until)


@pytest.mark.parametrize(
    ("until", "moment", "available"),
    [
        (None, NOW + timedelta(days=999), False),
        (NOW, NOW - timedelta(microseconds=1), False),
        (NOW, NOW, True),
        (NOW, NOW + SECOND, True),
    ],
)
def test_who_is_away_is_back_at_the_very_instant(until: datetime | None, moment: datetime, *, available: bool) -> None:
    assert account(available=False, until=until).available_at(moment) is available


@pytest.mark.parametrize(
    ("one", "adds", "state"),
    [
        (account(), 4, TargetState.LIVE),
        (account(), 5, TargetState.CAPPED),
        (account(cap=0), 0, TargetState.UNAVAILABLE),
        (account(shifts=OFF), 5, TargetState.OFF_SHIFT),
        (account(shifts=OFF, available=False), 5, TargetState.UNAVAILABLE),
    ],
)
def test_the_first_reason_is_what_ends_last(one: Account, adds: int, state: TargetState) -> None:
    assert one.state(NOW, "UTC", adds) is state
    target = Target(TargetId("t"), "n", TargetKind.WECOM_CONTACT, "p", TargetStatus.LIVE, 10, account=one.id)
    assert state_of(target, one, "UTC", NOW, 0, adds) is state


def test_what_the_target_says_comes_before_what_its_account_says_that_ends_sooner() -> None:
    target = Target(
        TargetId("t"), "n", TargetKind.WECOM_CONTACT, "p", TargetStatus.LIVE, 10, expires_at=NOW, shifts=OFF
    )
    away = account(available=False)
    assert state_of(target, away, "UTC", NOW, 10, 5) is TargetState.EXPIRED
    assert state_of(target, away, "UTC", NOW - SECOND, 10, 5) is TargetState.UNAVAILABLE
    assert state_of(target, account(), "UTC", NOW - SECOND, 10, 5) is TargetState.OFF_SHIFT
