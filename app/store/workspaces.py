"""Keep workspaces (工作区)."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from app.domain.code import CodeId, WorkspaceId
from app.domain.workspace import Defaults, Workspace
from app.store.codes import bump_all
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


async def share(tx: Writing, workspace: WorkspaceId) -> None:
    """Keep a workspace from being edited until the transaction ends."""
    await tx.execute(sa.select(workspaces.c.id).where(workspaces.c.id == workspace).with_for_update(read=True))


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


async def bump_codes(tx: Writing, workspace: WorkspaceId) -> list[CodeId]:
    """Lock every open code of a workspace and give it its next version. Cost: as `codes.bump_all`."""
    return await bump_all(tx, [codes.c.workspace_id == workspace])


async def lock_making(tx: Writing) -> None:
    """Let one process at a time look whether there is a workspace, and make the first."""
    await tx.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended("huoma:first-workspace", 0))))


def _workspace(row: sa.Row[Any]) -> Workspace:
    return Workspace(
        WorkspaceId(row.id), row.name, row.time_zone, Defaults(**row.defaults), row.version, row.created_at
    )
