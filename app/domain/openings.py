"""Say why a code gives nothing now, and when it next may: what the page of a code without room is written from."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Final

from app.domain import limits
from app.domain.code import Code, Target, TargetState
from app.domain.shifts import ALWAYS, Shifts, zone

# Weekly hours repeat within 8 days; special dates may close several weeks in a row.
_DAYS_AHEAD: Final = 62
# Of 50,000 advisers with hours of their own, the first some hundred say nearly the same.
_HOURS_LOOKED_AT: Final = 200
_ASLEEP: Final = (TargetState.OFF_SHIFT, TargetState.UNAVAILABLE)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Shortage(StrEnum):
    """Name why nobody has room (没有名额的原因)."""

    FULL = "full"
    CAPPED = "capped"
    OFF_SHIFT = "off_shift"
    UNAVAILABLE = "unavailable"
    EXPIRED = "expired"
    PAUSED = "paused"
    EMPTY = "empty"


def shortage_of(code: Code, why: TargetState) -> Shortage:
    """Name the reason of a code of which no target may be given; `why` is what its proposal says."""
    return Shortage(why.value) if code.targets else Shortage.EMPTY


def opens_at(code: Code, why: Shortage, now: datetime) -> datetime | None:
    """Find the first instant after `now` at which a target may be given that cannot be given now; None for not soon.

    Places are not looked at: a target that is full may still be full then.
    Cost: one pass over the targets, some 10 ms for 50,000; for codes that have no room only, and kept by the caller.
    """
    found: list[datetime] = []
    if why in (Shortage.CAPPED, Shortage.OFF_SHIFT, Shortage.UNAVAILABLE):
        asleep = (t for t in _by_hours(code) if code.state(t, now, -1, -1) in _ASLEEP)
        found += [at for at in (_next(code, t, now) for t in islice(asleep, _HOURS_LOOKED_AT)) if at is not None]
    if why is Shortage.CAPPED:
        midnight = _start_of_day(now, code.time_zone, 1)
        capped = (
            t
            for t in _by_hours(code)
            if code.state(t, now, -1, -1) is TargetState.LIVE
            and t.account in code.accounts
            and code.accounts[t.account].daily_cap < limits.UNLIMITED
        )
        for target in islice(capped, _HOURS_LOOKED_AT):
            live = code.state(target, midnight, -1, -1) is TargetState.LIVE
            at = midnight if live else _next(code, target, midnight)
            found += [] if at is None else [at]
    return min(found, default=None)


def _by_hours(code: Code) -> Iterator[Target]:
    """Pass over targets that keep the hours of one before, and die no later, and those of accounts with a cap of 0."""
    seen: dict[int, datetime] = {}
    never = {account.id for account in code.accounts.values() if not account.daily_cap}
    for hours, target in zip(code.hours, code.targets, strict=True):
        if target.account in never:
            continue
        dies = target.expires_at or _NEVER
        if hours not in seen or dies > seen[hours]:
            seen[hours] = dies
            yield target


def _next(code: Code, target: Target, after: datetime) -> datetime | None:
    account = code.accounts.get(target.account)
    shifts = [one for one in (target.shifts, account.shifts if account else ALWAYS) if not one.always]
    candidates = {at for one in shifts for at in _starts(one, after, code.time_zone)}
    if account is not None and account.until is not None and account.until > after:
        candidates.add(account.until)
    return next((at for at in sorted(candidates) if code.state(target, at, -1, -1) is TargetState.LIVE), None)


def _starts(shifts: Shifts, after: datetime, time_zone: str) -> Iterator[datetime]:
    """List the instants after one at which windows start, day by day."""
    for ahead in range(_DAYS_AHEAD):
        midnight = _start_of_day(after, time_zone, ahead)
        for window in shifts.starting(midnight.astimezone(zone(time_zone)).date()):
            at = midnight.astimezone(zone(time_zone)).replace(hour=window.start.hour, minute=window.start.minute)
            if at > after:
                yield at.astimezone(after.tzinfo)


def _start_of_day(now: datetime, time_zone: str, ahead: int) -> datetime:
    day = now.astimezone(zone(time_zone)).date() + timedelta(days=ahead)
    return datetime(day.year, day.month, day.day, tzinfo=zone(time_zone)).astimezone(now.tzinfo)
