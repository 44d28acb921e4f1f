"""Shape what the API gives."""

from datetime import datetime
from typing import Final, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from app.domain import limits
from app.domain.code import Display, Origin, TargetState, TargetStatus
from app.domain.payload import TargetKind
from app.domain.workspace import Scope, Workspace
from app.services.viewing import TargetView
from app.store.keys import ApiKey
from app.web.fields import ShownInstant
from app.web.hours import Shift, SpecialDate, shown_hours
from app.web.schemas import PAYLOAD, example

T = TypeVar("T")

ID: Final = "3kq0x9v7a2b4c6d8"
WHEN: Final = "2026-11-21T02:00:00Z"


class TargetOut(BaseModel):
    """A target as a scan would find it now: `taken = members + held + seen`.

    `counts` is `live` when Redis told them, and `recorded` when it could not be asked or knows nothing of the target.
    """

    model_config = example(
        id=ID, code_id=ID, name="1群", kind="wechat_group", status="live", state="live", member_limit=200, members=12,
        held=1, seen=30, taken=43, counts="live", weight=1, position=1024, expires_at="2026-11-28T01:00:00Z",
        display="drawn", payload=PAYLOAD, account_id=None, shifts=[], special_dates=[], revision=1, version=1,
        created_at=WHEN, updated_at=WHEN, removed_at=None, name_source="given", expires_at_source="printed",
    )  # fmt: skip

    id: str
    code_id: str
    name: str
    name_source: Origin | None = Field(
        description="Where the name comes from: `given` with a request, `printed` in the screenshot, or `assumed`: a "
        "number, or the host of a link. null in targets older than this field."
    )
    kind: TargetKind
    status: TargetStatus
    state: TargetState
    member_limit: int | None = Field(description="null is unlimited.")
    members: int
    held: int
    seen: int
    taken: int
    counts: Literal["live", "recorded"]
    weight: int
    position: int
    expires_at: ShownInstant | None
    expires_at_source: Origin | None = Field(
        description="Where the expiry comes from: `given` with a request, `printed` in the screenshot (and at most "
        "seven days after the upload), or `assumed` from the upload alone. null without an expiry."
    )
    display: Display
    payload: str
    account_id: str | None
    shifts: list[Shift] = Field(description="The target's own; its account has others.")
    special_dates: list[SpecialDate]
    revision: int
    version: int
    created_at: ShownInstant
    updated_at: ShownInstant
    removed_at: ShownInstant | None = Field(description="A target that was removed can be restored.")

    @classmethod
    def of(cls, view: TargetView, now: datetime) -> "TargetOut":
        """Show a target."""
        record, target = view.record, view.record.target
        shifts, special_dates = shown_hours(target.shifts)
        return cls(
            id=target.id,
            code_id=record.code_id,
            name=target.name,
            name_source=record.name_source,
            kind=target.kind,
            status=target.status,
            state=view.state(now),
            member_limit=None if target.member_limit == limits.UNLIMITED else target.member_limit,
            members=view.members,
            held=view.held,
            seen=view.seen,
            taken=view.taken,
            counts="live" if view.live else "recorded",
            weight=target.weight,
            position=record.position,
            expires_at=target.expires_at,
            expires_at_source=record.expires_at_source,
            display=target.display,
            payload=target.payload,
            account_id=target.account or None,
            shifts=shifts,
            special_dates=special_dates,
            revision=target.revision,
            version=record.version,
            created_at=record.created_at,
            updated_at=record.updated_at,
            removed_at=record.removed_at,
        )


class TargetsOut(BaseModel):
    """The targets that were created, in the order in which they were sent."""

    items: list[TargetOut]


class KeyOut(BaseModel):
    """A key without its secret."""

    model_config = example(
        id=ID, name="console", hint="hm_Zr4x", scope="write", created_at=WHEN, expires_at=None, revoked_at=None
    )

    id: str
    name: str
    hint: str
    scope: Scope
    created_at: ShownInstant
    expires_at: ShownInstant | None
    revoked_at: ShownInstant | None

    @classmethod
    def of(cls, key: ApiKey) -> "KeyOut":
        """Show a key."""
        return cls(
            id=key.id,
            name=key.name,
            hint=key.hint,
            scope=key.scope,
            created_at=key.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
        )


class MadeKeyOut(KeyOut):
    """A new key. `key` is shown this once and never again: a repeated request is answered with null there."""

    model_config = example(
        id=ID, name="console", hint="hm_Zr4x", scope="write", created_at=WHEN, expires_at=None, revoked_at=None,
        key="hm_Zr4xPq81mVbT2sKd90LwYc7NfHgJ3aEuRo5iXzQt",
    )  # fmt: skip

    key: str | None


class DefaultsOut(BaseModel):
    """What new targets and accounts get when nobody says otherwise."""

    model_config = example(expiry_margin_seconds=3600, member_limit=200, daily_cap=100)

    expiry_margin_seconds: int
    member_limit: int
    daily_cap: int | None = Field(description="Adds a day of an account; null is no cap.")


class WorkspaceOut(BaseModel):
    """The workspace that the key belongs to."""

    model_config = example(
        id=ID, name="春日", time_zone="Asia/Shanghai", version=1, created_at=WHEN,
        defaults={"expiry_margin_seconds": 3600, "member_limit": 200, "daily_cap": 100},
    )  # fmt: skip

    id: str
    name: str
    time_zone: str
    defaults: DefaultsOut
    version: int
    created_at: ShownInstant

    @classmethod
    def of(cls, workspace: Workspace) -> "WorkspaceOut":
        """Show a workspace."""
        defaults = workspace.defaults
        return cls(
            id=workspace.id,
            name=workspace.name,
            time_zone=workspace.time_zone,
            defaults=DefaultsOut(
                expiry_margin_seconds=defaults.expiry_margin_seconds,
                member_limit=defaults.member_limit,
                daily_cap=defaults.daily_cap,
            ),
            version=workspace.version,
            created_at=workspace.created_at,
        )


class Page(BaseModel, Generic[T]):
    """One page of a list; send `next` back as `cursor` for the page after it, until it is null."""

    items: list[T]
    next: str | None = Field(examples=["M2txMHg5djdhMmI0YzZkOA"])


class TargetPage(Page[TargetOut]):
    """One page of targets, in the order in which they fill."""


class KeyPage(Page[KeyOut]):
    """One page of keys, newest first."""


class ThereOut(BaseModel):
    """The target that is in the way, and its code."""

    code_id: str
    code_name: str
    target_id: str
    target_name: str


class FieldProblem(BaseModel):
    """One field or row at fault."""

    where: str | None
    code: str
    detail: str
    there: ThereOut | None = None


class Problem(BaseModel):
    """What went wrong (RFC 9457). `code` never changes its meaning; `where` names the field at fault, if one is."""

    model_config = example(
        type="urn:huoma:problem:not_found", title="Not Found", status=404, code="not_found", where=None,
        detail="There is no such code in this workspace.",
    )  # fmt: skip

    type: str
    title: str
    status: int
    detail: str
    code: str
    where: str | None
    there: ThereOut | None = Field(
        default=None, description="What is in the way: `qr_in_use`, `same_group`, `other_group`."
    )
    errors: list[FieldProblem] | None = None
