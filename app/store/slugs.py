"""Read every slug there is, and let who reads them wait for those that are just being made."""

from collections.abc import AsyncIterator
from typing import Final

import sqlalchemy as sa

from app.domain.code import Slug, WorkspaceId
from app.store.database import Database, Writing
from app.store.tables import slugs

# Read at a time: some tens of ms.
_PAGE: Final = 10_000
_MAKING: Final = sa.func.hashtext("huoma slugs")


async def make(tx: Writing) -> None:
    """Say that this transaction makes a slug. Raises: StoreAway."""
    await tx.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(_MAKING)))


async def made(tx: Writing) -> None:
    """Wait until every slug that is being made is, or never will be; others wait meanwhile.

    Raises: StoreAway — also when one takes more than two seconds to be made.
    """
    await tx.execute(sa.text("set local lock_timeout = '2s'"))
    await tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_MAKING)))


async def count(database: Database) -> int:
    """Count the forms of all slugs: one of each, two where it has capitals. Raises: StoreAway."""
    capitals = sa.func.count().filter(slugs.c.slug != sa.func.lower(slugs.c.slug))
    async with database.reading() as connection:
        return await connection.scalar(sa.select(sa.func.count() + capitals).select_from(slugs)) or 0


async def pages(database: Database, workspace: WorkspaceId | None = None) -> AsyncIterator[list[Slug]]:
    """Read all slugs, or those of a workspace, that were made when it began, and perhaps later ones.

    Shapes: a page at a time. Raises: StoreAway.
    """
    last = ""
    while True:
        query = sa.select(slugs.c.slug).where(slugs.c.slug > last).order_by(slugs.c.slug).limit(_PAGE)
        if workspace is not None:
            query = query.where(slugs.c.workspace_id == workspace)
        async with database.reading() as connection:
            page = [Slug(row[0]) for row in await connection.execute(query)]
        if not page:
            return
        yield page
        last = page[-1]
