"""Say what a live code (活码) and its targets (子码) are. Values only; who may change them is not known here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final, Literal, NewType

from app.domain import limits
from app.domain.cap_days import CapDays
from app.domain.errors import Refusal
from app.domain.payload import TargetKind
from app.domain.shifts import ALWAYS, Shifts

WorkspaceId = NewType("WorkspaceId", str)
CodeId = NewType("CodeId", str)
TargetId = NewType("TargetId", str)
AccountId = NewType("AccountId", str)
Slug = NewType("Slug", str)

Display = Literal["drawn", "original"]

# First path segments that the service answers itself, with a problem where it has nothing.
SERVED_PATHS: Final = frozenset({
    "about", "admin", "api", "app", "assets", "console", "docs", "favicon.ico", "healthz", "help", "huoma", "login",
    "logout", "metrics", "openapi.json", "privacy", "readyz", "robots.txt", "sitemap.xml", "static", "status", "terms",
    "visitors", "well-known", ".well-known", "www",
})  # fmt: skip
# No new slug may be one of these, today or after an upgrade. Codes that were given one of the second group before it
# was reserved go on working, as long as it is not among the paths above.
RESERVED_SLUGS: Final = SERVED_PATHS | {
    "auth", "callbacks", "hooks", "invite", "mcp", "o", "r", "renew", "report", "share", "start", "wait", "webhooks",
    "wecom",
}  # fmt: skip
_SLUG: Final = re.compile(rf"[A-Za-z0-9](?:[A-Za-z0-9_-]{{{limits.SLUG_MIN - 2},{limits.SLUG_MAX - 2}}})[A-Za-z0-9]")

# Left out: 0 o 1 l i, which people mix up when they type a slug from a poster.
SLUG_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"


class CodeKind(StrEnum):
    """Name what a live code leads to."""

    GROUP = "group"
    STAFF = "staff"
    MENU = "menu"
    LINK = "link"


class Strategy(StrEnum):
    """Name the order in which targets are given (轮换策略)."""

    FILL = "fill"
    BALANCE = "balance"
    RANDOM = "random"


class TargetStatus(StrEnum):
    """Name what the marketer decided about a target."""

    LIVE = "live"
    PAUSED = "paused"


class TargetState(StrEnum):
    """Name what a scan would find, at one instant."""

    LIVE = "live"
    PAUSED = "paused"
    EXPIRED = "expired"
    UNAVAILABLE = "unavailable"
    OFF_SHIFT = "off_shift"
    FULL = "full"
    CAPPED = "capped"


class AccountKind(StrEnum):
    """Name where an account lives."""

    WECHAT = "wechat"
    WECOM = "wecom"


NO_ACCOUNT: Final = AccountId("")


@dataclass(frozen=True, slots=True)
class Account:
    """Stand for a WeChat or WeCom account that can be added (员工号), for every code that offers it.

    Units: `daily_cap` in adds a local day; `until` an aware UTC instant, at which one who is away is back.
    """

    id: AccountId
    name: str
    daily_cap: int = limits.UNLIMITED
    shifts: Shifts = ALWAYS
    available: bool = True
    until: datetime | None = None

    @property
    def share(self) -> int:
        """Tell how many adds one network may take within an hour, over all codes; 0 is no bound but the cap.

        Without it, one program that loads pictures would use up an adviser's day within a minute.
        """
        share = max(limits.CAP_SHARE_MIN, self.daily_cap // limits.CAP_SHARE)
        return share if share < self.daily_cap < limits.UNLIMITED else 0

    def available_at(self, now: datetime) -> bool:
        """Tell whether it may be offered at `now`, its shifts aside."""
        return self.available or (self.until is not None and now >= self.until)

    def state(self, now: datetime, time_zone: str, adds: int) -> TargetState:
        """Say what keeps it from being offered at `now`, with so many adds that day; `live` is nothing."""
        if not self.available_at(now):
            return TargetState.UNAVAILABLE
        if not self.shifts.on(now, time_zone):
            return TargetState.OFF_SHIFT
        return self.spent(adds)

    def spent(self, adds: int) -> TargetState:
        """Say what its cap keeps it from, with so many adds that day: a cap of 0 is not over at midnight."""
        if adds < self.daily_cap:
            return TargetState.LIVE
        return TargetState.CAPPED if self.daily_cap else TargetState.UNAVAILABLE


class Origin(StrEnum):
    """Name where a value of a target comes from: a marketer, the upload's caption, or a rule of ours."""

    GIVEN = "given"
    PRINTED = "printed"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True)
class Target:
    """Stand for one real QR or link behind a code (子码): the group, the adviser. It outlives its QR images.

    Units: `expires_at` is an aware UTC instant, the first at which the target is dead; `weight` is relative.
    """

    id: TargetId
    name: str
    kind: TargetKind
    payload: str
    status: TargetStatus
    member_limit: int
    weight: int = 1
    expires_at: datetime | None = None
    display: Display = "drawn"
    revision: int = 1
    account: AccountId = NO_ACCOUNT
    shifts: Shifts = ALWAYS
    # Places that `balance` counts beside those taken: what the others had when this one came.
    handicap: int = 0

    def alive(self, now: datetime) -> bool:
        """Tell whether this target lives at `now`; once dead, it stays so until it is edited."""
        return self.status is TargetStatus.LIVE and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Fallback:
    """Say where visitors go when nobody has room for them (兜底): exactly one of a code, a URL, or a static QR.

    Shapes: `message` stands beside the QR.
    """

    code: CodeId | None = None
    url: str | None = None
    payload: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """Stand for a named place where a code is printed (渠道); `state` is what WeCom shall be told of it."""

    number: int
    name: str
    state: str | None = None
    # Says nothing of the place: a process compares it with what it remembers of a slug.
    slug: Slug = field(default=Slug(""), compare=False)


@dataclass(frozen=True, slots=True)
class Option:
    """Stand for one choice of a menu (选项); its number never changes, since it may be printed."""

    number: int
    label: str
    hint: str | None
    code: CodeId


@dataclass(frozen=True)
class Code:
    """Stand for what is printed (活码), as published in one version; the snapshot every scan is judged by.

    Shapes: `targets` in the order in which they fill; ids unique. `version` grows with every edit. `accounts`
    has every account that a target names; `channels` those that were not removed, by number; `options` in order.
    Units: open while `opens_at` <= now < `closes_at` (aware UTC; None is no bound).
    """

    id: CodeId
    workspace_id: WorkspaceId
    name: str
    kind: CodeKind
    strategy: Strategy
    version: int
    time_zone: str
    targets: tuple[Target, ...]
    hold_seconds: int = limits.HOLD_SECONDS_DEFAULT
    sticky_days: int = limits.STICKY_DAYS_DEFAULT
    # None goes by the kind, as `needs_wechat` says.
    wechat_only: bool | None = None
    landing_title: str | None = None
    landing_notice: str | None = None
    closed: bool = False
    slug: Slug = Slug("")
    accounts: Mapping[AccountId, Account] = field(default_factory=dict)
    fallback: Fallback | None = None
    options: tuple[Option, ...] = ()
    channels: Mapping[int, Channel] = field(default_factory=dict)
    disabled: bool = False
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    new_seats_per_minute: int = 0
    pass_query: bool = False
    days: CapDays | None = None

    @cached_property
    def cap_days(self) -> CapDays:
        """Number the days in which adds are capped; without `days`, the zone was never changed."""
        return self.days or CapDays(self.time_zone)

    @cached_property
    def needs_wechat(self) -> bool:
        """Check whether the code gives nothing outside WeChat on a phone.

        Groups and contacts are joined by a QR that only WeChat reads, where it is pressed or scanned; a browser cannot.
        """
        return self.kind in (CodeKind.GROUP, CodeKind.STAFF) if self.wechat_only is None else self.wechat_only

    @cached_property
    def index(self) -> dict[TargetId, int]:
        """Find a target's place in `targets` by its id."""
        return {target.id: i for i, target in enumerate(self.targets)}

    def target(self, target_id: TargetId) -> Target | None:
        """Look a target up; None when it is not, or no longer, part of this code."""
        i = self.index.get(target_id)
        return None if i is None else self.targets[i]

    def state(self, target: Target, now: datetime, taken: int = 0, adds: int = 0) -> TargetState:
        """Say what a scan at `now` would find, as `state_of` does."""
        return state_of(target, self.accounts.get(target.account), self.time_zone, now, taken, adds)

    def shown(self, target: Target, now: datetime) -> bool:
        """Tell whether a target may be shown at `now` to who has a place in it."""
        if not self.sleeps:
            return target.alive(now)
        return self.state(target, now, taken=-1, adds=-1) is TargetState.LIVE

    @cached_property
    def offering(self) -> dict[AccountId, list[int]]:
        """Find the places in `targets` of those that offer an account."""
        found: dict[AccountId, list[int]] = {}
        for i, target in enumerate(self.targets):
            if target.account:
                found.setdefault(target.account, []).append(i)
        return found

    @cached_property
    def hours(self) -> list[int]:
        """Number the targets so that those with the same number come and go together."""
        numbers: dict[tuple[object, ...], int] = {}
        found = []
        for target in self.targets:
            account = self.accounts.get(target.account)
            theirs = (id(account.shifts), account.available, account.until) if account else ()
            found.append(numbers.setdefault((id(target.shifts), *theirs), len(numbers)))
        return found

    @cached_property
    def shared(self) -> bool:
        """Tell whether one network may take only a share of what an account here may take in a day."""
        return self.new_seats_per_minute > 0 and any(account.share for account in self.accounts.values())

    @cached_property
    def sleeps(self) -> bool:
        """Tell whether a target may be asleep at one minute and awake at the next."""
        return bool(self.accounts) or any(not target.shifts.always for target in self.targets)


def state_of(
    target: Target, account: Account | None, time_zone: str, now: datetime, taken: int, adds: int
) -> TargetState:
    """Say what a scan at `now` would find of a target with `taken` places gone and `adds` to its account that day.

    The first reason counts, from what only an edit ends to what ends by itself.
    """
    if target.status is TargetStatus.PAUSED:
        return TargetState.PAUSED
    if not target.alive(now):
        return TargetState.EXPIRED
    if account is not None and not account.available_at(now):
        return TargetState.UNAVAILABLE
    if not target.shifts.on(now, time_zone) or (account is not None and not account.shifts.on(now, time_zone)):
        return TargetState.OFF_SHIFT
    if taken >= target.member_limit:
        return TargetState.FULL
    return TargetState.LIVE if account is None else account.spent(adds)


def fold_slug(text: str) -> str:
    """Spell a slug as all spellings of it agree: in small letters, without dashes that a sentence put around it."""
    return text.strip("-_").lower()


def check_slug(text: str) -> Slug:
    """Accept a slug (短码) that a marketer chose.

    Raises: Refusal `bad_slug` — not 3 to 40 letters, digits, `-` or `_`; `reserved_slug` — a path of the service.
    """
    if not _SLUG.fullmatch(text):
        raise Refusal(
            "bad_slug", "A slug has 3 to 40 letters, digits, - or _, and starts and ends with a letter or digit."
        )
    if text.lower() in RESERVED_SLUGS:
        raise Refusal("reserved_slug", f"The slug {text!r} is a path of the service itself. Choose another.")
    return Slug(text)
