"""Read a code as scans see it. The only queries a scan can ever cause, and only when its process does not know."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from app.domain import limits
from app.domain.cap_days import CapDays
from app.domain.code import (
    NO_ACCOUNT,
    Account,
    AccountId,
    Channel,
    Code,
    CodeId,
    CodeKind,
    Option,
    Slug,
    Strategy,
    Target,
    TargetId,
    TargetStatus,
    WorkspaceId,
    fold_slug,
)
from app.domain.payload import TargetKind, pictured
from app.domain.shifts import ALWAYS, Shifts
from app.store.codes import read_fallback, read_wechat_only
from app.store.database import Reading, Writing
from app.store.tables import (
    accounts,
    channels,
    code_totals,
    codes,
    options,
    qr_revisions,
    slugs,
    target_totals,
    targets,
    workspaces,
)

# Targets built without a break: a few ms.
_SLICE: Final = 2_000
_KINDS: Final = {kind.value: kind for kind in TargetKind}
_STATUSES: Final = {status.value: status for status in TargetStatus}


@dataclass(frozen=True, slots=True)
class Printed:
    """What a slug stands for, for ever; `slug` as it is printed, `channel` is 0 for the code's own."""

    workspace: WorkspaceId
    code: CodeId
    channel: int
    slug: Slug


@dataclass(frozen=True, slots=True)
class Totals:
    """What the record says of one code.

    Shapes: `members` of targets that have any; `given` (places taken: members + seen + held; those only held) of
    targets with a place taken; `seats` ever given.
    """

    members: dict[TargetId, int]
    given: dict[TargetId, tuple[int, int]]
    seats: int


async def find_slug(connection: Reading, slug: Slug) -> Printed | None:
    """Look up what is printed: this very slug, else one that differs in case only. Cost: one query by two indexes."""
    query = sa.select(slugs.c.workspace_id, slugs.c.code_id, slugs.c.channel, slugs.c.slug)
    folded = sa.and_(sa.func.lower(slugs.c.slug) == fold_slug(slug), sa.not_(slugs.c.twin))
    found = query.where(sa.or_(slugs.c.slug == slug, folded)).order_by((slugs.c.slug == slug).desc()).limit(1)
    row = (await connection.execute(found)).one_or_none()
    return None if row is None else Printed(WorkspaceId(row[0]), CodeId(row[1]), row[2], Slug(row[3]))


async def find_workspace(connection: Reading, code: CodeId) -> WorkspaceId:
    """Look up whose a code is. Cost: one query by primary key."""
    row = await connection.execute(sa.select(codes.c.workspace_id).where(codes.c.id == code))
    return WorkspaceId(row.scalar_one())


async def read_zone(connection: Reading | Writing, workspace: WorkspaceId) -> str:
    """Read the time zone of a workspace, an IANA name. Cost: one query."""
    row = await connection.execute(sa.select(workspaces.c.time_zone).where(workspaces.c.id == workspace))
    return str(row.scalar_one())


async def read_days(connection: Reading | Writing, workspace: WorkspaceId) -> CapDays:
    """Read how a workspace numbers the days in which adds are capped. Cost: one query."""
    query = sa.select(workspaces.c.time_zone, workspaces.c.zone_era, workspaces.c.former_zones)
    row = (await connection.execute(query.where(workspaces.c.id == workspace))).one()
    return CapDays.read(row.time_zone, row.zone_era, row.former_zones)


async def read_code(connection: Writing, code: CodeId) -> Code:
    """Read a code with its targets, waiting for any edit of it that is under way.

    The row is locked against edits until the transaction ends, so what is read is what is in force.
    Cost: four queries, one more for a menu and one where targets have accounts.
    """
    row = (await connection.execute(sa.select(codes).where(codes.c.id == code).with_for_update(read=True))).one()
    workspace = WorkspaceId(row.workspace_id)
    # Asked when the lock is held: a join would show the workspace as it was before the wait for it.
    days = await read_days(connection, workspace)
    targets_found = tuple(await _read_targets(connection, code))
    return Code(
        id=code,
        workspace_id=workspace,
        slug=Slug(row.slug),
        name=row.name,
        kind=CodeKind(row.kind),
        strategy=Strategy(row.strategy),
        version=row.version,
        time_zone=days.time_zone,
        days=days,
        targets=targets_found,
        accounts=await _read_accounts(connection, workspace, code, targets_found),
        channels=await _read_channels(connection, code),
        options=await _read_options(connection, code) if row.kind == CodeKind.MENU.value else (),
        fallback=read_fallback(row.fallback),
        hold_seconds=row.hold_seconds,
        sticky_days=row.sticky_days,
        wechat_only=read_wechat_only(row),
        landing_title=row.landing_title,
        landing_notice=row.landing_notice,
        closed=row.closed_at is not None,
        disabled=row.disabled,
        opens_at=row.opens_at,
        closes_at=row.closes_at,
        new_seats_per_minute=row.new_seats_per_minute,
        pass_query=row.pass_query,
    )


async def share_version(tx: Writing, code: CodeId) -> int:
    """Read the version of a code, which stays the one in force until the transaction ends; wait for an edit of it.

    Cost: one query by primary key.
    """
    row = await tx.execute(sa.select(codes.c.version).where(codes.c.id == code).with_for_update(read=True))
    return int(row.scalar_one())


async def read_totals(connection: Reading | Writing, code: CodeId, *, only_members: bool = False) -> Totals:
    """Read what the record has counted for one code; with `only_members`, of targets that have any, and no seats.

    Cost: two queries, or one.
    """
    query = sa.select(
        target_totals.c.target_id, target_totals.c.members, target_totals.c.seen, target_totals.c.held
    ).where(target_totals.c.code_id == code)
    members, given = {}, {}
    for target, inside, seen, held in await connection.execute(
        query.where(target_totals.c.members > 0) if only_members else query
    ):
        if inside:
            members[TargetId(target)] = inside
        if inside + seen + held:
            given[TargetId(target)] = (inside + seen + held, held)
    if only_members:
        return Totals(members, given, 0)
    seats = await connection.scalar(sa.select(code_totals.c.seats).where(code_totals.c.code_id == code))
    return Totals(members, given, seats or 0)


async def read_picture(connection: Reading, target: TargetId, revision: int) -> tuple[bytes, str] | None:
    """Read the uploaded picture of one QR revision, stripped of all but its pixels. Cost: one query."""
    row = (
        await connection.execute(
            sa.select(qr_revisions.c.picture, qr_revisions.c.picture_media_type).where(
                qr_revisions.c.target_id == target, qr_revisions.c.number == revision
            )
        )
    ).one_or_none()
    return None if row is None or row[0] is None else (row[0], row[1])


async def _read_targets(connection: Writing, code: CodeId) -> Sequence[Target]:
    rows = await connection.execute(
        sa.select(
            targets.c.id,
            targets.c.name,
            targets.c.kind,
            targets.c.payload,
            targets.c.status,
            targets.c.member_limit,
            targets.c.weight,
            targets.c.expires_at,
            targets.c.display,
            targets.c.revision,
            targets.c.account_id,
            targets.c.shifts,
            targets.c.handicap,
        )
        .where(targets.c.code_id == code, targets.c.removed_at.is_(None))
        .order_by(targets.c.position, targets.c.id)
    )
    found: list[Target] = []
    hours = _Hours()
    for row in rows:
        if len(found) % _SLICE == 0:
            # Fifty thousand of these take a while, and other codes have visitors, too.
            await asyncio.sleep(0)
        target, name, kind, payload, status, limit, weight, expires_at, display, revision = row[:10]
        account, shifts, handicap = row[10:]
        found.append(
            Target(
                target,
                name,
                *_shown(_KINDS[kind], payload),
                _STATUSES[status],
                limit,
                weight,
                expires_at,
                display,
                revision,
                NO_ACCOUNT if account is None else account,
                hours.read(shifts),
                handicap,
            )
        )
    return found


async def _read_accounts(
    connection: Writing, workspace: WorkspaceId, code: CodeId, found: Sequence[Target]
) -> dict[AccountId, Account]:
    if not any(target.account for target in found):
        return {}
    offered = sa.select(targets.c.account_id).where(targets.c.code_id == code, targets.c.removed_at.is_(None))
    rows = await connection.execute(
        sa.select(accounts).where(accounts.c.workspace_id == workspace, accounts.c.id.in_(offered))
    )
    hours = _Hours()
    return {AccountId(row.id): read_account(row, hours.read(row.shifts)) for row in rows}


def _shown(kind: TargetKind, payload: str) -> tuple[TargetKind, str]:
    """Show as a QR what was written as a link before such addresses were refused there."""
    if kind is TargetKind.LINK:
        found = pictured(payload)
        if found is not None and found.kind is not None:
            return found.kind, found.payload
    return kind, payload


class _Hours:
    """Read equal hours as the same object, so that all who keep them can be looked at together."""

    def __init__(self) -> None:
        self._read: dict[str, Shifts] = {}

    def read(self, spelt: Mapping[str, Any] | None) -> Shifts:
        """Read what `Shifts.spell` wrote."""
        if spelt is None:
            return ALWAYS
        key = json.dumps(spelt, sort_keys=True)
        if key not in self._read:
            self._read[key] = Shifts.read(spelt)
        return self._read[key]


def read_account(row: sa.Row[Any], shifts: Shifts) -> Account:
    """Read an account as scans see it."""
    cap = limits.UNLIMITED if row.daily_cap is None else row.daily_cap
    return Account(AccountId(row.id), row.name, cap, shifts, row.available, row.until)


async def _read_channels(connection: Writing, code: CodeId) -> dict[int, Channel]:
    rows = await connection.execute(
        sa.select(channels.c.number, channels.c.name, channels.c.state, slugs.c.slug)
        .join(slugs, sa.and_(slugs.c.code_id == channels.c.code_id, slugs.c.channel == channels.c.number))
        .where(channels.c.code_id == code, channels.c.removed_at.is_(None))
    )
    return {number: Channel(number, name, state, Slug(slug)) for number, name, state, slug in rows}


async def _read_options(connection: Writing, code: CodeId) -> tuple[Option, ...]:
    rows = await connection.execute(
        sa.select(options.c.number, options.c.label, options.c.hint, options.c.leads_to)
        .where(options.c.code_id == code, options.c.removed_at.is_(None))
        .order_by(options.c.position)
    )
    return tuple(Option(number, label, hint, CodeId(leads_to)) for number, label, hint, leads_to in rows)
