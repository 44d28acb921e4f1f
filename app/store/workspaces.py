"""Keep workspaces (工作区)."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from app.domain.code import CodeId, WorkspaceId
from app.domain.workspace import Defaults, Workspace
from app.store.database import Reading, Writing
from app.store.tables import codes, next_version, workspaces


async def insert(tx: Writing, workspace: Workspace) -> None:
    """Write a new workspace."""
    await tx.execute(sa.insert(workspaces).values(**asdict(workspace)))


async def find(connection: Reading | Writing, workspace: WorkspaceId) -> Workspace:
    """Read one workspace, which somebody with a key to it knows to exist."""
    return _workspace((await connection.execute(sa.select(workspaces).where(workspaces.c.id == workspace))).one())


async def lock(tx: Writing, workspace: WorkspaceId) -> Workspace:
    """Read one workspace and keep everybody else from editing it or its keys until the transaction ends."""
    query = sa.select(workspaces).where(workspaces.c.id == workspace).with_for_update(key_share=True)
    return _workspace((await tx.execute(query)).one())


async def list_all(connection: Reading | Writing) -> list[Workspace]:
    """Read every workspace, oldest first. For operators only: no request may ever get here."""
    return [_workspace(row) for row in await connection.execute(sa.select(workspaces).order_by(workspaces.c.id))]


async def update(tx: Writing, workspace: WorkspaceId, values: Mapping[str, object]) -> Workspace:
    """Change a workspace and give it its next version."""
    query = (
        sa.update(workspaces)
        .where(workspaces.c.id == workspace)
        .values(**values, version=next_version(workspaces.c.version))
        .returning(workspaces)
    )
    return _workspace((await tx.execute(query)).one())


async def lock_codes(tx: Writing, workspace: WorkspaceId) -> list[CodeId]:
    """Lock every open code of a workspace, always in the same order, so that no two of these wait for each other."""
    query = (
        sa.select(codes.c.id)
        .where(codes.c.workspace_id == workspace, codes.c.closed_at.is_(None))
        .order_by(codes.c.id)
        .with_for_update(key_share=True)
    )
    return [CodeId(row[0]) for row in await tx.execute(query)]


async def bump_codes(tx: Writing, workspace: WorkspaceId) -> None:
    """Give every open code of a workspace its next version."""
    await tx.execute(
        sa.update(codes)
        .where(codes.c.workspace_id == workspace, codes.c.closed_at.is_(None))
        .values(version=next_version(codes.c.version))
    )


async def lock_making(tx: Writing) -> None:
    """Let one process at a time look whether there is a workspace, and make the first."""
    await tx.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended("huoma:first-workspace", 0))))


def _workspace(row: sa.Row[Any]) -> Workspace:
    return Workspace(
        WorkspaceId(row.id), row.name, row.time_zone, Defaults(**row.defaults), row.version, row.created_at
    )
