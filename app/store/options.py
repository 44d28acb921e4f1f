"""Keep the options (选项) of menus. One that was removed keeps its row, so that its number is never given again."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.code import CodeId, Option, WorkspaceId
from app.store.database import Reading, Writing
from app.store.tables import options


async def list_all(connection: Reading | Writing, workspace: WorkspaceId, menu: CodeId) -> list[Option]:
    """Read the options of a menu that were not removed, in order."""
    query = (
        sa.select(options.c.number, options.c.label, options.c.hint, options.c.leads_to)
        .where(options.c.workspace_id == workspace, options.c.code_id == menu, options.c.removed_at.is_(None))
        .order_by(options.c.position)
    )
    return [Option(row.number, row.label, row.hint, CodeId(row.leads_to)) for row in await connection.execute(query)]


async def last_number(tx: Writing, menu: CodeId) -> int:
    """Find the highest number that an option of a locked menu ever had."""
    found = await tx.scalar(sa.select(sa.func.max(options.c.number)).where(options.c.code_id == menu))
    return found or 0


async def replace_all(
    tx: Writing, workspace: WorkspaceId, menu: CodeId, wanted: Sequence[Option], now: datetime
) -> None:
    """Write the options of a locked menu in their order, and remove those that are not among them."""
    await tx.execute(
        sa.update(options)
        .where(
            options.c.code_id == menu,
            options.c.removed_at.is_(None),
            options.c.number.not_in([option.number for option in wanted]),
        )
        .values(removed_at=now)
    )
    if not wanted:
        return
    rows = [
        {
            "code_id": menu, "number": option.number, "workspace_id": workspace, "position": position,
            "label": option.label, "hint": option.hint, "leads_to": option.code,
        }
        for position, option in enumerate(wanted)
    ]  # fmt: skip
    query = upsert(options).values(rows)
    changed = {name: query.excluded[name] for name in ("position", "label", "hint", "leads_to")}
    await tx.execute(query.on_conflict_do_update(index_elements=[options.c.code_id, options.c.number], set_=changed))
