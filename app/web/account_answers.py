"""Shape what the API gives about accounts (员工号)."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.domain import limits
from app.domain.code import AccountKind, TargetState
from app.services.keeping_accounts import AccountView
from app.web.account_schemas import ACCOUNT
from app.web.answers import ID, WHEN, Page
from app.web.fields import ShownInstant
from app.web.hours import Shift, SpecialDate, shown_hours
from app.web.schemas import example


class AccountOut(BaseModel):
    """An account as a scan would find it now.

    `counts` is `live` when Redis told `adds_today`, and `recorded` when it could not be asked or knows of none.
    """

    model_config = example(
        id=ID, **ACCOUNT, available=True, until=None, adds_today=31, counts="live", state="live", version=1,
        created_at=WHEN, updated_at=WHEN,
    )  # fmt: skip

    id: str
    name: str
    kind: AccountKind
    daily_cap: int | None = Field(description="null is no cap.")
    shifts: list[Shift]
    special_dates: list[SpecialDate]
    available: bool
    until: ShownInstant | None = Field(description="When one who is away is back by himself.")
    adds_today: int
    counts: Literal["live", "recorded"]
    state: TargetState
    version: int
    created_at: ShownInstant
    updated_at: ShownInstant

    @classmethod
    def of(cls, view: AccountView, now: datetime) -> "AccountOut":
        """Show an account."""
        record, account = view.record, view.record.account
        shifts, special_dates = shown_hours(account.shifts)
        available = account.available_at(now)
        return cls(
            id=account.id,
            name=account.name,
            kind=record.kind,
            daily_cap=None if account.daily_cap == limits.UNLIMITED else account.daily_cap,
            shifts=shifts,
            special_dates=special_dates,
            available=available,
            until=None if available else account.until,
            adds_today=view.adds.number,
            counts="live" if view.adds.live else "recorded",
            state=view.state(now),
            version=record.version,
            created_at=record.created_at,
            updated_at=record.updated_at,
        )


class AccountPage(Page[AccountOut]):
    """One page of accounts, newest first."""
