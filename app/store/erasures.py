"""Keep whom the record must not name: his names until they are out, his tombstone for as long as he may come."""

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.domain.code import WorkspaceId
from app.store.database import Reading, Writing
from app.store.tables import erasures


async def ask(tx: Writing, workspace: WorkspaceId, tombstone: str, names: Sequence[str], now: datetime) -> None:
    """Have a visitor erased, also if he was before. Cost: one statement."""
    statement = insert(erasures).values(workspace_id=workspace, tombstone=tombstone, names=list(names), asked_at=now)
    again = {"names": statement.excluded.names, "asked_at": statement.excluded.asked_at}
    await tx.execute(statement.on_conflict_do_update(constraint=erasures.primary_key, set_=again))


async def tombstones(connection: Reading | Writing, workspace: WorkspaceId) -> frozenset[str]:
    """Tell who is not to be named any more. Cost: one query by primary key."""
    rows = await connection.execute(sa.select(erasures.c.tombstone).where(erasures.c.workspace_id == workspace))
    return frozenset(row[0] for row in rows)


async def open_ones(
    connection: Reading, limit: int, *, but: Collection[WorkspaceId] = ()
) -> dict[WorkspaceId, dict[str, list[str]]]:
    """Read the names that are still to be taken out of events, by workspace and tombstone, `but` those of some.

    Cost: one query.
    """
    rows = await connection.execute(
        sa.select(erasures.c.workspace_id, erasures.c.tombstone, erasures.c.names)
        .where(erasures.c.names.is_not(None), erasures.c.workspace_id.not_in(but))
        .limit(limit)
    )
    found: dict[WorkspaceId, dict[str, list[str]]] = {}
    for workspace, tombstone, names in rows:
        found.setdefault(WorkspaceId(workspace), {})[tombstone] = names
    return found


async def settle(tx: Writing, workspace: WorkspaceId, done: Sequence[str]) -> None:
    """Forget the names of those who are out of the record. Cost: one statement."""
    await tx.execute(
        sa.update(erasures)
        .where(erasures.c.workspace_id == workspace, erasures.c.tombstone.in_(done))
        .values(names=None)
    )


async def forget(tx: Writing, before: datetime) -> None:
    """Forget tombstones of visitors who cannot come any more. Cost: one statement."""
    await tx.execute(sa.delete(erasures).where(erasures.c.asked_at < before, erasures.c.names.is_(None)))
