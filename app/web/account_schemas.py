"""Shape what the API takes about accounts (员工号)."""

from typing import Any, Final

from pydantic import BaseModel, Field

from app.domain.code import AccountKind
from app.services.keeping_accounts import AccountDraft
from app.web.fields import Adds, Flag, Instant, Name
from app.web.hours import SpecialDates, Weekly, said_dates, said_shifts
from app.web.schemas import UNSET, HoursChange, change_example, example

ACCOUNT: Final = {
    "name": "小春", "kind": "wecom", "daily_cap": 100,
    "shifts": [{"days": ["mon", "fri"], "from": "09:00", "to": "18:00"}],
    "special_dates": [{"date": "2026-10-01", "windows": []}],
}  # fmt: skip


class NewAccount(BaseModel):
    """An account to be created."""

    model_config = example(**ACCOUNT)

    name: Name
    kind: AccountKind
    daily_cap: Adds | None = Field(
        default=None, description="Adds a day over all codes; null is no cap, the workspace's default when left out."
    )
    shifts: Weekly | None = None
    special_dates: SpecialDates | None = None

    def draft(self) -> AccountDraft:
        """Say the same in the words of the services."""
        return AccountDraft(
            name=self.name,
            kind=self.kind,
            daily_cap=self.daily_cap,
            default_cap="daily_cap" not in self.model_fields_set,
            weekly=said_shifts(self.shifts),
            special=said_dates(self.special_dates),
        )

    def content(self) -> dict[str, Any]:
        """Spell all that was asked: a cap of null is another question than none."""
        return self.model_dump(mode="json", exclude_unset=True)


class AccountChange(HoursChange):
    """What to change of an account; its kind stays what it is. A `daily_cap` of `null` is no cap."""

    model_config = change_example(daily_cap=120)

    name: Name = Field(default=UNSET)
    daily_cap: Adds | None = Field(default=UNSET)


class Availability(BaseModel):
    """Whether an account may be offered at all; `until` says when one who is away is back by himself."""

    model_config = example(available=False, until="2026-11-28T01:00:00Z")

    available: Flag
    until: Instant | None = None
