"""Let idle codes rest, and wake some: what Redis gives back, and what the first scan after a rest costs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import sqlalchemy as sa

from app.counters import claims, sieve, versions
from app.counters.claims import Block
from app.domain import limits
from app.domain.code import NO_ACCOUNT, CodeId, Strategy, TargetId, WorkspaceId
from app.domain.rotation import Candidate, Proposal, Terms
from app.domain.shifts import local_day
from app.parts import Parts, build_parts
from app.store.database import Writing
from app.store.tables import codes, slugs, targets
from bench import claiming
from bench.loopback import Service, running_service
from bench.report import Section, machine, table
from bench.targets import OPEN, Effort

CODES: Final = 10_000
VISITORS: Final = 10
WOKEN: Final = 200
# What may be left of what idle codes cost: Redis is not weighed to the byte.
LEFT_MAX: Final = 0.05


@dataclass(frozen=True, slots=True)
class Idle:
    """Name one code that nobody scans, and what it offers."""

    workspace: WorkspaceId
    code: CodeId
    slug: str
    version: int
    targets: tuple[TargetId, ...]


def measure(effort: Effort, say: Callable[[str], None]) -> Section:
    """Fill Redis with codes that a few have visited, and let all of them rest."""
    with running_service() as service:
        return claiming.run(_measured(service, min(effort.size, CODES), say))


async def _measured(service: Service, size: int, say: Callable[[str], None]) -> Section:
    parts = build_parts(service.settings)
    try:
        say(f"making {size:,} codes")
        made = await _make(service, parts, size)
        await _fill(parts, made[:1])
        empty = await _memory(parts)
        say("visiting each")
        await _fill(parts, made)
        full = await _memory(parts)
        say("letting all of them rest")
        began = time.perf_counter()
        rested = await parts.rester.rest([(one.workspace, one.code) for one in made])
        seconds = time.perf_counter() - began
        left = await _memory(parts)
        say("waking some")
        woken, awake = [], []
        for one in made[:WOKEN]:
            woken.append(await claiming.first_scan(service, one.slug))
            awake.append(await claiming.first_scan(service, one.slug))
        broken = [] if rested == size else [f"{rested:,} of {size:,} codes went to rest"]
        if left - empty > LEFT_MAX * (full - empty):
            broken.append(f"{left - empty:,} of {full - empty:,} bytes stay in Redis")
        rows = [
            ("Redis memory of a code awake, bytes", f"{(full - empty) / size:,.0f}"),
            ("Redis memory of a code at rest, bytes", f"{(left - empty) / size:,.0f}"),
            ("codes that one worker lets rest a second, at most", f"{rested / seconds:,.0f}"),
            ("first scan in a process, code at rest, p50 ms", f"{median(woken):.1f}"),
            ("first scan in a process, code awake, p50 ms", f"{median(awake):.1f}"),
        ]
        return Section("resting", await machine(service), _text(size, rows), broken)
    finally:
        await parts.close()


def _text(size: int, rows: Sequence[tuple[str, str]]) -> str:
    return f"""\
{size:,} link codes of {OPEN} targets with {VISITORS} visitors each; then nobody comes, and all of them rest. The first
scan of {WOKEN} of them, in a process that knows nothing yet, wakes the code; another follows in the next such process.

{table(["", "measured"], rows)}
"""


async def _memory(parts: Parts) -> int:
    """Tell what Redis holds when everything is recorded."""
    for workspace in await parts.drain.workspaces():
        await parts.drain.all_of(workspace)
    return int((await parts.redis.info("memory"))["used_memory"])


async def _fill(parts: Parts, made: Sequence[Idle]) -> None:
    """Count codes and their visitors, in Redis alone: reading each from the record is not what is measured."""
    for one in made:
        now = parts.clock()
        day = local_day(now, "Asia/Shanghai")
        expected = await versions.in_force(parts.redis, one.workspace, one.code)
        publication = versions.Publication(one.code, one.version, {}, int(now.timestamp() * 1000), (day,))
        await versions.publish(parts.redis, one.workspace, publication, expected=expected, now=now)
        offered = tuple(Candidate(target, limits.UNLIMITED, 1, NO_ACCOUNT, 0, 0) for target in one.targets)
        proposal = Proposal(Strategy.BALANCE, offered, complete=True)
        asks = [claims.take_place(0, f"visitor{n}", "wechat", 0.0) for n in range(VISITORS)]
        block = Block(one.code, one.version, 0, Terms(0), proposal, asks)
        await claims.settle(parts.redis, one.workspace, int(now.timestamp() * 1000), day, [block])


async def _make(service: Service, parts: Parts, size: int) -> list[Idle]:
    """Make one code through the API, and copy it in the record."""
    with service.api as api:
        workspace = WorkspaceId(api.get("/workspace").raise_for_status().json()["id"])
        body = {"name": "poster", "kind": "link", "strategy": "balance"}
        code = api.post("/codes", json=body).raise_for_status().json()
        rows = [{"url": f"https://shop.example/{i}"} for i in range(OPEN)]
        api.post(f"/codes/{code['id']}/targets/batch", json={"targets": rows}).raise_for_status()
    async with parts.database.writing() as tx:
        await _copy(tx, codes, {"id", "slug"}, size, codes.c.id == code["id"])
        await _copy(tx, slugs, {"slug", "code_id"}, size, slugs.c.code_id == code["id"])
        await _copy(tx, targets, {"id", "code_id"}, size, targets.c.code_id == code["id"])
    # Which has never heard of these; the worker makes another.
    await sieve.forget(parts.redis)
    async with parts.database.reading() as connection:
        query = (
            sa.select(codes.c.id, codes.c.slug, codes.c.version, sa.func.array_agg(targets.c.id))
            .join_from(codes, targets, targets.c.code_id == codes.c.id)
            .where(codes.c.id.like(f"{code['id']}-%"))
            .group_by(codes.c.id)
        )
        return [
            Idle(workspace, CodeId(c), slug, version, tuple(t))
            for c, slug, version, t in await connection.execute(query)
        ]


async def _copy(tx: Writing, rows: sa.Table, named: set[str], size: int, these: sa.ColumnElement[bool]) -> None:
    """Copy some rows of a table so often; `named` columns get a number behind."""
    number = sa.func.generate_series(1, size).table_valued("n").render_derived()
    values = [
        column.op("||")("-").op("||")(number.c.n.cast(sa.Text)) if column.name in named else column for column in rows.c
    ]
    copies = sa.select(*values).join_from(rows, number, sa.true()).where(these)
    await tx.execute(sa.insert(rows).from_select(list(rows.c), copies))
