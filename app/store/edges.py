"""Read which code leads to which: by its fallback (兜底), or as a menu by its options (选项)."""

from collections.abc import Collection

import sqlalchemy as sa

from app.domain.code import CodeId, CodeKind, WorkspaceId
from app.store.database import Writing
from app.store.tables import codes, options

_FALLBACK = codes.c.fallback["code_id"].astext


async def lock(tx: Writing, workspace: WorkspaceId) -> None:
    """Let one transaction at a time lead codes of a workspace to others, so that two cannot close a circle together.

    Taken before any row is locked.
    """
    name = sa.func.hashtextextended(f"huoma:edges:{workspace}", 0)
    await tx.execute(sa.select(sa.func.pg_advisory_xact_lock(name)))


async def open_kinds(tx: Writing, workspace: WorkspaceId, named: Collection[CodeId]) -> dict[CodeId, CodeKind]:
    """Read the kinds of those codes that are there and open."""
    query = sa.select(codes.c.id, codes.c.kind).where(
        codes.c.workspace_id == workspace, codes.c.id.in_(named), codes.c.closed_at.is_(None)
    )
    return {CodeId(row.id): CodeKind(row.kind) for row in await tx.execute(query)}


async def goals(tx: Writing, workspace: WorkspaceId, sources: Collection[CodeId]) -> set[CodeId]:
    """Read where some codes lead, by fallback or option."""
    by_fallback = sa.select(_FALLBACK).where(
        codes.c.workspace_id == workspace, codes.c.id.in_(sources), _FALLBACK.is_not(None)
    )
    by_option = sa.select(options.c.leads_to).where(options.c.code_id.in_(sources), options.c.removed_at.is_(None))
    return {CodeId(row[0]) for row in await tx.execute(sa.union(by_fallback, by_option))}


async def fallback_of(tx: Writing, workspace: WorkspaceId, code: CodeId) -> CodeId | None:
    """Read the code that one falls back to."""
    found = await tx.scalar(sa.select(_FALLBACK).where(codes.c.workspace_id == workspace, codes.c.id == code))
    return None if found is None else CodeId(found)


async def falling_to(tx: Writing, workspace: WorkspaceId, named: Collection[CodeId]) -> set[CodeId]:
    """Read which codes fall back to one of these. Cost: looks at every code of the workspace."""
    query = sa.select(codes.c.id).where(codes.c.workspace_id == workspace, _FALLBACK.in_(named))
    return {CodeId(row[0]) for row in await tx.execute(query)}
