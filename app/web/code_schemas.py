"""Shape what the API takes about codes: what they say of themselves, where they lead, where they are printed."""

from typing import Any, Final, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from app.domain import code as domain
from app.domain import limits
from app.domain.code import CodeId, CodeKind, Strategy
from app.services.arranging import OptionDraft
from app.services.channelling import ChannelDraft
from app.services.keeping_codes import CodeDraft
from app.web.fields import (
    ChannelState,
    Chosen,
    Flag,
    HoldSeconds,
    Id,
    Instant,
    Link,
    Name,
    Notice,
    OptionNumber,
    Payload,
    SeatsPerMinute,
    StickyDays,
    Title,
)
from app.web.schemas import UNSET, Change, change_example, example

LANDING: Final = {"title": "春日护肤交流群", "notice": "长按二维码进群"}
FALLBACK: Final = {"url": "https://shop.example/full"}
WECHAT_ONLY: Final = (
    "Gives nothing outside WeChat on a phone, and says how to get there. null goes by the kind: true for `group` and "
    "`staff` codes, whose QRs only WeChat reads, but for clients that ask for JSON; false for the others."
)
OPTION: Final = {"number": 1, "label": "华东", "hint": "上海、江苏、浙江", "code_id": "3kq0x9v7a2b4c6d8"}


class Landing(BaseModel):
    """What stands around the QR on the page."""

    model_config = example(**LANDING)

    title: Title | None = None
    notice: Notice | None = None


class Fallback(BaseModel):
    """Where visitors go when nobody has room for them: a code, a link, or a static QR with a message."""

    model_config = example(**FALLBACK)

    code_id: Id | None = Field(default=None, description="An open code of the workspace.")
    url: Link | None = None
    payload: Payload | None = Field(default=None, description="The text of a QR that is shown as it is.")
    message: Notice | None = Field(default=None, description="What stands beside that QR.")

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if sum(goal is not None for goal in (self.code_id, self.url, self.payload)) != 1:
            raise PydanticCustomError("one_fallback", "Give exactly one of code_id, url and payload")
        if self.message is not None and self.payload is None:
            raise PydanticCustomError("one_fallback", "Only a payload has a message")
        return self

    @classmethod
    def of(cls, fallback: domain.Fallback) -> "Fallback":
        """Show a fallback."""
        return cls(code_id=fallback.code, url=fallback.url, payload=fallback.payload, message=fallback.message)

    def said(self) -> domain.Fallback:
        """Say the same in the words of the domain."""
        code = None if self.code_id is None else CodeId(self.code_id)
        return domain.Fallback(code, self.url, self.payload, self.message)


class NewCode(BaseModel):
    """A live code to be created."""

    model_config = example(name="春日护肤交流群", kind="group", strategy="fill", slug="spring26", landing=LANDING)

    name: Name
    kind: CodeKind = CodeKind.GROUP
    strategy: Strategy = Strategy.FILL
    slug: Chosen | None = Field(default=None, description="3 to 40 letters, digits, - or _; ours when left out.")
    hold_seconds: HoldSeconds = limits.HOLD_SECONDS_DEFAULT
    sticky_days: StickyDays = limits.STICKY_DAYS_DEFAULT
    wechat_only: Flag | None = Field(default=None, description=WECHAT_ONLY)
    landing: Landing | None = None
    fallback: Fallback | None = None
    disabled: Flag = Field(default=False, description="Gives nothing to anybody until it is false again.")
    opens_at: Instant | None = None
    closes_at: Instant | None = None
    new_seats_per_minute: SeatsPerMinute = Field(
        default=limits.NEW_SEATS_PER_MINUTE_DEFAULT,
        description="For each network that visitors come from; 0 is off, its hourly share of an account included.",
    )
    pass_query: Flag = Field(default=False, description="Link codes only: links get the query of the scan.")

    def draft(self) -> CodeDraft:
        """Say the same in the words of the services."""
        landing = self.landing or Landing()
        return CodeDraft(
            **self.model_dump(exclude={"landing", "fallback"}),
            landing_title=landing.title,
            landing_notice=landing.notice,
            fallback=None if self.fallback is None else self.fallback.said(),
        )


class CodeChange(Change):
    """What to change of a code; its kind and its slug stay what they are."""

    model_config = change_example(name="春日护肤交流群 2", strategy="balance")

    name: Name = Field(default=UNSET)
    strategy: Strategy = Field(default=UNSET)
    hold_seconds: HoldSeconds = Field(default=UNSET)
    sticky_days: StickyDays = Field(default=UNSET)
    wechat_only: Flag | None = Field(default=UNSET, description=WECHAT_ONLY)
    landing: Landing | None = Field(default=UNSET)
    fallback: Fallback | None = Field(default=UNSET)
    disabled: Flag = Field(default=UNSET)
    opens_at: Instant | None = Field(default=UNSET)
    closes_at: Instant | None = Field(default=UNSET)
    new_seats_per_minute: SeatsPerMinute = Field(default=UNSET)
    pass_query: Flag = Field(default=UNSET)

    def values(self) -> dict[str, Any]:
        """Give the columns to change."""
        values = super().values()
        if "landing" in values:
            landing = values.pop("landing") or {}
            values |= {"landing_title": landing.get("title"), "landing_notice": landing.get("notice")}
        if self.fallback is not None:
            values["fallback"] = self.fallback.said()
        return values


class OptionFields(BaseModel):
    """One choice of a menu: `number` keeps the option that has it, and with it every link that was printed."""

    model_config = example(**OPTION)

    number: OptionNumber | None = Field(
        default=None, description="When left out: that of an option that leads to the same code, else a new one."
    )
    label: Name
    hint: Name | None = None
    code_id: Id = Field(description="An open code of the workspace that is no menu.")

    def draft(self) -> OptionDraft:
        """Say the same in the words of the services."""
        return OptionDraft(self.number, self.label, self.hint, CodeId(self.code_id))


class Options(BaseModel):
    """All choices of a menu, in the order in which they stand; those left out are removed."""

    model_config = example(options=[OPTION])

    options: list[OptionFields] = Field(max_length=limits.OPTIONS_PER_MENU)


class NewChannel(BaseModel):
    """A place where a code is printed."""

    model_config = example(name="门店 12", slug="store12", state="store_12")

    name: Name
    slug: Chosen | None = Field(default=None, description="3 to 40 letters, digits, - or _; ours when left out.")
    state: ChannelState | None = Field(default=None, description="What WeCom is told by an acquisition link.")

    def draft(self) -> ChannelDraft:
        """Say the same in the words of the services."""
        return ChannelDraft(self.name, self.slug, self.state)


class ChannelChange(Change):
    """What to change of a channel; its slug stays what it is."""

    model_config = change_example(name="门店 12, 收银台")

    name: Name = Field(default=UNSET)
    state: ChannelState | None = Field(default=UNSET)
