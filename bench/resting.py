"""Let idle codes rest, and wake some: what Redis gives back, and what the first scan after a rest costs."""

import time
from collections.abc import Callable
from statistics import median
from typing import Final

import sqlalchemy as sa

from app.domain.code import CodeId, WorkspaceId
from app.parts import Parts, build_parts
from app.store.database import Database, Writing
from app.store.tables import codes, slugs, targets
from bench import claiming
from bench.loopback import Service, running_service
from bench.report import Section, machine, table
from bench.targets import OPEN, Effort

CODES: Final = 10_000
VISITORS: Final = 10
WOKEN: Final = 200
# Of what idle codes cost, all must come back, but for what Redis needs to find other keys.
LEFT_MAX: Final = 0.05


def measure(effort: Effort, say: Callable[[str], None]) -> Section:
    """Fill Redis with codes that a few have visited, and let all of them rest."""
    size = min(effort.size, CODES)
    with running_service() as service:
        say(f"making {size:,} codes")
        return claiming.run(_measured(service, size, say))


async def _measured(service: Service, size: int, say: Callable[[str], None]) -> Section:
    parts = build_parts(service.settings)
    try:
        made, found = await _make(service, parts.database, size)
        say("visiting each")
        await claiming.visit(service, made[:1], VISITORS)
        empty = await _memory(parts)
        for _workspace, code in found:
            await parts.recaller.introduce(code)
        await claiming.visit(service, made, VISITORS)
        full = await _memory(parts)
        say("letting all of them rest")
        began = time.perf_counter()
        rested = await parts.rester.rest(found)
        seconds = time.perf_counter() - began
        left = await _memory(parts)
        say("waking some")
        first = [
            (await claiming.first_scan(service, slug), await claiming.first_scan(service, slug))
            for slug in made[:WOKEN]
        ]
        return _section(await machine(service), (empty, full, left), (rested, seconds), first, size)
    finally:
        await parts.close()


def _section(
    where: str, memory: tuple[int, int, int], rest: tuple[int, float], first: list[tuple[float, float]], size: int
) -> Section:
    empty, full, left = memory
    rested, seconds = rest
    woken, awake = zip(*first, strict=True)
    rows = [
        ("Redis memory of one code awake, bytes", f"{(full - empty) / size:,.0f}"),
        ("Redis memory of one code at rest, bytes", f"{(left - empty) / size:,.1f}"),
        ("codes that went to rest a second", f"{rested / seconds:,.0f}"),
        ("first scan in a process, code awake, p50 ms", f"{median(awake):.1f}"),
        ("first scan in a process, code at rest, p50 ms", f"{median(woken):.1f}"),
    ]
    broken = [] if rested == size else [f"{rested:,} of {size:,} codes went to rest"]
    if left - empty > LEFT_MAX * (full - empty):
        broken.append(f"{left - empty:,} of {full - empty:,} bytes stay in Redis")
    text = f"""\
{size:,} link codes of {OPEN} targets with {VISITORS} visitors each; then nobody comes. The first scan of {WOKEN} of
them in a process that knows nothing yet is the one that wakes them; another follows in the next such process.

{table(["", "measured"], rows)}
"""
    return Section("resting", where, text, broken)


async def _memory(parts: Parts) -> int:
    """Tell what Redis holds when everything is recorded."""
    for workspace in await parts.drain.workspaces():
        await parts.drain.all_of(workspace)
    return int((await parts.redis.info("memory"))["used_memory"])


async def _make(service: Service, database: Database, size: int) -> tuple[list[str], list[tuple[WorkspaceId, CodeId]]]:
    """Make one code through the API, and copy it in the record."""
    with service.api as api:
        workspace = api.get("/workspace").raise_for_status().json()["id"]
        code = (
            api.post("/codes", json={"name": "poster", "kind": "link", "strategy": "balance"}).raise_for_status().json()
        )
        rows = [{"url": f"https://shop.example/{i}"} for i in range(OPEN)]
        api.post(f"/codes/{code['id']}/targets/batch", json={"targets": rows}).raise_for_status()
    async with database.writing() as tx:
        await _copy(tx, codes, {"id", "slug"}, size)
        await _copy(tx, slugs, {"slug", "code_id"}, size)
        await _copy(tx, targets, {"id", "code_id"}, size)
        found = (await tx.execute(sa.select(slugs.c.slug, slugs.c.code_id))).all()
    return [row[0] for row in found], [(WorkspaceId(workspace), CodeId(row[1])) for row in found]


async def _copy(tx: Writing, rows: sa.Table, named: set[str], size: int) -> None:
    """Copy all rows of a table until there are `size` times as many; `named` columns get a number behind."""
    number = sa.func.generate_series(1, size - 1).table_valued("n").render_derived()
    values = [column.op("||")("-").op("||")(number.c.n) if column.name in named else column for column in rows.c]
    await tx.execute(sa.insert(rows).from_select(list(rows.c), sa.select(*values).join_from(rows, number, sa.true())))
