"""Scan codes while their accounts come and go, and while newcomers join a balance."""

from collections import Counter
from typing import Any

import httpx

from tests.conftest import Clock
from tests.scanning import Make, Process
from tests.web.api.steps import done, make_account, make_code, make_target, payload


async def test_who_is_away_is_in_no_code_by_the_next_scan_and_back_by_himself(
    process: Process, another_process: Process, api: httpx.AsyncClient, clock: Clock
) -> None:
    account = await make_account(api)
    pool = [await make_code(api, kind="staff") for _ in range(2)]
    for code in pool:
        await make_target(api, code, account_id=account["id"])

    async def outcomes() -> list[str]:
        return [(await each.phone().scan(code["slug"])).outcome for code in pool for each in (process, another_process)]

    assert await outcomes() == ["claimed"] * 4
    away = {"available": False, "until": "2026-11-21T10:05:00Z"}
    done(await api.put(f"/accounts/{account['id']}/availability", json=away))
    assert await outcomes() == ["full"] * 4
    clock.forward(minutes=5)
    assert await outcomes() == ["claimed"] * 4


async def test_a_lower_cap_counts_at_once_over_all_codes(
    process: Process, another_process: Process, api: httpx.AsyncClient
) -> None:
    account = await make_account(api)
    pool = [await make_code(api, kind="staff") for _ in range(2)]
    for code in pool:
        await make_target(api, code, account_id=account["id"])
    slugs = [code["slug"] for code in pool]
    assert [(await process.phone().visit(slug)).outcome for slug in slugs] == ["claimed"] * 2
    assert done(await api.get(f"/accounts/{account['id']}"))["adds_today"] == 2
    done(await api.patch(f"/accounts/{account['id']}", json={"daily_cap": 3}))
    each = [(process, slugs[0]), (another_process, slugs[1]), (process, slugs[1]), (another_process, slugs[0])]
    assert [(await one.phone().visit(slug)).outcome for one, slug in each] == ["claimed", "full", "full", "full"]
    found = done(await api.get(f"/accounts/{account['id']}"))
    assert (found["adds_today"], found["counts"], found["state"]) == (3, "live", "capped")


async def test_a_newcomer_to_a_balance_is_not_given_everybody(
    process: Process, code: Make, api: httpx.AsyncClient
) -> None:
    made = await code(200, 200, strategy="balance")
    for _ in range(20):
        await process.phone().visit(made.slug)
    newcomer = await make_target(api, {"id": made.id})
    targets = [*made.targets, newcomer["id"]]

    async def given(visitors: int) -> list[int]:
        counted = Counter([(await process.phone().visit(made.slug)).target for _ in range(visitors)])
        return [counted[target] for target in targets]

    assert await given(9) == [3, 3, 3]
    done(await api.patch(f"/targets/{made.targets[0]}", json={"status": "paused"}))
    assert await given(10) == [0, 5, 5]
    changes: list[dict[str, Any]] = [{"status": "live"}, {"weight": 2}]
    for change in changes:
        done(await api.patch(f"/targets/{made.targets[0]}", json=change))
    assert await given(8) == [4, 2, 2]
    rows = [{"payload": payload()} for _ in range(2)]
    done(await api.post(f"/codes/{made.id}/targets/batch", json={"targets": rows}), 201)
    assert await given(12) == [4, 2, 2]
