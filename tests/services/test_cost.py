"""Count what a scan costs: commands to Redis and statements to PostgreSQL."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.store.database import Database
from tests.conftest import Clock
from tests.kinds.conftest import group
from tests.kinds.test_staff import adviser, staff
from tests.scanning import Make, Process
from tests.web.api.steps import done, make_code


class Cost:
    """Count SQL statements of one engine, and calls of Redis."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.commands: dict[str, int] = {}

    @property
    def trips(self) -> int:
        """Count the calls of scripts; what these run inside is no round trip."""
        return self.commands.get("evalsha", 0) + self.commands.get("eval", 0)


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
    """Trap 20: a scan asks Redis once, and nobody else."""
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


NIGHT_AND_DAY = [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "00:00", "to": "24:00"}]


@pytest.mark.parametrize("strategy", ["fill", "balance", "random"])
async def test_a_staff_code_costs_one_command_under_every_strategy(
    process: Process, api: httpx.AsyncClient, costing: Any, strategy: str
) -> None:
    accounts = [await adviser(api, f"a{i}", 5, shifts=NIGHT_AND_DAY) for i in range(3)]
    staffed = await staff(api, *accounts, strategy=strategy, new_seats_per_minute=100)
    await process.phone().visit(staffed["slug"])
    cost = await costing(lambda: process.phone().scan(staffed["slug"]))
    assert (cost.trips, cost.statements) == (1, [])


async def test_links_menus_options_channels_and_fallbacks_cost_one_command(
    process: Process, api: httpx.AsyncClient, costing: Any
) -> None:
    link = await make_code(api, kind="link")
    done(await api.post(f"/codes/{link['id']}/targets", json={"url": "https://shop.example/"}), 201)
    menu = await make_code(api, kind="menu")
    options = {"options": [{"label": "店", "code_id": link["id"]}]}
    done(await api.put(f"/codes/{menu['id']}/options", json=options))
    channel = done(await api.post(f"/codes/{link['id']}/channels", json={"name": "海报"}), 201)
    falls = await group(api, 0, fallback={"url": "https://shop.example/"})
    off = await group(api, 5, disabled=True)
    for path in (link["slug"], menu["slug"], f"{menu['slug']}/1", channel["slug"], falls["slug"], off["slug"]):
        await process.phone().scan(path)
        cost = await costing(lambda path=path: process.phone().scan(path))
        assert (path, cost.trips, cost.statements) == (path, 1, [])


async def test_each_code_that_sends_on_costs_one_command_more(
    process: Process, api: httpx.AsyncClient, costing: Any
) -> None:
    last = await group(api, 5)
    first = await group(api, 0, fallback={"code_id": last["id"]})
    await process.phone().scan(first["slug"])
    cost = await costing(lambda: process.phone().scan(first["slug"]))
    assert (cost.trips, cost.statements) == (2, [])
