"""Count what a scan costs: commands to Redis and statements to PostgreSQL."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.store.database import Database
from tests.conftest import Clock
from tests.scanning import Make, Process


class Cost:
    """Count SQL statements of one engine, and calls of Redis."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.commands: dict[str, int] = {}


@pytest.fixture
def costing(database: Database, redis: Redis) -> Any:
    async def calls() -> dict[str, int]:
        stats = await redis.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in stats.items()}

    @contextmanager
    def statements(cost: Cost) -> Iterator[None]:
        def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            cost.statements.append(statement)

        engine = database.engine.sync_engine
        sa.event.listen(engine, "before_cursor_execute", note)
        yield
        sa.event.remove(engine, "before_cursor_execute", note)

    async def measure(work: Any) -> Cost:
        cost, before = Cost(), await calls()
        with statements(cost):
            await work()
        after = await calls()
        # Commands that a script runs inside Redis are no round trips.
        cost.commands = {
            name: after[name] - before.get(name, 0)
            for name in ("evalsha", "eval", "get", "hmget", "xlen", "hset")
            if after.get(name, 0) > before.get(name, 0)
        }
        return cost

    return measure


async def test_a_steady_scan_is_one_command_and_no_statement(process: Process, code: Make, costing: Any) -> None:
    made = await code(200)
    await process.phone().visit(made.slug)
    phone = process.phone()

    cost = await costing(lambda: phone.scan(made.slug))
    assert cost.commands.get("evalsha") == 1
    assert "eval" not in cost.commands
    assert cost.statements == []


async def test_a_picture_is_one_command_and_no_statement(process: Process, code: Make, costing: Any) -> None:
    made = await code(200)
    await process.phone().visit(made.slug)
    phone = process.phone()
    page = await phone.scan(made.slug)
    cost = await costing(lambda: phone.look(page))
    assert cost.commands.get("evalsha") == 1
    assert cost.statements == []


@pytest.mark.parametrize("agent", ["mpcrawler", "Mozilla/5.0 (iPhone) MicroMessenger/8.0"])
async def test_a_full_code_and_a_preview_cost_no_more(process: Process, code: Make, costing: Any, agent: str) -> None:
    made = await code(1)
    await process.phone().visit(made.slug)
    await process.phone().scan(made.slug)
    cost = await costing(lambda: process.phone(agent).scan(made.slug))
    assert cost.commands.get("evalsha") == 1
    assert cost.statements == []


async def test_scans_that_arrive_together_share_round_trips(process: Process, code: Make, costing: Any) -> None:
    made = await code(200)
    await process.phone().visit(made.slug)
    phones = [process.phone() for _ in range(50)]
    cost = await costing(lambda: asyncio.gather(*(phone.scan(made.slug) for phone in phones)))
    assert cost.commands["evalsha"] <= 5
    assert cost.statements == []


async def test_a_place_that_came_back_is_found_by_asking_once_more(
    process: Process, code: Make, clock: Clock, costing: Any
) -> None:
    made = await code(1)
    await process.phone().scan(made.slug)
    assert (await process.phone().scan(made.slug)).outcome == "full"
    clock.forward(seconds=91)
    phone = process.phone()
    cost = await costing(lambda: phone.visit(made.slug))
    assert cost.commands["evalsha"] == 3, "one that hears of it, one that takes it, one for the picture"
    assert cost.statements == []
