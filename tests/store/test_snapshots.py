"""Read a code while it is edited: what is read is what was committed, all of it."""

import asyncio

import sqlalchemy as sa

from app.domain.code import CodeId
from app.store import snapshots
from app.store.database import Database
from app.store.tables import codes, workspaces
from tests.scanning import Make


async def test_a_reader_who_waited_for_an_edit_sees_the_whole_of_it(database: Database, code: Make) -> None:
    made = await code(5)

    async def read() -> tuple[str, str]:
        async with database.writing() as connection:
            found = await snapshots.read_code(connection, CodeId(made.id))
            return found.name, found.time_zone

    async with database.writing() as tx:
        await tx.execute(sa.select(codes.c.id).where(codes.c.id == made.id).with_for_update())
        reading = asyncio.create_task(read())
        await _until_somebody_waits(database)
        await tx.execute(sa.update(codes).where(codes.c.id == made.id).values(name="new"))
        await tx.execute(sa.update(workspaces).where(workspaces.c.id == made.workspace).values(time_zone="Asia/Urumqi"))

    assert await reading == ("new", "Asia/Urumqi")


async def _until_somebody_waits(database: Database) -> None:
    async with asyncio.timeout(10), database.reading() as connection:
        while not await connection.scalar(sa.text("select count(*) from pg_locks where not granted")):
            await connection.rollback()
