"""Shape what the API takes. Unknown fields are refused, since a misspelt one would be silently lost."""

from dataclasses import replace
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.domain import limits
from app.domain.code import NO_ACCOUNT, AccountId, Display, TargetStatus
from app.domain.workspace import Scope
from app.services.drafting import RenewalDraft, RestorationDraft, TargetDraft
from app.services.uploading import Source
from app.web.fields import (
    Adds,
    Allowed,
    Chosen,
    Id,
    Instant,
    Link,
    MarginSeconds,
    Name,
    Payload,
    Places,
    Position,
    Weight,
)
from app.web.hours import SpecialDates, Weekly, said_dates, said_shifts

# Never seen: what a change leaves out is not among its values.
UNSET: Final[Any] = None

# What is said to a change, and is no part of it.
_WORDS: Final = {"allow"}

PAYLOAD: Final = "https://weixin.qq.com/g/AwYAA575yx8xm5MslfY5ubiheyEd7P4zDL_ak6J0kGODKdinZnLXicaBAg8WY1jz"


def example(**fields: Any) -> ConfigDict:
    """Describe a body by an example."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [fields]})


def change_example(**fields: Any) -> ConfigDict:
    """Describe a change: no field has a default, since what is left out stays as it is."""

    def describe(schema: dict[str, Any]) -> None:
        for one in schema["properties"].values():
            one.pop("default", None)
        schema |= {"minProperties": 1, "examples": [fields]}

    return ConfigDict(extra="forbid", json_schema_extra=describe)


class Change(BaseModel):
    """Hold the fields that a caller wants to change, and know them from those he left out."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set - _WORDS:
            raise PydanticCustomError("nothing_to_change", "Name at least one field to change")
        return self

    def values(self) -> dict[str, Any]:
        """Give the fields that were sent."""
        return self.model_dump(exclude_unset=True, exclude=_WORDS)


class HoursChange(Change):
    """Hours to be said anew: all of the week, all of the special dates, or both; `null` takes them away."""

    shifts: Weekly | None = Field(default=UNSET)
    special_dates: SpecialDates | None = Field(default=UNSET)

    def values(self) -> dict[str, Any]:
        """Give the fields that were sent, hours in the words of the services."""
        values = super().values()
        if "shifts" in values:
            values["weekly"] = said_shifts(values.pop("shifts"))
        if "special_dates" in values:
            values["special"] = said_dates(values.pop("special_dates"))
        return values


class TargetFields(BaseModel):
    """What may be said about a new target, however its QR comes."""

    model_config = example(name="1群", members=12)

    name: Name | None = Field(default=None, description="The title in the screenshot, or a number, when left out.")
    member_limit: Places | None = Field(default=None, description="The kind's default when left out.")
    members: Places = Field(default=0, description="How many are inside already.")
    expires_at: Instant | None = Field(default=None, description="What the QR itself says when left out.")
    weight: Weight = 1
    position: Position | None = Field(default=None, description="Smaller fills first; the end when left out.")
    display: Display = "drawn"
    account_id: Id | None = Field(default=None, description="The account that is added: its cap and hours count.")
    allow: Allowed = []

    def draft(self, source: Source) -> TargetDraft:
        """Say the same in the words of the services."""
        plain = self.model_dump(include=set(TargetFields.model_fields) - {"allow"})
        return TargetDraft(source=source, **plain, allow=frozenset(self.allow))


class QrText(BaseModel):
    """The text of a QR (`payload`), or a link (`url`), which only link codes take."""

    payload: Payload | None = None
    url: Link | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.payload is None) == (self.url is None):
            raise PydanticCustomError(
                "one_source",
                "Give either payload or url, or send a picture as multipart/form-data with the field image",
            )
        return self

    def source(self) -> Source:
        """Say where the QR comes from."""
        return Source(payload=self.payload, url=self.url)


class NewTarget(TargetFields, QrText):
    """A target to be created from the text of its QR."""

    model_config = example(payload=PAYLOAD, name="1群", members=12)

    shifts: Weekly | None = None
    special_dates: SpecialDates | None = None

    def draft(self, source: Source) -> TargetDraft:
        """Say the same in the words of the services."""
        weekly, special = said_shifts(self.shifts), said_dates(self.special_dates)
        return replace(super().draft(source), weekly=weekly, special=special)


class NewTargets(BaseModel):
    """Targets to be created together: all of them, or none."""

    model_config = example(targets=[{"payload": PAYLOAD, "name": "1群"}])

    targets: list[NewTarget] = Field(min_length=1, max_length=limits.BATCH_ROWS)


class FreshPicture(BaseModel):
    """What may be said about a fresh QR, however it comes."""

    model_config = example(expires_at="2026-11-28T02:00:00Z")

    expires_at: Instant | None = Field(default=None, description="What the QR itself says when left out.")
    allow: Allowed = []

    def draft(self, source: Source) -> RenewalDraft:
        """Say the same in the words of the services."""
        return RenewalDraft(source, self.expires_at, frozenset(self.allow))


class FreshQr(FreshPicture, QrText):
    """A fresh QR of a target, as text."""

    model_config = example(payload=PAYLOAD)


class TargetChange(HoursChange):
    """What to change of a target; `null` for `member_limit` or `expires_at` is the default again."""

    model_config = change_example(status="paused")

    name: Name = Field(default=UNSET)
    status: TargetStatus = Field(default=UNSET)
    member_limit: Places | None = Field(default=UNSET)
    expires_at: Instant | None = Field(default=UNSET)
    weight: Weight = Field(default=UNSET)
    position: Position = Field(default=UNSET)
    display: Display = Field(default=UNSET)
    account_id: Id | None = Field(default=UNSET, description="null is none.")
    allow: Allowed = []


class Restoration(BaseModel):
    """What may be said about a target that is restored."""

    model_config = example(allow=[])

    account_id: Id | None = Field(
        default=UNSET, description="The account to offer from now on; null is none. The one before when left out."
    )
    allow: Allowed = []

    def draft(self) -> RestorationDraft:
        """Say the same in the words of the services."""
        account = AccountId(self.account_id or NO_ACCOUNT) if "account_id" in self.model_fields_set else None
        return RestorationDraft(account, frozenset(self.allow))


class HeadCount(BaseModel):
    """How many are really inside."""

    model_config = example(count=150)

    count: Places


class NewKey(BaseModel):
    """A key to be given."""

    model_config = example(name="console", scope="write")

    name: Name
    scope: Scope
    expires_at: Instant | None = None


class DefaultsChange(Change):
    """What to change of the defaults; targets and accounts that are there stay as they are."""

    model_config = change_example(expiry_margin_seconds=7200)

    expiry_margin_seconds: MarginSeconds = Field(default=UNSET)
    member_limit: Places = Field(default=UNSET, description="Places in a group.")
    daily_cap: Adds | None = Field(default=UNSET, description="Adds a day of an account; null is no cap.")


class WorkspaceChange(Change):
    """What to change of the workspace."""

    model_config = change_example(time_zone="Asia/Shanghai", defaults={"expiry_margin_seconds": 7200})

    name: Name = Field(default=UNSET)
    time_zone: Chosen = Field(default=UNSET)
    defaults: DefaultsChange = Field(default=UNSET)
