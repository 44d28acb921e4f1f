"""Shape what the API gives about codes."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from app.domain.code import CodeKind, Option, Strategy
from app.services.printing import Printer
from app.store.channels import ChannelRecord
from app.store.codes import CodeRecord
from app.web.answers import ID, WHEN, Page
from app.web.code_schemas import FALLBACK, LANDING, OPTION, Fallback, Landing
from app.web.fields import ShownInstant
from app.web.schemas import example


class CodeOut(BaseModel):
    """A live code. `version` grows with every edit of it, and of its targets, options and channels; it is the ETag."""

    model_config = example(
        id=ID, name="春日护肤交流群", kind="group", strategy="fill", slug="spring26", url="https://qr.example/spring26",
        hold_seconds=90, sticky_days=30, wechat_only=None, landing=LANDING, fallback=FALLBACK, disabled=False,
        opens_at=None, closes_at="2026-12-24T16:00:00Z", new_seats_per_minute=300, pass_query=False, version=1,
        created_at=WHEN, updated_at=WHEN, closed_at=None,
    )  # fmt: skip

    id: str
    name: str
    kind: CodeKind
    strategy: Strategy
    slug: str
    url: str
    hold_seconds: int
    sticky_days: int
    wechat_only: bool | None = Field(description="null goes by the kind: `group` and `staff` codes need WeChat.")
    landing: Landing | None
    fallback: Fallback | None
    disabled: bool
    opens_at: ShownInstant | None
    closes_at: ShownInstant | None
    new_seats_per_minute: int = Field(description="0 is off.")
    pass_query: bool
    version: int
    created_at: ShownInstant
    updated_at: ShownInstant
    closed_at: ShownInstant | None

    @classmethod
    def of(cls, code: CodeRecord, printer: Printer) -> "CodeOut":
        """Show a code."""
        landing = None
        if code.landing_title or code.landing_notice:
            landing = Landing(title=code.landing_title, notice=code.landing_notice)
        return cls(
            id=code.id,
            name=code.name,
            kind=code.kind,
            strategy=code.strategy,
            slug=code.slug,
            url=printer.url(code),
            hold_seconds=code.hold_seconds,
            sticky_days=code.sticky_days,
            wechat_only=code.wechat_only,
            landing=landing,
            fallback=None if code.fallback is None else Fallback.of(code.fallback),
            disabled=code.disabled,
            opens_at=code.opens_at,
            closes_at=code.closes_at,
            new_seats_per_minute=code.new_seats_per_minute,
            pass_query=code.pass_query,
            version=code.version,
            created_at=code.created_at,
            updated_at=code.updated_at,
            closed_at=code.closed_at,
        )


class CodePage(Page[CodeOut]):
    """One page of codes, newest first."""


class OptionOut(BaseModel):
    """One choice of a menu, and the link to it, which may be printed."""

    model_config = example(**OPTION, url="https://qr.example/regions/1")

    number: int
    label: str
    hint: str | None
    code_id: str
    url: str


class OptionsOut(BaseModel):
    """All choices of a menu, in the order in which they stand."""

    model_config = example(options=[{**OPTION, "url": "https://qr.example/regions/1"}])

    options: list[OptionOut]

    @classmethod
    def of(cls, menu: CodeRecord, options: Sequence[Option], printer: Printer) -> "OptionsOut":
        """Show the choices of a menu."""
        shown = [
            OptionOut(
                number=option.number,
                label=option.label,
                hint=option.hint,
                code_id=option.code,
                url=printer.option_url(menu, option.number),
            )
            for option in options
        ]
        return cls(options=shown)


class ChannelOut(BaseModel):
    """A place where a code is printed, with the URL that is printed there."""

    model_config = example(
        number=1, name="门店 12", state="store_12", slug="store12", url="https://qr.example/store12", created_at=WHEN
    )

    number: int
    name: str
    state: str | None
    slug: str
    url: str
    created_at: ShownInstant

    @classmethod
    def of(cls, channel: ChannelRecord, printer: Printer) -> "ChannelOut":
        """Show a channel."""
        return cls(
            number=channel.number,
            name=channel.name,
            state=channel.state,
            slug=channel.slug,
            url=printer.slug_url(channel.slug),
            created_at=channel.created_at,
        )


class ChannelsOut(BaseModel):
    """All channels of a code, by their numbers."""

    items: list[ChannelOut]
