"""Turn an outcome into what goes over the wire: status, headers, page or JSON. Decides nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil
from typing import Final, assert_never

from app.domain.errors import UploadRefusal
from app.domain.hours import in_utc
from app.domain.openings import Shortage
from app.domain.outcome import (
    Closed,
    Disabled,
    Elsewhere,
    Ended,
    Full,
    Given,
    Limited,
    Menu,
    NotOpen,
    Outcome,
    OutsideWechat,
    Preview,
    Unavailable,
    Unknown,
    Visit,
    goal_of,
)
from app.domain.payload import TargetKind, classify
from app.domain.shifts import zone
from app.domain.visitor import Browser, Client
from app.web import pages
from app.web.scan_answers import ScanOptionOut, ScanOut
from app.web.when import say_when

FULL_RETRY_SECONDS: Final = 60
LIMITED_RETRY_SECONDS: Final = 60
HOUR_SECONDS: Final = 3_600
AWAY_RETRY_SECONDS: Final = 3

Headers = list[tuple[bytes, bytes]]
# A redirect has no body and says no more than this: servers work long on every header.
UNKEPT: Final = pages.UNKEPT
NO_STORE: Final[Headers] = [
    UNKEPT,
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


@dataclass(frozen=True, slots=True)
class Head:
    """Say what every form of an answer has in common. Units: `retry_seconds`, 0 for none."""

    status: int
    outcome: str
    retry_seconds: int = 0


_HEADS: Final[Mapping[type[Outcome], Head]] = {
    Given: Head(200, "claimed"),
    Menu: Head(200, "menu"),
    Elsewhere: Head(200, "fallback"),
    Full: Head(503, "full", FULL_RETRY_SECONDS),
    Limited: Head(429, "limited", LIMITED_RETRY_SECONDS),
    Preview: Head(200, "preview"),
    OutsideWechat: Head(200, "outside_wechat"),
    Disabled: Head(410, "disabled"),
    NotOpen: Head(503, "not_open", FULL_RETRY_SECONDS),
    Ended: Head(410, "ended"),
    Closed: Head(410, "closed"),
    Unknown: Head(404, "unknown"),
    Unavailable: Head(503, "unavailable", AWAY_RETRY_SECONDS),
}
# Somebody has to upload something before it is another.
_SHORTAGE_SECONDS: Final = dict.fromkeys((Shortage.EXPIRED, Shortage.EMPTY, Shortage.PAUSED, Shortage.UNAVAILABLE), 300)
_LINK: Final = TargetKind.LINK
_RETURNED: Final = Head(200, "returned")
_SENT_ON: Final = _HEADS[Elsewhere]
# Where there is a number of seconds, every answer has one, though perhaps another.
HEADS: Final = (_RETURNED, *_HEADS.values())
OUTCOMES: Final = frozenset(head.outcome for head in HEADS)


def head_of(outcome: Outcome, now: datetime) -> Head:
    """Give an outcome its name and its status, and say when it may be another."""
    head = _HEADS[type(outcome)]
    if isinstance(outcome, Given):
        return _SENT_ON if outcome.sent_by else _RETURNED if outcome.returned else head
    if isinstance(outcome, Menu) and outcome.fallback:
        return _SENT_ON
    if isinstance(outcome, Limited):
        return replace(head, retry_seconds=outcome.seconds)
    if isinstance(outcome, Full):
        seconds = _SHORTAGE_SECONDS.get(outcome.why, FULL_RETRY_SECONDS)
        return replace(head, retry_seconds=_until(outcome.opens_at, now) or seconds)
    if isinstance(outcome, NotOpen):
        return replace(head, retry_seconds=_until(outcome.opens_at, now))
    return head


def _until(at: datetime | None, now: datetime) -> int:
    """Count the seconds until an instant, an hour at most: hours may be edited meanwhile."""
    return 0 if at is None else min(max(1, ceil((at - now).total_seconds())), HOUR_SECONDS)


def redirect_of(visit: Visit, outcome: Outcome) -> str | None:
    """Tell where a browser is sent at once; None when there is a page to be shown."""
    url = _url_of(outcome)
    if url is None or not isinstance(outcome, (Given, Elsewhere)):
        return url
    goal, by_tap = goal_of(outcome.code, url, visit)
    return None if by_tap else goal


def html_of(
    visit: Visit, outcome: Outcome, token: str | None, language: pages.Language, public_url: str, now: datetime
) -> bytes:
    """Write the page of an outcome."""
    match outcome:
        case Given() | Elsewhere():
            return _goal_page(visit, outcome, token, language)
        case Menu(code=code, slug=slug):
            return pages.menu_page(
                code_name=code.name,
                title=code.landing_title,
                notice=code.landing_notice,
                options=[(option.label, option.hint, f"/{slug}/{option.number}") for option in code.options],
                language=language,
            )
        case OutsideWechat(code=code):
            url = f"{public_url}/{visit.slug}" + (f"/{visit.option}" if visit.option is not None else "")
            return pages.outside_wechat_page(
                code_name=code.name,
                title=code.landing_title,
                url=url,
                image_url=f"{url.removeprefix(public_url)}/print.png",
                language=language,
                desktop=visit.browser.desktop,
            )
        case Closed():
            return pages.closed_page(language=language)
        case Unknown():
            return pages.unknown_page(language=language)
        case Unavailable():
            return pages.unavailable_page(seconds=AWAY_RETRY_SECONDS, language=language)
        case Full():
            return _shortage_page(outcome, now, language)
        case _:
            return _refusal_page(outcome, language)


def _shortage_page(outcome: Full, now: datetime, language: pages.Language) -> bytes:
    """Write the page of a code of which no target may be given."""
    code, at = outcome.code, outcome.opens_at
    return pages.shortage_page(
        why=outcome.why,
        kind=code.kind,
        code_name=code.name,
        title=code.landing_title,
        notice=code.landing_notice,
        when="" if at is None else say_when(at, now, code.time_zone, language),
        language=language,
    )


def _refusal_page(outcome: Limited | Preview | Disabled | NotOpen | Ended, language: pages.Language) -> bytes:
    """Write the page of a code that gives nothing now."""
    match outcome:
        case Limited(seconds=seconds):
            return pages.limited_page(seconds=seconds, language=language)
        case Preview(code=code):
            return pages.preview_page(code_name=code.name, title=code.landing_title, language=language)
        case Disabled(code=code):
            return pages.disabled_page(code_name=code.name, title=code.landing_title, language=language)
        case NotOpen(code=code, opens_at=opens_at):
            local = f"{opens_at.astimezone(zone(code.time_zone)):%Y-%m-%d %H:%M}"
            # Who does not read Chinese may well be elsewhere.
            local += f" ({code.time_zone})" if language is pages.Language.EN else ""
            return pages.not_open_page(code_name=code.name, title=code.landing_title, opens_at=local, language=language)
        case Ended(code=code):
            return pages.ended_page(code_name=code.name, title=code.landing_title, language=language)
        case _:
            assert_never(outcome)


def json_of(visit: Visit, outcome: Outcome, token: str | None, public_url: str, now: datetime) -> bytes:
    """Say the same to a mini program."""
    code = None if isinstance(outcome, Closed | Unknown | Unavailable) else outcome.code
    target = outcome.target if isinstance(outcome, Given) else None
    url = _url_of(outcome)
    if url is not None and isinstance(outcome, Given | Elsewhere):
        url, _ = goal_of(outcome.code, url, visit)
    image = _image_path(outcome, token)
    options: list[ScanOptionOut] = []
    if isinstance(outcome, Menu):
        options = [
            {"label": one.label, "hint": one.hint, "url": f"{public_url}/{outcome.slug}/{one.number}"}
            for one in outcome.code.options
        ]
    at = outcome.opens_at if isinstance(outcome, NotOpen | Full) else None
    body: ScanOut = {
        "outcome": head_of(outcome, now).outcome,
        "code": {"name": code.name, "kind": code.kind} if code else None,
        "target": {
            "id": target.id,
            "name": target.name,
            "kind": target.kind,
            "expires_at": in_utc(target.expires_at) if target.expires_at else None,
        }
        if target
        else None,
        "qr_image": public_url + image if image else None,
        "url": url,
        "message": outcome.goal.message if isinstance(outcome, Elsewhere) else None,
        "reason": outcome.why if isinstance(outcome, Full) else None,
        "opens_at": in_utc(at) if at else None,
        "seat": token,
        "options": options,
    }
    return json.dumps(body, ensure_ascii=False).encode()


def _goal_page(visit: Visit, outcome: Given | Elsewhere, token: str | None, language: pages.Language) -> bytes:
    code, place = outcome.code, _place_of(visit.browser)
    url = _url_of(outcome)
    if url is not None:
        return pages.tap_page(
            code_name=code.name,
            title=code.landing_title,
            notice=code.landing_notice,
            url=goal_of(code, url, visit)[0],
            language=language,
            desktop=visit.browser.desktop,
        )
    image = _image_path(outcome, token) or ""
    if isinstance(outcome, Given):
        return pages.qr_page(
            code_name=code.name,
            title=code.landing_title,
            notice=code.landing_notice,
            target_name=outcome.target.name,
            kind=outcome.target.kind,
            image_url=image,
            language=language,
            place=place,
        )
    return pages.static_page(
        code_name=code.name,
        title=code.landing_title,
        message=outcome.goal.message,
        image_url=image,
        kind=_kind_of(outcome.goal.payload or ""),
        language=language,
        place=place,
    )


def _place_of(browser: Browser) -> pages.Place:
    if browser.desktop:
        return "computer"
    return "outside" if browser.client is Client.BROWSER else "phone"


def _url_of(outcome: Outcome) -> str | None:
    """Tell where an outcome leads by itself, if it does."""
    if isinstance(outcome, Given):
        return outcome.payload() if outcome.target.kind is _LINK else None
    return outcome.goal.url if isinstance(outcome, Elsewhere) else None


def _image_path(outcome: Outcome, token: str | None) -> str | None:
    if _url_of(outcome) is not None:
        return None
    if isinstance(outcome, Given):
        return f"/{outcome.slug}/seat/{token}.png"
    return f"/{outcome.code.slug}/fallback.png" if isinstance(outcome, Elsewhere) else None


def _kind_of(payload: str) -> TargetKind | None:
    try:
        return classify(payload)
    except UploadRefusal:
        return None
