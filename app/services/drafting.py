"""Turn what a marketer says about a target (子码) into the target and its first QR; nothing is asked of the record."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.domain import limits
from app.domain.code import NO_ACCOUNT, AccountId, CodeId, Display, Target, TargetId, TargetStatus
from app.domain.errors import Refusal
from app.domain.payload import FACTS, GROUPS, TargetKind
from app.domain.placement import Allowance, check_home, group_key
from app.domain.shifts import SaidDate, SaidShift, check_shifts
from app.domain.workspace import Workspace
from app.services.editing import new_id
from app.services.uploading import Qr, Source, Taker, expiry_of, expiry_source, lives_until, name_source, where_of
from app.store import targets
from app.store.targets import Revision, TargetRecord


@dataclass(frozen=True, slots=True)
class TargetDraft:
    """Hold what a marketer says about a new target; None is the kind's default."""

    source: Source
    name: str | None = None
    member_limit: int | None = None
    members: int = 0
    expires_at: datetime | None = None
    weight: int = 1
    position: int | None = None
    display: Display = "drawn"
    account_id: AccountId | None = None
    weekly: Sequence[SaidShift] = ()
    special: Sequence[SaidDate] = ()
    allow: frozenset[Allowance] = frozenset()


@dataclass(frozen=True, slots=True)
class RenewalDraft:
    """Hold what a marketer says about a fresh QR of a target that is there."""

    source: Source
    expires_at: datetime | None = None
    allow: frozenset[Allowance] = frozenset()


@dataclass(frozen=True, slots=True)
class RestorationDraft:
    """Hold what a marketer says about a target to be restored; `account` None is the one that it offered."""

    account: AccountId | None = None
    allow: frozenset[Allowance] = frozenset()


@dataclass(frozen=True, slots=True)
class Prepared:
    """Hold a target to be written; `printed` is the name that its picture prints, as it was read."""

    record: TargetRecord
    revision: Revision
    printed: str | None = None
    allow: frozenset[Allowance] = frozenset()


def prepare(draft: TargetDraft, qr: Qr, taker: Taker, code: CodeId, now: datetime) -> Prepared:
    """Make a target and its first QR of what a marketer says.

    Raises: Refusal `other_kind`, `no_picture`, and as `lives_until` and `check_shifts`.
    """
    workspace = taker.workspace
    check_home(qr.kind, taker.kind, where_of(qr), draft.allow)
    dies_at = expiry_of(qr, workspace, now)
    ends = lives_until(draft.expires_at, qr, dies_at, now)
    if draft.display == "original" and qr.picture is None:
        raise no_picture()
    target = Target(
        id=TargetId(new_id(now)),
        name=draft.name or qr.name or "",
        kind=qr.kind,
        payload=qr.payload,
        status=TargetStatus.LIVE,
        member_limit=default_limit(qr.kind, workspace) if draft.member_limit is None else draft.member_limit,
        weight=draft.weight,
        expires_at=ends,
        display=draft.display,
        account=draft.account_id or NO_ACCOUNT,
        shifts=check_shifts(draft.weekly, draft.special),
    )
    record = TargetRecord(
        target=target,
        workspace_id=workspace.id,
        code_id=code,
        position=-1 if draft.position is None else draft.position,
        version=1,
        created_at=now,
        updated_at=now,
        members=draft.members,
        name_source=name_source(draft.name, qr),
        expires_at_source=expiry_source(draft.expires_at, qr, ends),
        printed_name=printed_name(qr),
    )
    return Prepared(record, revision_of(target.id, 1, qr, dies_at, now), qr.name, draft.allow)


def revision_of(target: TargetId, number: int, qr: Qr, dies_at: datetime | None, now: datetime) -> Revision:
    """Make a revision of a QR, with the expiry that the QR itself says."""
    source = expiry_source(None, qr, dies_at)
    return Revision(target, number, qr.payload, dies_at, qr.picture, qr.picture_media_type, now, source)


def in_row(records: Sequence[TargetRecord], row: targets.Row) -> list[TargetRecord]:
    """Put targets without a place of their own at the end of the row, and give those without a name a number."""
    placed, last = [], row.last_position
    for number, record in enumerate(records, row.count + 1):
        named = replace(record.target, name=record.target.name or f"#{number}")
        position = record.position if record.position >= 0 else last + limits.POSITION_STEP
        last = max(last, position)
        placed.append(replace(record, target=named, position=position))
    return placed


def printed_name(qr: Qr) -> str | None:
    """Spell the name that the picture of a group prints; None when it prints none, or is no picture."""
    if qr.picture is None or qr.kind not in GROUPS or not qr.name:
        return None
    return group_key(qr.name) or None


def default_limit(kind: TargetKind, workspace: Workspace) -> int:
    """Give the places a target of a kind has when nobody says otherwise."""
    return limits.UNLIMITED if FACTS[kind].member_limit is None else workspace.defaults.member_limit


def no_picture() -> Refusal:
    """Refuse to show the original of a QR that came as text."""
    return Refusal("no_picture", "This QR code did not come as a picture, so it can only be drawn.", "display")
