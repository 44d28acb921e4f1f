"""Shape what the API takes. Unknown fields are refused, since a misspelt one would be silently lost."""

from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.domain import limits
from app.domain.code import Display, TargetStatus
from app.domain.workspace import Scope
from app.services.placing import TargetDraft
from app.services.uploading import Source
from app.web.fields import (
    Chosen,
    Instant,
    Link,
    MarginSeconds,
    Name,
    Payload,
    Places,
    Position,
    Weight,
)

# Never seen: what a change leaves out is not among its values.
UNSET: Final[Any] = None

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
        if not self.model_fields_set:
            raise PydanticCustomError("nothing_to_change", "Name at least one field to change")
        return self

    def values(self) -> dict[str, Any]:
        """Give the fields that were sent."""
        return self.model_dump(exclude_unset=True)


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

    def draft(self, source: Source) -> TargetDraft:
        """Say the same in the words of the services."""
        return TargetDraft(source=source, **self.model_dump(exclude={"payload", "url"}))


class QrText(BaseModel):
    """The text of a QR (`payload`), or a link (`url`), which only link codes take."""

    payload: Payload | None = None
    url: Link | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.payload is None) == (self.url is None):
            raise PydanticCustomError("one_source", "Give either payload or url")
        return self

    def source(self) -> Source:
        """Say where the QR comes from."""
        return Source(payload=self.payload, url=self.url)


class NewTarget(TargetFields, QrText):
    """A target to be created from the text of its QR."""

    model_config = example(payload=PAYLOAD, name="1群", members=12)


class NewTargets(BaseModel):
    """Targets to be created together: all of them, or none."""

    model_config = example(targets=[{"payload": PAYLOAD, "name": "1群"}])

    targets: list[NewTarget] = Field(min_length=1, max_length=limits.BATCH_ROWS)


class FreshPicture(BaseModel):
    """What may be said about a fresh QR, however it comes."""

    model_config = example(expires_at="2026-11-28T02:00:00Z")

    expires_at: Instant | None = Field(default=None, description="What the QR itself says when left out.")


class FreshQr(FreshPicture, QrText):
    """A fresh QR of a target, as text."""

    model_config = example(payload=PAYLOAD)


class TargetChange(Change):
    """What to change of a target; `null` for `member_limit` or `expires_at` is the default again."""

    model_config = change_example(status="paused")

    name: Name = Field(default=UNSET)
    status: TargetStatus = Field(default=UNSET)
    member_limit: Places | None = Field(default=UNSET)
    expires_at: Instant | None = Field(default=UNSET)
    weight: Weight = Field(default=UNSET)
    position: Position = Field(default=UNSET)
    display: Display = Field(default=UNSET)


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
    """What to change of the defaults; targets that are there stay as they are."""

    model_config = change_example(expiry_margin_seconds=7200)

    expiry_margin_seconds: MarginSeconds = Field(default=UNSET)
    member_limit: Places = Field(default=UNSET, description="Places in a group.")


class WorkspaceChange(Change):
    """What to change of the workspace."""

    model_config = change_example(time_zone="Asia/Shanghai", defaults={"expiry_margin_seconds": 7200})

    name: Name = Field(default=UNSET)
    time_zone: Chosen = Field(default=UNSET)
    defaults: DefaultsChange = Field(default=UNSET)
