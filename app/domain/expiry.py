"""Decide when a QR (实码) dies. The safe side is always the earlier one."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.domain import limits
from app.domain.errors import Refusal
from app.domain.payload import FACTS, TargetKind


def natural_expiry(
    kind: TargetKind, uploaded_at: datetime, printed_on: date | None, zone: ZoneInfo, margin: timedelta
) -> datetime | None:
    """Tell when a QR uploaded now should no longer be shown; None when nothing says that it dies.

    A QR lives seven days from when it was made, which nobody knows: at the latest it was made when it was uploaded, and
    it is dead when the day printed on it has ended. The earlier of both counts, less the margin.
    Units: `printed_on` is a day in `zone`; the answer is aware, in the zone of `uploaded_at`.
    """
    ends = []
    lifetime = FACTS[kind].valid_for
    if lifetime is not None:
        ends.append(uploaded_at + lifetime)
    if printed_on is not None:
        midnight = datetime.combine(printed_on + timedelta(days=1), time(), zone)
        ends.append(midnight.astimezone(uploaded_at.tzinfo))
    return min(ends) - margin if ends else None


def check_expiry(expires_at: datetime, now: datetime) -> None:
    """Accept an expiry that a marketer chose.

    Raises: Refusal `already_expired` — it is not in the future; `expires_too_late` — more than ten years ahead.
    """
    if expires_at <= now:
        raise Refusal("already_expired", "The expiry has already passed; give a moment in the future.", "expires_at")
    if expires_at - now > timedelta(days=limits.EXPIRES_IN_DAYS_MAX):
        raise Refusal("expires_too_late", "The expiry is more than ten years ahead; leave it out.", "expires_at")
