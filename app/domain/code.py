"""Say what a live code (活码) and its targets (子码) are. Values only; who may change them is not known here."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final, Literal, NewType

from app.domain import limits
from app.domain.errors import Refusal
from app.domain.payload import TargetKind

WorkspaceId = NewType("WorkspaceId", str)
CodeId = NewType("CodeId", str)
TargetId = NewType("TargetId", str)
AccountId = NewType("AccountId", str)
Slug = NewType("Slug", str)

Display = Literal["drawn", "original"]

# First path segments that the service answers itself; a slug may not be one, today or after an upgrade.
RESERVED_SLUGS: Final = frozenset({
    "about", "admin", "api", "app", "assets", "console", "docs", "favicon.ico", "healthz", "help", "huoma", "login",
    "logout", "metrics", "openapi.json", "privacy", "readyz", "robots.txt", "sitemap.xml", "static", "status", "terms",
    "visitors", "well-known", "www",
})  # fmt: skip
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
    FULL = "full"


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

    def state(self, now: datetime, taken: int) -> TargetState:
        """Say what a scan at `now` would find with `taken` places gone."""
        if self.status is TargetStatus.PAUSED:
            return TargetState.PAUSED
        if self.expires_at is not None and now >= self.expires_at:
            return TargetState.EXPIRED
        return TargetState.FULL if taken >= self.member_limit else TargetState.LIVE

    def alive(self, now: datetime) -> bool:
        """Tell whether this target may be shown at `now`, its room aside."""
        return self.status is TargetStatus.LIVE and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True)
class Code:
    """Stand for what is printed (活码), as published in one version; the snapshot every scan is judged by.

    Shapes: `targets` in the order in which they fill; ids unique. `version` grows by one with every edit.
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
    wechat_only: bool = False
    landing_title: str | None = None
    landing_notice: str | None = None
    closed: bool = False

    @cached_property
    def index(self) -> dict[TargetId, int]:
        """Find a target's place in `targets` by its id."""
        return {target.id: i for i, target in enumerate(self.targets)}

    def target(self, target_id: TargetId) -> Target | None:
        """Look a target up; None when it is not, or no longer, part of this code."""
        i = self.index.get(target_id)
        return None if i is None else self.targets[i]


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
