"""Keep the counters of codes that rest (休眠). A rest is believed only when nothing can have happened since."""

from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.domain.code import CodeId, WorkspaceId
from app.domain.rest import Rest
from app.store.database import Reading, Writing
from app.store.tables import codes, rests


async def lock_codes(tx: Writing, wanted: Collection[CodeId]) -> list[CodeId]:
    """Lock those codes that nobody is editing, reading or letting rest; the others are left out.

    Who reads one shares its lock until it is in force: so nobody can be between the two while its counters are packed.
    """
    query = sa.select(codes.c.id).where(codes.c.id.in_(wanted)).with_for_update(skip_locked=True, key_share=True)
    return [CodeId(row[0]) for row in await tx.execute(query)]


async def keep(tx: Writing, found: Mapping[CodeId, tuple[WorkspaceId, Rest]]) -> None:
    """Keep what was packed, in place of any earlier rest of the same code. Cost: one statement."""
    if not found:
        return
    rows = [
        {
            "code_id": code,
            "workspace_id": workspace,
            "token": rest.token,
            "epoch": rest.epoch,
            "seats": rest.seats,
            "base": rest.base,
            "seq": rest.seq,
            "counts": rest.counts,
            "seen": rest.seen,
            "complete": False,
        }
        for code, (workspace, rest) in found.items()
    ]
    statement = insert(rests).values(rows)
    new = {column.name: statement.excluded[column.name] for column in rests.c if column.name != "code_id"}
    await tx.execute(statement.on_conflict_do_update(index_elements=[rests.c.code_id], set_=new))


async def settle(tx: Writing, token: str, done: Sequence[CodeId], undone: Sequence[CodeId]) -> None:
    """Complete those rests of one attempt that came about, and drop the others. Cost: at most two statements."""
    mine = rests.c.token == token
    if done:
        await tx.execute(sa.update(rests).where(mine, rests.c.code_id.in_(done)).values(complete=True))
    if undone:
        await tx.execute(sa.delete(rests).where(mine, rests.c.code_id.in_(undone)))


async def find(connection: Reading | Writing, code: CodeId) -> Rest | None:
    """Read the last rest of a code, which may long be over. Cost: one query by primary key."""
    return (await find_all(connection, [code])).get(code)


async def find_all(connection: Reading | Writing, wanted: Collection[CodeId]) -> dict[CodeId, Rest]:
    """Read the last rests of some codes; those that never rested are left out. Cost: one query by primary key."""
    rows = await connection.execute(sa.select(rests).where(rests.c.code_id.in_(wanted)))
    return {
        CodeId(row.code_id): Rest(
            row.token, row.epoch, row.seats, row.base, row.seq, row.counts, row.seen, row.complete
        )
        for row in rows
    }


async def lock(tx: Writing, code: CodeId) -> str | None:
    """Lock the rest of a code and name it; None when there is none.

    Who wakes a code at the same time waits, and finds it gone.
    """
    return await tx.scalar(sa.select(rests.c.token).where(rests.c.code_id == code).with_for_update())


async def forget(tx: Writing, code: CodeId) -> None:
    """Drop the rest of a code."""
    await tx.execute(sa.delete(rests).where(rests.c.code_id == code))
