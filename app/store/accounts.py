"""Keep accounts (员工号), and find the codes that offer them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.domain import limits
from app.domain.code import Account, AccountId, AccountKind, CodeId, WorkspaceId
from app.domain.shifts import Shifts
from app.store.codes import bump_all
from app.store.database import Reading, Writing
from app.store.snapshots import read_account
from app.store.tables import account_days, accounts, codes, next_version, targets


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """Hold an account as its marketer set it up; `version` grows with every edit."""

    account: Account
    workspace_id: WorkspaceId
    kind: AccountKind
    version: int
    created_at: datetime
    updated_at: datetime


async def insert(tx: Writing, record: AccountRecord) -> None:
    """Write a new account."""
    account = record.account
    await tx.execute(
        sa.insert(accounts).values(
            id=account.id,
            workspace_id=record.workspace_id,
            kind=record.kind.value,
            name=account.name,
            **_columns({"daily_cap": account.daily_cap, "shifts": account.shifts}),
            available=account.available,
            until=account.until,
            version=record.version,
            created_at=record.created_at,
            updated_at=record.updated_at,
        )
    )


async def find(connection: Reading | Writing, workspace: WorkspaceId, account: AccountId) -> AccountRecord | None:
    """Read one account of a workspace, unless it was removed."""
    row = (await connection.execute(_there(workspace).where(accounts.c.id == account))).one_or_none()
    return None if row is None else _record(row)


async def find_some(
    connection: Reading | Writing, workspace: WorkspaceId, wanted: Sequence[AccountId]
) -> dict[AccountId, Account]:
    """Read some accounts of a workspace as scans see them; one that was removed or is another's is left out."""
    rows = await connection.execute(_there(workspace).where(accounts.c.id.in_(wanted)))
    return {AccountId(row.id): read_account(row, Shifts.read(row.shifts)) for row in rows}


async def kinds_of(tx: Writing, workspace: WorkspaceId, wanted: Sequence[AccountId]) -> dict[AccountId, AccountKind]:
    """Read the kinds of some accounts of a workspace; one that was removed or is another's is left out."""
    query = _there(workspace).where(accounts.c.id.in_(wanted)).with_only_columns(accounts.c.id, accounts.c.kind)
    return {AccountId(row.id): AccountKind(row.kind) for row in await tx.execute(query)}


async def page(connection: Reading, workspace: WorkspaceId, before: AccountId | None, size: int) -> list[AccountRecord]:
    """Read a page of a workspace's accounts, newest first."""
    query = _there(workspace)
    if before is not None:
        query = query.where(accounts.c.id < before)
    return [_record(row) for row in await connection.execute(query.order_by(accounts.c.id.desc()).limit(size))]


async def lock(tx: Writing, workspace: WorkspaceId, account: AccountId) -> AccountRecord | None:
    """Read one account and keep everybody else from editing it, or offering it anew, until the transaction ends."""
    # NO KEY UPDATE: a target that refers to it already may be written meanwhile.
    query = _there(workspace).where(accounts.c.id == account).with_for_update(key_share=True)
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else _record(row)


async def lock_shared(tx: Writing, workspace: WorkspaceId, wanted: Sequence[AccountId]) -> None:
    """Keep some accounts from being edited until the transaction ends, always in the same order."""
    # FOR SHARE, not KEY SHARE: who edits an account looks for the codes that offer it once he has its lock, so a code
    # that begins to offer it must be committed before that, or wait until he is done.
    await tx.execute(
        _there(workspace).where(accounts.c.id.in_(wanted)).order_by(accounts.c.id).with_for_update(read=True)
    )


async def bump_codes(tx: Writing, workspace: WorkspaceId, account: AccountId, now: datetime) -> list[CodeId]:
    """Lock every open code with a target that offers a locked account, and give it its next version.

    Cost: as `codes.bump_all`.
    """
    return await bump_all(tx, [codes.c.workspace_id == workspace, codes.c.id.in_(_offering(account))], updated_at=now)


async def is_offered(tx: Writing, workspace: WorkspaceId, account: AccountId) -> bool:
    """Tell whether an open code has a target that offers a locked account."""
    query = sa.exists().where(
        codes.c.workspace_id == workspace, codes.c.closed_at.is_(None), codes.c.id.in_(_offering(account))
    )
    return bool(await tx.scalar(sa.select(query)))


async def update(tx: Writing, record: AccountRecord, now: datetime, values: Mapping[str, object]) -> AccountRecord:
    """Change a locked account and give it its next version."""
    query = (
        sa.update(accounts)
        .where(accounts.c.workspace_id == record.workspace_id, accounts.c.id == record.account.id)
        .values(**_columns(values), version=next_version(accounts.c.version), updated_at=now)
        .returning(accounts)
    )
    return _record((await tx.execute(query)).one())


async def adds_on(
    connection: Reading | Writing, workspace: WorkspaceId, day: int, wanted: Sequence[AccountId]
) -> dict[AccountId, int]:
    """Read how often some accounts were added on one local day, by the record; one without adds is left out.

    Units: `day` in days since 1970-01-01.
    """
    query = sa.select(account_days.c.account_id, account_days.c.adds).where(
        account_days.c.workspace_id == workspace, account_days.c.day == day, account_days.c.account_id.in_(wanted)
    )
    return {AccountId(row[0]): row[1] for row in await connection.execute(query)}


def _offering(account: AccountId) -> sa.Select[Any]:
    return sa.select(targets.c.code_id).where(targets.c.account_id == account, targets.c.removed_at.is_(None))


def _there(workspace: WorkspaceId) -> sa.Select[Any]:
    return sa.select(accounts).where(accounts.c.workspace_id == workspace, accounts.c.removed_at.is_(None))


def _columns(values: Mapping[str, object]) -> dict[str, object]:
    columns = dict(values)
    if columns.get("daily_cap") == limits.UNLIMITED:
        columns["daily_cap"] = None
    if isinstance(shifts := columns.get("shifts"), Shifts):
        columns["shifts"] = shifts.spell()
    return columns


def _record(row: sa.Row[Any]) -> AccountRecord:
    return AccountRecord(
        read_account(row, Shifts.read(row.shifts)),
        WorkspaceId(row.workspace_id),
        AccountKind(row.kind),
        row.version,
        row.created_at,
        row.updated_at,
    )
