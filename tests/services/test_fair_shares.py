"""What one workspace waits for costs no other workspace its connections or its decoder."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.domain.code import CodeId
from app.domain.errors import Refusal
from app.domain.workspace import Scope, Workspace
from app.embedded import Servers
from app.qr.draw import PrintStyle
from app.qr.lettering import CaptionFont
from app.qr.reader import Reader
from app.services import printing
from app.services.keeping_workspaces import create_workspace
from app.services.printing import Printer
from app.services.recalling import Recaller
from app.settings import Settings
from app.store import codes
from app.store.database import VIEWS_WAITING, Database
from app.web.api import ApiContext
from tests.conftest import PUBLIC_URL, Clock, client, key_to
from tests.scanning import Process
from tests.web.api.steps import done, make_code, make_target


@pytest.fixture
async def small(
    servers: Servers, redis: Redis, recaller: Recaller, reader: Reader, clock: Clock, database: Database
) -> AsyncIterator[ApiContext]:
    """Be the API of a process with as many connections as the settings give it; `database` has brought the tables."""
    del database
    size = Settings().database_connections
    pool = Database(servers.database_url, pool_size=size, connect_seconds=2, statement_seconds=20)
    yield ApiContext.of(
        database=pool, redis=redis, publisher=recaller, reader=reader, public_url=PUBLIC_URL, clock=clock
    )
    await pool.close()


async def test_edits_and_scans_that_wait_for_locks_take_no_connection_from_others(
    small: ApiContext, database: Database, redis: Redis, clock: Clock, workspace: Workspace, stranger: Workspace
) -> None:
    process = Process.of(small, redis, clock)
    async with (
        client(small, await key_to(small, workspace, Scope.ADMIN)) as busy,
        client(small, await key_to(small, stranger, Scope.ADMIN)) as other,
    ):
        locked = [await make_code(busy) for _ in range(6)]
        cold = await make_code(other)
        await make_target(other, cold)
        async with database.writing() as tx:
            for code in locked:
                await codes.lock(tx, workspace.id, CodeId(code["id"]))
            edits = [
                asyncio.create_task(busy.patch(f"/codes/{locked[n % 2]['id']}", json={"name": "n"})) for n in range(24)
            ]
            scans = [asyncio.create_task(process.phone().scan(code["slug"])) for code in locked]
            await asyncio.sleep(0.5)
            # One that found no connection would be refused after `connect_seconds`, long before the locks are free.
            assert done(await other.get("/workspace"))["id"] == stranger.id
            assert (await process.phone().scan(cold["slug"])).outcome == "claimed"
            done(await other.patch(f"/codes/{cold['id']}", json={"name": "n"}))
            assert not any(task.done() for task in edits)
        assert Counter([(await edit).status_code for edit in edits]) == {200: 24}
        await asyncio.gather(*scans)


async def test_many_uploads_of_one_workspace_keep_no_other_waiting(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient, samples: Path
) -> None:
    picture = (samples / "group_zh.jpg").read_bytes()
    many, one = await make_code(api), await make_code(stranger_api)

    async def upload(client: httpx.AsyncClient, code: str) -> tuple[httpx.Response, float]:
        response = await client.post(f"/codes/{code}/targets", files={"image": picture})
        return response, time.monotonic()

    hog = [asyncio.create_task(upload(api, many["id"])) for _ in range(40)]
    await asyncio.sleep(0.2)
    (answer, at) = await upload(stranger_api, one["id"])
    assert answer.status_code == 201, answer.text
    answers = [await task for task in hog]
    refused = [response for response, _ in answers if response.status_code == 503]
    assert {response.json()["code"] for response in refused} == {"too_many_uploads"}
    assert all(response.headers["retry-after"] for response in refused)
    read = sorted(when for response, when in answers if response.status_code != 503)
    assert len(refused) + len(read) == 40
    assert sum(when < at for when in read) <= 2, "at most the one that was being read, and one that had begun before"


async def test_reports_of_some_workspaces_take_no_connection_from_others(
    small: ApiContext, database: Database, redis: Redis, clock: Clock, workspace: Workspace, stranger: Workspace
) -> None:
    process = Process.of(small, redis, clock)
    third, _ = await create_workspace(database, "third", "Asia/Shanghai", clock())
    async with (
        client(small, await key_to(small, workspace, Scope.ADMIN)) as busy,
        client(small, await key_to(small, stranger, Scope.ADMIN)) as other,
        client(small, await key_to(small, third, Scope.ADMIN)) as third_api,
    ):
        reported, cold, colder = await make_code(busy), await make_code(other), await make_code(other)
        for code in (cold, colder):
            await make_target(other, code)
        async with database.writing() as tx:
            # A report that takes long.
            await tx.execute(sa.text("lock table stat_hours in access exclusive mode"))
            asked = [f"/codes/{reported['id']}/stats", "/stats", f"/codes/{reported['id']}/stats?by=target"]
            reports = [asyncio.create_task(busy.get(asked[n % 3])) for n in range(40)]
            await asyncio.sleep(0.5)
            assert len(done(await other.get("/codes"))["items"]) == 2
            assert (await process.phone().scan(cold["slug"])).outcome == "claimed"
            # What lists and reports may take is taken now.
            reports += [asyncio.create_task(third_api.get("/stats")) for _ in range(4)]
            await asyncio.sleep(0.5)
            assert done(await other.get("/workspace"))["id"] == stranger.id
            assert (await process.phone().scan(colder["slug"])).outcome == "claimed"
            done(await other.patch(f"/codes/{cold['id']}", json={"name": "n"}))
            assert not any(task.done() for task in reports)
        assert Counter([(await report).status_code for report in reports]) == {200: 44}


async def test_more_reports_of_a_workspace_than_may_wait_are_refused(
    small: ApiContext, database: Database, workspace: Workspace
) -> None:
    async with client(small, await key_to(small, workspace, Scope.ADMIN)) as busy:
        async with database.writing() as tx:
            await tx.execute(sa.text("lock table stat_hours in access exclusive mode"))
            reports = [asyncio.create_task(busy.get("/stats")) for _ in range(VIEWS_WAITING + 3)]
            first, *_ = await asyncio.wait(reports, return_when=asyncio.FIRST_COMPLETED)
            [refused, *_] = first
            assert refused.result().json()["code"] == "too_many_reads"
            assert refused.result().headers["retry-after"]
        assert Counter([(await report).status_code for report in reports]) == {200: VIEWS_WAITING + 1, 503: 2}


async def test_many_prints_of_one_workspace_keep_no_other_waiting(
    small: ApiContext, workspace: Workspace, stranger: Workspace
) -> None:
    finished: list[str] = []
    async with (
        client(small, await key_to(small, workspace, Scope.ADMIN)) as busy,
        client(small, await key_to(small, stranger, Scope.ADMIN)) as other,
    ):
        many, one = await make_code(busy), await make_code(other)

        async def draw(api: httpx.AsyncClient, code: str, size: int) -> None:
            answer = await api.get(f"/codes/{code}/qr.png", params={"size": size, "dark": "#000000"})
            assert answer.status_code == 200, answer.text
            finished.append(code)

        hog = [asyncio.create_task(draw(busy, many["id"], 4096)) for _ in range(12)]
        await asyncio.sleep(0.2)
        before = len(finished)
        await draw(other, one["id"], 300)
        assert len(finished) - before <= 5, "those that were being drawn, and not those that waited"
        await asyncio.gather(*hog)


async def test_more_prints_of_a_workspace_than_may_wait_are_refused(
    small: ApiContext, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printing, "PRINTS_WAITING", 2)
    printer = Printer(small.database, PUBLIC_URL, CaptionFont())
    async with client(small, await key_to(small, workspace, Scope.ADMIN)) as busy:
        code = CodeId((await make_code(busy))["id"])
    drawn = await asyncio.gather(
        *(printer.draw(workspace.id, code, PrintStyle(size=4096), "png") for _ in range(6)), return_exceptions=True
    )
    refused = [one for one in drawn if isinstance(one, Refusal)]
    assert {one.code for one in refused} == {"too_many_prints"}
    assert 1 <= len(refused) <= 3
