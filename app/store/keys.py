"""Keep API keys, by their hash alone."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NewType

import sqlalchemy as sa

from app.domain.code import WorkspaceId
from app.domain.workspace import Scope
from app.store.database import Reading, Writing
from app.store.tables import api_keys

KeyId = NewType("KeyId", str)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Describe a key to a workspace; the key itself is known to its holder only.

    Shapes: `hint` is the beginning of the key, for people to tell keys apart.
    """

    id: KeyId
    workspace_id: WorkspaceId
    name: str
    hint: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


async def insert(tx: Writing, key: ApiKey, digest: bytes) -> None:
    """Write a new key."""
    await tx.execute(
        sa.insert(api_keys).values(
            id=key.id,
            workspace_id=key.workspace_id,
            name=key.name,
            hash=digest,
            hint=key.hint,
            scope=key.scope.value,
            created_at=key.created_at,
            expires_at=key.expires_at,
        )
    )


async def find_by_hash(connection: Reading | Writing, digest: bytes) -> ApiKey | None:
    """Read the key with this hash, revoked and expired ones too. The one query before any workspace is known.

    Cost: one query by a unique index, for any hash.
    """
    row = (await connection.execute(sa.select(api_keys).where(api_keys.c.hash == digest))).one_or_none()
    return None if row is None else _key(row)


async def find(connection: Reading | Writing, workspace: WorkspaceId, key: KeyId) -> ApiKey | None:
    """Read one key of a workspace."""
    query = sa.select(api_keys).where(api_keys.c.workspace_id == workspace, api_keys.c.id == key)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _key(row)


async def page(connection: Reading, workspace: WorkspaceId, before: KeyId | None, size: int) -> list[ApiKey]:
    """Read a page of a workspace's keys, newest first."""
    query = sa.select(api_keys).where(api_keys.c.workspace_id == workspace)
    if before is not None:
        query = query.where(api_keys.c.id < before)
    rows = await connection.execute(query.order_by(api_keys.c.id.desc()).limit(size))
    return [_key(row) for row in rows]


async def count(tx: Writing, workspace: WorkspaceId) -> int:
    """Count the keys a workspace ever had."""
    query = sa.select(sa.func.count()).select_from(api_keys).where(api_keys.c.workspace_id == workspace)
    return (await tx.execute(query)).scalar_one()


async def count_admins(tx: Writing, workspace: WorkspaceId, now: datetime) -> int:
    """Count the admin keys of a workspace that work now."""
    query = (
        sa.select(sa.func.count())
        .select_from(api_keys)
        .where(
            api_keys.c.workspace_id == workspace,
            api_keys.c.scope == Scope.ADMIN.value,
            api_keys.c.revoked_at.is_(None),
            sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now),
        )
    )
    return (await tx.execute(query)).scalar_one()


async def revoke(tx: Writing, workspace: WorkspaceId, key: KeyId, now: datetime) -> None:
    """Make a key useless from now on."""
    await tx.execute(
        sa.update(api_keys)
        .where(api_keys.c.workspace_id == workspace, api_keys.c.id == key, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def _key(row: sa.Row[Any]) -> ApiKey:
    return ApiKey(
        KeyId(row.id),
        WorkspaceId(row.workspace_id),
        row.name,
        row.hint,
        Scope(row.scope),
        row.created_at,
        row.expires_at,
        row.revoked_at,
    )
