"""Keep targets (子码) and every QR they ever showed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from app.domain.code import NO_ACCOUNT, AccountId, CodeId, Origin, Target, TargetId, TargetStatus, WorkspaceId
from app.domain.levelling import Load
from app.domain.payload import TargetKind
from app.domain.shifts import Shifts
from app.store.database import Reading, Writing
from app.store.tables import next_version, qr_revisions, target_totals, targets


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """Hold a target as its marketer set it up, with what the record has counted; `version` grows with every edit.

    Shapes: the sources are None where an older version wrote the row, `expires_at_source` also without an expiry.
    `printed_name` is what the picture of its QR prints, as `group_key` spells it; None where that is unknown.
    """

    target: Target
    workspace_id: WorkspaceId
    code_id: CodeId
    position: int
    version: int
    created_at: datetime
    updated_at: datetime
    members: int = 0
    held: int = 0
    seen: int = 0
    name_source: Origin | None = None
    expires_at_source: Origin | None = None
    printed_name: str | None = None
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """Hold one QR of a target (实码); `expires_at` is what the QR itself says, not what a marketer set.

    Shapes: `expires_at_source` is PRINTED or ASSUMED, None without an expiry.
    """

    target_id: TargetId
    number: int
    payload: str
    expires_at: datetime | None
    picture: bytes | None
    picture_media_type: str | None
    created_at: datetime
    expires_at_source: Origin | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Say how many targets a code has, and where the last one stands."""

    count: int
    last_position: int


_COLUMNS: Final = (
    targets,
    sa.func.coalesce(target_totals.c.members, 0).label("members"),
    sa.func.coalesce(target_totals.c.held, 0).label("held"),
    sa.func.coalesce(target_totals.c.seen, 0).label("seen"),
)
_WITH_TOTALS: Final = targets.outerjoin(target_totals, target_totals.c.target_id == targets.c.id)


async def insert(tx: Writing, records: Sequence[TargetRecord], revisions: Sequence[Revision]) -> None:
    """Write new targets, each with its first QR.

    Cost: three statements, whatever the number of targets.
    """
    workspace = records[0].workspace_id
    await tx.execute(sa.insert(targets), [_values(record) for record in records])
    await tx.execute(sa.insert(qr_revisions), [_revision_values(workspace, revision) for revision in revisions])
    totals = [
        {"target_id": r.target.id, "workspace_id": workspace, "code_id": r.code_id, "members": r.members}
        for r in records
        if r.members
    ]
    if totals:
        await tx.execute(sa.insert(target_totals), totals)


async def insert_revision(tx: Writing, workspace: WorkspaceId, revision: Revision) -> None:
    """Write a fresh QR of a target that has had others."""
    await tx.execute(sa.insert(qr_revisions), [_revision_values(workspace, revision)])


async def find(
    connection: Reading | Writing, workspace: WorkspaceId, target: TargetId, *, removed: bool = False
) -> TargetRecord | None:
    """Read one target of a workspace; one that was removed only with `removed`."""
    query = (
        sa.select(*_COLUMNS)
        .select_from(_WITH_TOTALS)
        .where(targets.c.workspace_id == workspace, targets.c.id == target)
    )
    if not removed:
        query = query.where(targets.c.removed_at.is_(None))
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _record(row)


async def page(
    connection: Reading,
    workspace: WorkspaceId,
    code: CodeId,
    after: tuple[int, TargetId] | None,
    size: int,
    *,
    removed: bool = False,
) -> list[TargetRecord]:
    """Read a page of a code's targets, in the order in which they fill; with `removed`, of those that were removed."""
    query = sa.select(*_COLUMNS).select_from(_WITH_TOTALS).where(*_of_code(workspace, code, removed=removed))
    if after is not None:
        query = query.where(sa.tuple_(targets.c.position, targets.c.id) > sa.tuple_(*map(sa.literal, after)))
    rows = await connection.execute(query.order_by(targets.c.position, targets.c.id).limit(size))
    return [_record(row) for row in rows]


async def loads(tx: Writing, workspace: WorkspaceId, code: CodeId, now: datetime) -> list[Load]:
    """Read what `balance` weighs of a code's targets that are neither paused nor expired, as the record has it."""
    taken = sum((sa.func.coalesce(target_totals.c[name], 0) for name in ("members", "held", "seen")), sa.literal(0))
    query = (
        sa.select(targets.c.id, taken, targets.c.handicap, targets.c.weight, targets.c.member_limit)
        .select_from(_WITH_TOTALS)
        .where(
            *_of_code(workspace, code),
            targets.c.status == TargetStatus.LIVE.value,
            sa.or_(targets.c.expires_at.is_(None), targets.c.expires_at > now),
        )
    )
    return [Load(TargetId(row[0]), *row[1:]) for row in await tx.execute(query)]


async def measure(tx: Writing, workspace: WorkspaceId, code: CodeId) -> Row:
    """Count a code's targets and find the end of the row."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(targets.c.position), 0))
    row = (await tx.execute(query.where(*_of_code(workspace, code)))).one()
    return Row(row[0], row[1])


async def payloads_there(
    tx: Writing, workspace: WorkspaceId, code: CodeId, payloads: Sequence[str]
) -> Mapping[str, tuple[TargetId, str]]:
    """Find which of some payloads a target of the code shows already, with its id and name."""
    query = sa.select(targets.c.payload, targets.c.id, targets.c.name).where(
        *_of_code(workspace, code), targets.c.payload.in_(payloads)
    )
    return {row.payload: (TargetId(row.id), row.name) for row in await tx.execute(query)}


async def find_revision(tx: Writing, record: TargetRecord) -> tuple[datetime | None, Origin | None, bool]:
    """Read of a target's present QR when it says that it dies, by what, and whether it came as a picture."""
    columns = (qr_revisions.c.expires_at, qr_revisions.c.expires_at_source, qr_revisions.c.picture.is_not(None))
    query = sa.select(*columns).where(
        qr_revisions.c.workspace_id == record.workspace_id,
        qr_revisions.c.target_id == record.target.id,
        qr_revisions.c.number == record.target.revision,
    )
    row = (await tx.execute(query)).one()
    return row[0], _origin(row[1]), row[2]


async def update(tx: Writing, record: TargetRecord, now: datetime, values: Mapping[str, object]) -> TargetRecord | None:
    """Change a target and give it its next version; None when `values` removed it."""
    await tx.execute(
        sa.update(targets)
        .where(targets.c.workspace_id == record.workspace_id, targets.c.id == record.target.id)
        .values(**_columns(values), version=next_version(targets.c.version), updated_at=now)
    )
    return await find(tx, record.workspace_id, record.target.id)


def _of_code(workspace: WorkspaceId, code: CodeId, *, removed: bool = False) -> tuple[sa.ColumnElement[bool], ...]:
    there = targets.c.removed_at.is_not(None) if removed else targets.c.removed_at.is_(None)
    return (targets.c.workspace_id == workspace, targets.c.code_id == code, there)


def _values(record: TargetRecord) -> dict[str, object]:
    target = record.target
    return {
        "id": target.id,
        "workspace_id": record.workspace_id,
        "code_id": record.code_id,
        "position": record.position,
        "name": target.name,
        "kind": target.kind.value,
        "status": target.status.value,
        "member_limit": target.member_limit,
        "weight": target.weight,
        "display": target.display,
        "payload": target.payload,
        "revision": target.revision,
        "expires_at": target.expires_at,
        "name_source": record.name_source,
        "expires_at_source": record.expires_at_source,
        "printed_name": record.printed_name,
        "account_id": target.account or None,
        "shifts": target.shifts.spell(),
        "handicap": target.handicap,
        "version": record.version,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }


def _columns(values: Mapping[str, object]) -> dict[str, object]:
    shifts = values.get("shifts")
    return {**values, "shifts": shifts.spell()} if isinstance(shifts, Shifts) else dict(values)


def _revision_values(workspace: WorkspaceId, revision: Revision) -> dict[str, object]:
    return {
        "target_id": revision.target_id,
        "number": revision.number,
        "workspace_id": workspace,
        "payload": revision.payload,
        "picture": revision.picture,
        "picture_media_type": revision.picture_media_type,
        "expires_at": revision.expires_at,
        "expires_at_source": revision.expires_at_source,
        "created_at": revision.created_at,
    }


def _record(row: sa.Row[Any]) -> TargetRecord:
    target = Target(
        id=TargetId(row.id),
        name=row.name,
        kind=TargetKind(row.kind),
        payload=row.payload,
        status=TargetStatus(row.status),
        member_limit=row.member_limit,
        weight=row.weight,
        expires_at=row.expires_at,
        display=row.display,
        revision=row.revision,
        account=NO_ACCOUNT if row.account_id is None else AccountId(row.account_id),
        shifts=Shifts.read(row.shifts),
        handicap=row.handicap,
    )
    return TargetRecord(
        target=target,
        workspace_id=WorkspaceId(row.workspace_id),
        code_id=CodeId(row.code_id),
        position=row.position,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        members=row.members,
        held=row.held,
        seen=row.seen,
        name_source=_origin(row.name_source),
        expires_at_source=_origin(row.expires_at_source),
        printed_name=row.printed_name,
        removed_at=row.removed_at,
    )


def _origin(spelt: str | None) -> Origin | None:
    return None if spelt is None else Origin(spelt)
