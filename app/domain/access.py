"""Say whom a code lets in (准入), before anything is given: who, when, through which channel."""

from datetime import datetime, timedelta
from typing import Final

from app.domain.code import Code, CodeKind, Slug, Target
from app.domain.event import EventKind
from app.domain.openings import Shortage
from app.domain.outcome import Disabled, Ended, Full, Menu, NotOpen, Outcome, OutsideWechat, Preview, Visit
from app.domain.seat import Claimed, Seat
from app.domain.visitor import Browser, Client

# Reading a member off its class is a search, and every scan asks for it.
_MENU: Final = CodeKind.MENU

Declined = tuple[EventKind, str, Outcome | None]


def decline(visit: Visit, slug: Slug, channel: int, code: Code, now: datetime) -> Declined | None:
    """Return the outcome of a visit that is given nothing, and how it is counted; None when nothing bars it.

    A client that asks for JSON shows pages of its own, so only an explicit `wechat_only` applies to it.
    Shapes: `slug` and `channel` by which the visit came to this code; an event of kind `fallback` sends it on.
    """
    if channel and channel not in code.channels:
        return EventKind.ENDED, "channel", Ended(code)
    if code.disabled:
        return EventKind.DISABLED, "", Disabled(code)
    if visit.preview:
        return EventKind.PREVIEW, "", Preview(code)
    if code.opens_at is not None and now < code.opens_at:
        return _turned(code, EventKind.NOT_OPEN, NotOpen(code, code.opens_at))
    if code.closes_at is not None and now >= code.closes_at:
        return _turned(code, EventKind.ENDED, Ended(code))
    if code.needs_wechat and not _phone_in_wechat(visit.browser) and not (visit.json and code.wechat_only is None):
        return EventKind.OUTSIDE_WECHAT, "", OutsideWechat(code)
    if code.kind is not _MENU:
        return None
    if not code.options:
        return (EventKind.FALLBACK if code.fallback else EventKind.FULL), "no_options", Full(code, Shortage.EMPTY)
    return EventKind.MENU, "", Menu(code, slug)


def _turned(code: Code, kind: EventKind, outcome: Outcome) -> Declined:
    return (EventKind.FALLBACK, kind.name.lower(), outcome) if code.fallback else (kind, "", outcome)


def _phone_in_wechat(browser: Browser) -> bool:
    return browser.client in (Client.WECHAT, Client.WECOM, Client.DEVTOOLS) and not browser.desktop


def shown(code: Code, seat: Seat, now: datetime) -> Target | None:
    """Find the target of a seat; None when it may not be shown at `now`."""
    target = code.target(seat.target)
    return target if target is not None and code.shown(target, now) else None


def stuck_too_long(code: Code, claimed: Claimed, now: datetime) -> bool:
    """Tell whether a visitor has kept a place for as long as the code lets visitors come back to theirs."""
    return timedelta(seconds=int(now.timestamp()) - claimed.issued_at) >= timedelta(days=code.sticky_days)
