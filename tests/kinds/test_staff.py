"""Staff codes (客服活码): accounts with a cap a day, over all codes that offer them; one visitor, one adviser."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from app.counters import keys
from app.domain.shifts import local_day
from app.domain.workspace import Workspace
from tests.conftest import Clock
from tests.kinds.conftest import Told
from tests.scanning import Process
from tests.web.api.steps import done, make_code

CONTACT = "https://u.wechat.com/M56zaWR7PAmpBFXlNPHc"


async def adviser(api: httpx.AsyncClient, name: str, cap: int | None = None, **fields: Any) -> dict[str, Any]:
    body = {"name": name, "kind": "wechat", "daily_cap": cap} | fields
    return done(await api.post("/accounts", json=body), 201)


async def staff(api: httpx.AsyncClient, *accounts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Make a staff code that offers accounts in this order; its targets are named like them."""
    code = await make_code(api, kind="staff", **fields)
    code["targets"] = []
    for i, account in enumerate(accounts):
        row = {"payload": f"{CONTACT}{code['slug'][:2]}{i}", "account_id": account["id"], "name": account["name"]}
        code["targets"].append(done(await api.post(f"/codes/{code['id']}/targets", json=row), 201))
    return code


def who(code: dict[str, Any], target: str | None) -> str:
    return next((one["name"] for one in code["targets"] if one["id"] == target), "nobody")


async def meet(process: Process, *codes: dict[str, Any], visitors: int) -> Counter[str]:
    """Let visitors come, each to one code in turn, and tell whom they met."""
    met: Counter[str] = Counter()
    for i in range(visitors):
        code = codes[i % len(codes)]
        met[who(code, (await process.phone().visit(code["slug"])).target)] += 1
    return met


async def test_a_cap_is_shared_by_every_code_and_ends_at_local_midnight(
    process: Process, api: httpx.AsyncClient, clock: Clock
) -> None:
    """Trap 11: a cap is the account's, not the code's.

    Trap 12: its day ends at local midnight.
    """
    a, b = await adviser(api, "A", 5), await adviser(api, "B")
    codes = [await staff(api, a, b), await staff(api, a, b)]
    assert await meet(process, *codes, visitors=10) == {"A": 5, "B": 5}
    clock.now = datetime(2026, 11, 21, 15, 59, 59, tzinfo=UTC)
    assert await meet(process, *codes, visitors=2) == {"B": 2}
    clock.forward(seconds=1)
    assert await meet(process, *codes, visitors=12) == {"A": 5, "B": 7}, "midnight in Shanghai"
    clock.now = datetime(2026, 11, 22, 0, 0, 1, tzinfo=UTC)
    assert await meet(process, *codes, visitors=2) == {"B": 2}, "midnight in London is none here"


@pytest.mark.parametrize("strategy", ["fill", "balance", "random"])
async def test_no_strategy_forgets_the_cap(process: Process, api: httpx.AsyncClient, strategy: str) -> None:
    """Trap 10: every strategy knows the cap."""
    a, b = await adviser(api, "A", 2), await adviser(api, "B", 3)
    code = await staff(api, a, b, strategy=strategy)
    assert await meet(process, code, visitors=9) == {"A": 2, "B": 3, "nobody": 4}


async def test_random_with_two_caps_of_five_sends_the_other_ninety_on(
    process: Process, api: httpx.AsyncClient, told: Told
) -> None:
    a, b = await adviser(api, "A", 5), await adviser(api, "B", 5)
    code = await staff(api, a, b, strategy="random", fallback={"url": "https://shop.example/"})
    assert await meet(process, code, visitors=100) == {"A": 5, "B": 5, "nobody": 90}
    assert await told.kinds(code) == {"claimed": 10, "seen": 10, "fallback capped": 90}


async def test_a_crowd_at_four_processes_never_adds_one_too_many(
    process: Process, another_process: Process, api: httpx.AsyncClient
) -> None:
    a, b = await adviser(api, "A", 5), await adviser(api, "B")
    codes = [await staff(api, a, b, strategy=strategy) for strategy in ("fill", "balance")]

    async def come(i: int) -> str:
        code = codes[i % 2]
        return who(code, (await (process, another_process)[i // 2 % 2].phone().visit(code["slug"])).target)

    met = Counter(await asyncio.gather(*map(come, range(200))))
    assert met == {"A": 5, "B": 195}


async def test_an_add_that_was_never_seen_is_given_back_to_every_code_at_once(
    process: Process, another_process: Process, api: httpx.AsyncClient, clock: Clock, workspace: Workspace
) -> None:
    a = await adviser(api, "A", 1)
    one, other = await staff(api, a), await staff(api, a)
    assert (await process.phone().scan(one["slug"])).outcome == "claimed"
    assert (await another_process.phone().scan(other["slug"])).outcome == "full"
    clock.forward(seconds=91)
    # The hold comes back with the first scan of its own code, or with the worker's round.
    assert await process.reconciler.sweep(workspace.id) == 1
    assert (await another_process.phone().scan(other["slug"])).outcome == "claimed", "nobody may be told full"


async def test_many_capped_advisers_do_not_hide_the_one_who_is_free(
    process: Process, another_process: Process, api: httpx.AsyncClient
) -> None:
    capped = [await adviser(api, f"A{i}", 1) for i in range(60)]
    code = await staff(api, *capped, await adviser(api, "last", 30))
    met = await meet(process, code, visitors=62)
    assert met["last"] == 2
    assert (await meet(another_process, code, visitors=3))["last"] == 3


async def test_one_visitor_one_adviser_while_he_may_be_shown_and_a_new_one_at_once_when_not(
    process: Process, api: httpx.AsyncClient, told: Told
) -> None:
    a, b = await adviser(api, "A", 1), await adviser(api, "B")
    code = await staff(api, a, b)
    phone = process.phone()
    assert who(code, (await phone.visit(code["slug"])).target) == "A"
    again = await phone.visit(code["slug"])
    assert (again.outcome, who(code, again.target)) == ("returned", "A"), "a cap is for new ones"
    done(await api.put(f"/accounts/{a['id']}/availability", json={"available": False}))
    moved = await phone.visit(code["slug"])
    assert (moved.outcome, who(code, moved.target)) == ("claimed", "B")
    done(await api.put(f"/accounts/{a['id']}/availability", json={"available": True}))
    assert who(code, (await phone.visit(code["slug"])).target) == "B", "he has a new adviser now"
    assert await told.kinds(code) == {"claimed": 1, "claimed again": 1, "seen": 2, "returned": 2}


async def test_who_is_away_comes_back_by_himself_to_the_second(
    process: Process, another_process: Process, api: httpx.AsyncClient, clock: Clock
) -> None:
    a, b = await adviser(api, "A"), await adviser(api, "B")
    code = await staff(api, a, b)
    for one in (process, another_process):
        assert await meet(one, code, visitors=1) == {"A": 1}
    until = (clock.now.replace(second=0, microsecond=0)).isoformat().replace("10:00:00", "10:07:23")
    done(await api.put(f"/accounts/{a['id']}/availability", json={"available": False, "until": until}))
    for seconds, expected in ((0, "B"), (7 * 60 + 22.999, "B"), (0.001, "A")):
        clock.forward(seconds=seconds)
        for one in (process, another_process):
            assert await meet(one, code, visitors=1) == {expected: 1}


async def test_a_changed_cap_is_known_by_the_next_scan_of_every_code_and_process(
    process: Process, another_process: Process, api: httpx.AsyncClient
) -> None:
    a = await adviser(api, "A", 1)
    codes = [await staff(api, a), await staff(api, a)]
    assert await meet(process, *codes, visitors=2) == {"A": 1, "nobody": 1}
    assert await meet(another_process, *codes, visitors=2) == {"nobody": 2}
    done(await api.patch(f"/accounts/{a['id']}", json={"daily_cap": 3}))
    assert await meet(another_process, codes[1], visitors=1) == {"A": 1}
    assert await meet(process, codes[0], visitors=1) == {"A": 1}
    assert await meet(process, *codes, visitors=2) == {"nobody": 2}


async def test_adds_survive_the_loss_of_redis(
    process: Process,
    another_process: Process,
    api: httpx.AsyncClient,
    redis: Redis,
    workspace: Workspace,
    clock: Clock,
) -> None:
    a, b = await adviser(api, "A", 3), await adviser(api, "B")
    one, other = await staff(api, a, b), await staff(api, a, b)
    assert await meet(process, one, visitors=2) == {"A": 2}
    await process.drain.all_of(workspace.id)
    async for key in redis.scan_iter(f"huoma:{{{workspace.id}}}:*"):
        await redis.delete(key)
    # Another code first, one that never gave anything: the adds belong to the account.
    assert await meet(another_process, other, visitors=2) == {"A": 1, "B": 1}
    assert await meet(process, one, visitors=2) == {"B": 2}
    day = local_day(clock(), workspace.time_zone)
    assert await redis.hget(keys.adds(workspace.id, day), a["id"]) == "3"


async def test_a_lifetime_limit_holds_beside_the_cap(process: Process, api: httpx.AsyncClient, clock: Clock) -> None:
    a, b = await adviser(api, "A", 2), await adviser(api, "B")
    code = await staff(api, a, b)
    done(await api.patch(f"/targets/{code['targets'][0]['id']}", json={"member_limit": 3}))
    assert await meet(process, code, visitors=3) == {"A": 2, "B": 1}
    clock.forward(days=1)
    assert await meet(process, code, visitors=3) == {"A": 1, "B": 2}


async def test_a_newcomer_to_a_balance_is_not_flooded(process: Process, api: httpx.AsyncClient) -> None:
    a, b = await adviser(api, "A"), await adviser(api, "B")
    code = await staff(api, a, b, strategy="balance")
    await meet(process, code, visitors=40)
    c = await adviser(api, "C")
    row = {"payload": f"{CONTACT}zz9", "account_id": c["id"], "name": "C"}
    code["targets"].append(done(await api.post(f"/codes/{code['id']}/targets", json=row), 201))
    assert await meet(process, code, visitors=30) == {"A": 10, "B": 10, "C": 10}
