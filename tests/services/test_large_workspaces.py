"""Edit what many codes depend on, in a workspace of 50,000 codes, while their visitors go on scanning."""

import asyncio
import time
from typing import Any

import httpx
import sqlalchemy as sa

from app.domain.code import CodeId
from app.domain.workspace import Workspace
from app.store import tables
from app.store.database import Database
from tests.scanning import Process
from tests.web.api.steps import done, make_account, make_code, make_target, refused

CODES = 50_000
SCANNED = 8
# Few enough for the time that a statement has on a busy machine.
COPIED_TOGETHER = 5_000
# An edit is answered in about 3 s on two quiet cores, and its codes' scans wait for less than one.
ANSWERED_SECONDS = 20.0
GAP_SECONDS = 4.0

_COPY_CODES = """
    insert into codes ({columns}) select {values} from codes, generate_series(cast(:first as int), :last) as n
    where codes.id = :like
"""
_COPY_TARGETS = """
    insert into targets ({columns}) select {values} from targets, generate_series(cast(:first as int), :last) as n
    where targets.id = :like
"""


async def copy_code(database: Database, code: dict[str, Any], target: dict[str, Any], number: int) -> None:
    """Make so many codes like one, each with a target like its own."""
    theirs = f"substr(md5('{code['id']}' || n), 1, 15)"
    changed = {"codes": {"id": theirs, "slug": theirs}, "targets": {"id": theirs, "code_id": theirs}}
    async with database.writing() as tx:
        for table, like, text in (
            (tables.codes, code["id"], _COPY_CODES),
            (tables.targets, target["id"], _COPY_TARGETS),
        ):
            columns = [column.name for column in table.columns]
            values = [changed[table.name].get(name, f"{table.name}.{name}") for name in columns]
            statement = sa.text(text.format(columns=", ".join(columns), values=", ".join(values)))
            for first in range(0, number, COPIED_TOGETHER):
                last = min(first + COPIED_TOGETHER, number) - 1
                await tx.execute(statement, {"first": first, "last": last, "like": like})
        # A server does so by itself within a minute.
        await tx.execute(sa.text("analyze codes, targets"))


async def scanning(process: Process, slugs: list[str], ended: asyncio.Event) -> tuple[set[str], float]:
    """Scan some codes one after another until something has ended; answer with what was met, and the longest wait."""
    phones, met, longest = {slug: process.phone() for slug in slugs}, set(), 0.0
    while not ended.is_set():
        for slug in slugs:
            begun = time.monotonic()
            met.add((await phones[slug].scan(slug)).outcome)
            longest = max(longest, time.monotonic() - begun)
    return met, longest


async def edited(
    api: httpx.AsyncClient, process: Process, slugs: list[str], method: str, url: str, body: object
) -> None:
    """Edit something while visitors scan: none of them may wait for long, or be sent away."""
    ended = asyncio.Event()
    scans = asyncio.create_task(scanning(process, slugs, ended))
    begun = time.monotonic()
    done(await api.request(method, url, json=body))
    took = time.monotonic() - begun
    ended.set()
    met, longest = await scans
    assert met <= {"claimed", "returned", "full"}
    assert took < ANSWERED_SECONDS
    assert longest < GAP_SECONDS


async def test_fifty_thousand_codes_are_edited_at_once_while_visitors_scan(
    process: Process, another_process: Process, api: httpx.AsyncClient, database: Database, workspace: Workspace
) -> None:
    account = await make_account(api)
    made = [await make_code(api, kind="staff") for _ in range(SCANNED)]
    targets = [await make_target(api, code, account_id=account["id"]) for code in made]
    await copy_code(database, made[0], targets[0], CODES - SCANNED)
    slugs, each = [code["slug"] for code in made], (process, another_process)
    assert {(await one.phone().visit(slug)).outcome for one in each for slug in slugs} == {"claimed"}
    # One of the codes rests, and both processes remember it.
    assert await process.rester.rest([(workspace.id, CodeId(made[0]["id"]))]) == 1

    of_account = f"/accounts/{account['id']}"
    await edited(api, process, slugs, "PATCH", "/workspace", {"time_zone": "Asia/Tokyo"})
    await edited(api, process, slugs, "PATCH", of_account, {"daily_cap": 1_000_000})
    async with database.reading() as connection:
        query = sa.select(sa.func.count()).select_from(tables.codes)
        query = query.where(tables.codes.c.workspace_id == workspace.id, tables.codes.c.version == 1)
        assert await connection.scalar(query) == 0, "every code has a new version"
    await edited(api, process, slugs, "PUT", f"{of_account}/availability", {"available": False})
    assert {(await one.phone().scan(slug)).outcome for one in each for slug in slugs} == {"full"}
    refused(await api.delete(of_account), 409, "account_in_use")
