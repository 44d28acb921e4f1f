"""Say what a workspace (工作区) is, and what a key to it may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain import limits
from app.domain.code import WorkspaceId


class Scope(StrEnum):
    """Name what a key may do; each may do what those before it may."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def allows(self, needed: "Scope") -> bool:
        """Tell whether a key of this scope may do what needs the other."""
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Defaults:
    """Hold what new targets and accounts get when nobody says otherwise.

    Units: `member_limit` in places, for kinds that are groups; `daily_cap` in adds a local day, None is no cap. What an
    account bears is not known to anybody (docs/facts.md §2), so there is no number of ours.
    """

    expiry_margin_seconds: int = limits.EXPIRY_MARGIN_SECONDS_DEFAULT
    member_limit: int = limits.GROUP_MEMBER_LIMIT_DEFAULT
    daily_cap: int | None = None


@dataclass(frozen=True, slots=True)
class Workspace:
    """Stand for a tenant: a brand, a store, a franchisee. Every code, target and key belongs to exactly one."""

    id: WorkspaceId
    name: str
    time_zone: str
    defaults: Defaults
    version: int
    created_at: datetime
