"""A visitor who is erased is named nowhere, and everything he did stays counted."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import keys
from app.domain.code import CodeId, WorkspaceId
from app.domain.pseudonym import Pseudonyms
from app.domain.workspace import Scope, Workspace
from app.services.draining import Drain
from app.services.erasing import KEPT, Eraser
from app.store import partitions
from app.store.database import Database
from app.store.tables import erasures, events
from app.web.api import ApiContext
from tests.conftest import Clock, client, key_to
from tests.scanning import SECRET, Make, Phone, Process
from tests.web.api.steps import done, refused

Named = Callable[[str], Awaitable[list[str]]]


@pytest.fixture
def pseudonyms() -> Pseudonyms:
    return Pseudonyms(lambda: [SECRET])


@pytest.fixture
def eraser(database: Database, redis: Redis, pseudonyms: Pseudonyms) -> Eraser:
    return Eraser(database, redis, pseudonyms)


@pytest.fixture
def drain(database: Database, redis: Redis, pseudonyms: Pseudonyms) -> Drain:
    return Drain(database, redis, pseudonyms)


@pytest.fixture
def named(database: Database) -> Named:
    """Tell by which names the visitors of a code are recorded."""

    async def named(code: str) -> list[str]:
        async with database.reading() as connection:
            query = sa.select(events.c.visitor).where(events.c.code_id == code, events.c.seat > 0)
            return sorted({row[0] for row in await connection.execute(query)})

    return named


def carried(phone: Phone) -> str:
    """Read a visitor's id out of his cookie."""
    [token] = phone.client.cookies.values()
    return token.split(".")[5]


async def kept(database: Database, workspace: WorkspaceId) -> str:
    """Spell every row of a workspace in every table."""
    found = []
    async with database.reading() as connection:
        tables = await connection.execute(
            sa.text("select table_name from information_schema.columns where column_name = 'workspace_id'")
        )
        for (table,) in tables.all():
            rows = await connection.execute(sa.text(f"select * from {table} where workspace_id = '{workspace}'"))
            found += [str(row) for row in rows]
    return "\n".join(found)


async def test_the_record_names_visitors_by_a_keyed_hash_of_what_they_carry(
    process: Process, drain: Drain, code: Make, named: Named, pseudonyms: Pseudonyms, database: Database
) -> None:
    made = await code(5)
    phones = [process.phone() for _ in range(2)]
    for phone in (*phones, phones[0]):
        await phone.visit(made.slug)
    await drain.all_of(made.workspace)
    ids = [carried(phone) for phone in phones]
    assert await named(made.id) == sorted(pseudonyms.namer(made.workspace)(one) for one in ids)
    told = await kept(database, made.workspace)
    assert all(one not in told for one in ids)
    [old, new] = Pseudonyms(lambda: [b"another secret of ours", SECRET]).names(made.workspace, ids[0])[1:]
    assert new in await named(made.id)
    assert old != new != pseudonyms.namer(WorkspaceId("another"))(ids[0])
    assert re.fullmatch(r"[A-Za-z0-9_-]{12}", new)


async def test_an_erased_visitor_is_named_nowhere_and_stays_counted(
    process: Process, drain: Drain, eraser: Eraser, code: Make, named: Named, clock: Clock, database: Database
) -> None:
    made = await code(5)
    gone, stays = process.phone(), process.phone()
    for phone in (gone, stays):
        await phone.visit(made.slug)
    await drain.all_of(made.workspace)
    await gone.scan(made.slug)
    before = await named(made.id)
    # What others have asked for is done first, so that it is not counted here.
    while await eraser.some():
        pass
    await eraser.ask(made.workspace, carried(gone), clock())
    await drain.all_of(made.workspace)
    assert await eraser.some() == 1
    assert await eraser.some() == 0
    [nobody, other] = await named(made.id)
    assert (nobody, other in before) == ("", True)
    told = await kept(database, made.workspace)
    assert all(name not in told for name in before if name != other)
    assert carried(gone) not in told

    # His place stays his, and nothing that is recorded of it later names him.
    assert (await gone.scan(made.slug)).outcome == "returned"
    await drain.all_of(made.workspace)
    assert await named(made.id) == ["", other]
    assert await process.reconciler.verify(made.workspace) == []


async def test_what_waits_in_the_stream_is_recorded_without_his_name(
    process: Process, drain: Drain, eraser: Eraser, code: Make, named: Named, clock: Clock
) -> None:
    made = await code(5)
    phone = process.phone()
    await phone.visit(made.slug)
    await eraser.ask(made.workspace, carried(phone), clock())
    await eraser.some()
    await drain.all_of(made.workspace)
    assert await named(made.id) == [""]
    assert await process.reconciler.verify(made.workspace) == []


async def test_the_hold_of_an_erased_visitor_goes_back_and_his_id_leaves_redis(
    process: Process, drain: Drain, eraser: Eraser, code: Make, clock: Clock, redis: Redis
) -> None:
    made = await code(5)
    gone, stays = process.phone(), process.phone()
    await gone.scan(made.slug)
    await stays.scan(made.slug)
    await eraser.ask(made.workspace, carried(gone), clock())
    await process.reconciler.sweep(made.workspace)
    await drain.all_of(made.workspace)
    holds = await redis.zrange(keys.code_keys(made.workspace, CodeId(made.id))[2], 0, -1)
    assert [str(seat).rpartition(".")[2] for seat in holds] == [carried(stays)]
    assert await made.places(redis) == [(1, 1)]
    assert await process.reconciler.verify(made.workspace) == []


async def test_a_drain_that_began_before_hides_nothing_from_the_erasure(
    process: Process, drain: Drain, eraser: Eraser, code: Make, named: Named, clock: Clock, database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    made = await code(5)
    phone = process.phone()
    await phone.visit(made.slug)
    append = drain._record

    async def slow(*arguments: Any) -> Any:
        batch = await append(*arguments)
        await eraser.ask(made.workspace, carried(phone), clock())
        erasing.append(asyncio.create_task(eraser.some()))
        done_, _ = await asyncio.wait(erasing, timeout=0.5)
        assert not done_, "it waits for who records without knowing"
        return batch

    erasing: list[asyncio.Task[int]] = []
    monkeypatch.setattr(drain, "_record", slow)
    await drain.once(made.workspace)
    await erasing[0]
    assert await named(made.id) == [""]


async def test_erasing_is_for_admins_is_repeatable_and_leaves_other_workspaces_alone(
    process: Process, context: ApiContext, drain: Drain, api: httpx.AsyncClient, stranger_api: httpx.AsyncClient,
    workspace: Workspace, code: Make, named: Named, eraser: Eraser,
) -> None:  # fmt: skip
    made = await code(5)
    phone = process.phone()
    await phone.visit(made.slug)
    await drain.all_of(made.workspace)
    path = f"/visitors/{carried(phone)}"
    for scope in (Scope.READ, Scope.WRITE):
        async with client(context, await key_to(context, workspace, scope)) as lesser:
            refused(await lesser.delete(path), 403, "insufficient_scope")
    async with client(context) as nobody:
        refused(await nobody.delete(path), 401, "unauthenticated")
    before = await named(made.id)
    answers = [await stranger_api.delete(path), await stranger_api.delete("/visitors/nobody-knows")]
    await eraser.some()
    assert await named(made.id) == before != [""]
    answers += [await api.delete(path), await api.delete(path)]
    assert {(one.status_code, one.content) for one in answers} == {(204, b"")}
    assert (await api.delete(f"/visitors/{'x' * 65}")).status_code == 404
    assert done(await api.get("/codes"))["items"]


async def test_tombstones_are_kept_as_long_as_a_cookie_may_live(
    eraser: Eraser, database: Database, workspace: Workspace, clock: Clock
) -> None:
    async def tombstones() -> int:
        async with database.reading() as connection:
            query = sa.select(sa.func.count()).where(erasures.c.workspace_id == workspace.id)
            return await connection.scalar(query) or 0

    await eraser.ask(workspace.id, "first", clock())
    await eraser.some()
    clock.forward(days=KEPT.days - 1)
    await eraser.ask(workspace.id, "second", clock())
    assert await tombstones() == 2
    clock.forward(days=2)
    await eraser.ask(workspace.id, "third", clock())
    assert await tombstones() == 2


async def test_a_day_that_was_dropped_meanwhile_is_no_trouble(
    eraser: Eraser, database: Database, workspace: Workspace, clock: Clock
) -> None:
    await partitions.erase(database, clock().date().replace(year=2001), workspace.id, ["x"])
    await eraser.ask(workspace.id, "somebody", clock())
    assert await eraser.some() >= 1
