"""Lose what PostgreSQL had committed, as a failover or the restore of an older dump does; Redis goes on knowing it."""

import sqlalchemy as sa

from app.domain.code import WorkspaceId
from app.store.database import Database
from app.store.tables import (
    channels,
    code_totals,
    codes,
    events,
    metadata,
    options,
    qr_revisions,
    rests,
    slugs,
    stat_hours,
    target_totals,
    targets,
    workspaces,
)


async def lose_target(database: Database, target: str) -> str:
    """Take a target and all that was recorded of it out of the record; answer with its code."""
    async with database.writing() as tx:
        code = str(await tx.scalar(sa.select(targets.c.code_id).where(targets.c.id == target)))
        for table in (events, stat_hours, target_totals, qr_revisions):
            await tx.execute(sa.delete(table).where(table.c.target_id == target))
        await tx.execute(sa.delete(targets).where(targets.c.id == target))
        await tx.execute(sa.update(codes).where(codes.c.id == code).values(version=codes.c.version - 1))
    return code


async def lose_code(database: Database, code: str) -> None:
    """Take a code and all that was recorded of it out of the record."""
    async with database.writing() as tx:
        made = await tx.execute(sa.select(targets.c.id).where(targets.c.code_id == code))
        await tx.execute(sa.delete(qr_revisions).where(qr_revisions.c.target_id.in_([row[0] for row in made])))
        for table in (events, stat_hours, target_totals, code_totals, rests, targets, slugs, channels, options):
            await tx.execute(sa.delete(table).where(table.c.code_id == code))
        await tx.execute(sa.delete(codes).where(codes.c.id == code))


async def lose_workspace(database: Database, workspace: WorkspaceId) -> None:
    """Take a workspace and all that belongs to it out of the record."""
    async with database.writing() as tx:
        for table in reversed(metadata.sorted_tables):
            if "workspace_id" in table.c:
                await tx.execute(sa.delete(table).where(table.c.workspace_id == workspace))
            elif table is qr_revisions:
                gone = sa.select(targets.c.id).where(targets.c.workspace_id == workspace)
                await tx.execute(sa.delete(table).where(table.c.target_id.in_(gone)))
        await tx.execute(sa.delete(workspaces).where(workspaces.c.id == workspace))


async def kept_target(database: Database, target: str) -> list[tuple[sa.Table, dict[str, object]]]:
    """Read the rows that make a target, to bring them back as a newer dump does."""
    kept: list[tuple[sa.Table, dict[str, object]]] = []
    async with database.reading() as connection:
        for table, column in ((targets, "id"), (qr_revisions, "target_id"), (target_totals, "target_id")):
            rows = await connection.execute(sa.select(table).where(table.c[column] == target))
            kept += [(table, dict(row._mapping)) for row in rows]
    return kept


async def bring_back(database: Database, kept: list[tuple[sa.Table, dict[str, object]]]) -> None:
    """Write the rows of a target again."""
    async with database.writing() as tx:
        for table, row in kept:
            await tx.execute(sa.insert(table).values(row))
