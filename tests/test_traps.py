"""What other live-code systems fell into, by number (tests/facts/traps.md): each has a test that says which it is."""

import logging
import re
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.store.database import Database
from app.store.tables import slugs
from tests.scanning import Make, Process

HERE = Path(__file__).parent
TRAPS = (HERE / "facts" / "traps.md").read_text(encoding="utf-8")
NUMBERS = {int(number) for number in re.findall(r"(?:^|· )(\d+) ", TRAPS, re.MULTILINE)}


def test_every_trap_has_a_test_that_names_its_number() -> None:
    named = {
        int(number)
        for path in HERE.rglob("test_*.py")
        for number in re.findall(r'(?:"""|^    )Trap (\d+): ', path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert set(range(1, 31)) == NUMBERS
    assert named == NUMBERS


async def test_what_every_visitor_meets_is_no_news(
    process: Process, code: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Trap 17: nobody is called for each scan of a full code; what is counted is in /metrics."""
    made = await code(1)
    with caplog.at_level(logging.INFO):
        outcomes = [(await process.phone().scan(made.slug)).outcome for _ in range(20)]
    assert outcomes == ["claimed", *["full"] * 19]
    assert [record.message for record in caplog.records if record.name.startswith("huoma")] == []


async def test_redis_is_never_asked_for_all_its_keys(
    process: Process, code: Make, api: httpx.AsyncClient, redis: Redis
) -> None:
    """Trap 19: neither a life of a code, from its first scan to its end, nor a rebuild asks KEYS or FLUSHALL."""
    before = await redis.info("commandstats")
    made = await code(5)
    await process.phone().visit(made.slug)
    await process.drain.once(made.workspace)
    assert await process.reconciler.verify(made.workspace) == []
    await process.reconciler.rebuild(made.workspace)
    await process.phone().visit(made.slug)
    assert (await api.delete(f"/codes/{made.id}")).status_code == 204
    after = await redis.info("commandstats")
    for name in ("cmdstat_keys", "cmdstat_flushall", "cmdstat_flushdb"):
        assert after.get(name) == before.get(name)
    assert after["cmdstat_evalsha"]["calls"] > before.get("cmdstat_evalsha", {"calls": 0})["calls"]


async def test_a_slug_is_looked_up_by_an_index(database: Database, code: Make) -> None:
    """Trap 27: what a scan of a code that nobody knows yet asks PostgreSQL is one row by an index."""
    slug = (await code(1)).slug
    lookup = sa.select(slugs.c.workspace_id, slugs.c.code_id, slugs.c.channel).where(slugs.c.slug == slug)
    async with database.reading() as connection:
        # A table of a few rows is read whole, which says nothing of one with a million.
        await connection.execute(sa.text("set local enable_seqscan = off"))
        asked = lookup.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        plan = "\n".join((await connection.execute(sa.text(f"explain {asked}"))).scalars())
    assert "Index" in plan, plan
    assert "Seq Scan" not in plan, plan
