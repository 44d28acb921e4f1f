"""Shape what the API takes. Unknown fields are refused, since a misspelt one would be silently lost."""

from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.domain import limits
from app.domain.code import CodeKind, Display, Strategy, TargetStatus
from app.domain.workspace import Scope
from app.services.editing import CodeDraft
from app.services.placing import TargetDraft
from app.services.uploading import Source
from app.web.fields import (
    Chosen,
    Flag,
    HoldSeconds,
    Instant,
    Link,
    MarginSeconds,
    Name,
    Notice,
    Payload,
    Places,
    Position,
    StickyDays,
    Title,
    Weight,
)

# Never seen: what a change leaves out is not among its values.
_UNSET: Final[Any] = None

PAYLOAD: Final = "https://weixin.qq.com/g/AwYAA575yx8xm5MslfY5ubiheyEd7P4zDL_ak6J0kGODKdinZnLXicaBAg8WY1jz"
LANDING: Final = {"title": "春日护肤交流群", "notice": "长按二维码进群"}


def example(**fields: Any) -> ConfigDict:
    """Describe a body by an example."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [fields]})


def _change_example(**fields: Any) -> ConfigDict:
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


class Landing(BaseModel):
    """What stands around the QR on the page."""

    model_config = example(**LANDING)

    title: Title | None = None
    notice: Notice | None = None


class NewCode(BaseModel):
    """A live code to be created."""

    model_config = example(name="春日护肤交流群", kind="group", strategy="fill", slug="spring26", landing=LANDING)

    name: Name
    kind: CodeKind = CodeKind.GROUP
    strategy: Strategy = Strategy.FILL
    slug: Chosen | None = Field(default=None, description="3 to 40 letters, digits, - or _; ours when left out.")
    hold_seconds: HoldSeconds = limits.HOLD_SECONDS_DEFAULT
    sticky_days: StickyDays = limits.STICKY_DAYS_DEFAULT
    wechat_only: Flag = False
    landing: Landing | None = None

    def draft(self) -> CodeDraft:
        """Say the same in the words of the services."""
        landing = self.landing or Landing()
        plain = self.model_dump(exclude={"landing"})
        return CodeDraft(**plain, landing_title=landing.title, landing_notice=landing.notice)


class CodeChange(Change):
    """What to change of a code; its kind and its slug stay what they are."""

    model_config = _change_example(name="春日护肤交流群 2", strategy="balance")

    name: Name = Field(default=_UNSET)
    strategy: Strategy = Field(default=_UNSET)
    hold_seconds: HoldSeconds = Field(default=_UNSET)
    sticky_days: StickyDays = Field(default=_UNSET)
    wechat_only: Flag = Field(default=_UNSET)
    landing: Landing | None = Field(default=_UNSET)

    def values(self) -> dict[str, Any]:
        """Give the columns to change."""
        values = super().values()
        if "landing" in values:
            landing = values.pop("landing") or {}
            values |= {"landing_title": landing.get("title"), "landing_notice": landing.get("notice")}
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

    model_config = _change_example(status="paused")

    name: Name = Field(default=_UNSET)
    status: TargetStatus = Field(default=_UNSET)
    member_limit: Places | None = Field(default=_UNSET)
    expires_at: Instant | None = Field(default=_UNSET)
    weight: Weight = Field(default=_UNSET)
    position: Position = Field(default=_UNSET)
    display: Display = Field(default=_UNSET)


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

    model_config = _change_example(expiry_margin_seconds=7200)

    expiry_margin_seconds: MarginSeconds = Field(default=_UNSET)
    member_limit: Places = Field(default=_UNSET, description="Places in a group.")


class WorkspaceChange(Change):
    """What to change of the workspace."""

    model_config = _change_example(time_zone="Asia/Shanghai", defaults={"expiry_margin_seconds": 7200})

    name: Name = Field(default=_UNSET)
    time_zone: Chosen = Field(default=_UNSET)
    defaults: DefaultsChange = Field(default=_UNSET)
