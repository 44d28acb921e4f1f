"""One network takes at most a share of an account's day within an hour, over all codes that offer the account."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from app.counters import counts
from app.domain import limits
from app.domain.code import Account, AccountId
from app.domain.shifts import local_day
from app.domain.workspace import Workspace
from tests.conftest import Clock
from tests.kinds.conftest import Told
from tests.kinds.test_access import flood, from_
from tests.kinds.test_staff import adviser, staff, who
from tests.scanning import Phone, Process
from tests.web.api.steps import done, make_code

HERE, THERE = "203.0.113.7", "203.0.113.8"


@pytest.fixture(autouse=True)
def at_the_hour(clock: Clock) -> None:
    """Begin with a whole hour, so that no hour ends within a test."""
    clock.now = clock.now.replace(minute=0, second=0)


async def met(process: Process, address: str, code: dict[str, Any], visitors: int) -> Counter[str]:
    """Send visitors from one network and count whom they met, or else how they were answered."""
    found: Counter[str] = Counter()
    for _ in range(visitors):
        seen = await Phone(from_(process, address)).visit(code["slug"])
        found[who(code, seen.target) if seen.target else seen.outcome] += 1
    return found


@pytest.mark.parametrize("cap", [None, 3, 4, 5, 6, 19, 20, 24, 40, 10_000])
def test_a_share_is_a_quarter_of_the_cap_and_five_at_least(cap: int | None) -> None:
    account = Account(AccountId("a"), "A", limits.UNLIMITED if cap is None else cap)
    expected = {None: 0, 3: 0, 4: 0, 5: 0, 6: 5, 19: 5, 20: 5, 24: 6, 40: 10, 10_000: 2_500}
    assert account.share == expected[cap], "0: the cap alone binds"


async def test_four_codes_give_one_network_no_more_than_one_code_does(
    process: Process,
    another_process: Process,
    api: httpx.AsyncClient,
    redis: Redis,
    workspace: Workspace,
    clock: Clock,
    told: Told,
) -> None:
    ann = await adviser(api, "Ann", 20)
    codes = [await staff(api, ann) for _ in range(4)]
    found: Counter[str] = Counter()
    for i in range(40):
        one = (process, another_process)[i // 4 % 2]
        found += await met(one, HERE, codes[i % 4], 1)
    assert found == {"Ann": 5, "limited": 35}
    assert await counts.adds(redis, workspace.id, local_day(clock(), "Asia/Shanghai"), [ann["id"]]) == {ann["id"]: 5}
    assert await met(process, THERE, codes[0], 6) == {"Ann": 5, "limited": 1}, "others have a share of their own"
    clock.forward(hours=1)
    assert await met(process, HERE, codes[3], 6) == {"Ann": 5, "limited": 1}
    kinds = await told.kinds(codes[0])
    assert kinds["limited"] == 8 + 1


async def test_the_answer_is_that_of_too_many(process: Process, api: httpx.AsyncClient, clock: Clock) -> None:
    code = await staff(api, await adviser(api, "Ann", 20), fallback={"url": "https://shop.example/"})
    await flood(process, HERE, code["slug"], 5)
    clock.forward(seconds=20)
    answer = await from_(process, HERE).get(f"/{code['slug']}")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "40")


@pytest.mark.parametrize("strategy", ["fill", "balance", "random"])
async def test_an_uncapped_target_beside_it_takes_no_bound_away(
    process: Process, api: httpx.AsyncClient, strategy: str
) -> None:
    code = await staff(api, await adviser(api, "Ann", 20), await adviser(api, "Ben"), strategy=strategy)
    row = {"payload": "https://u.wechat.com/M56zaWR7PAmpBFXlNPHcz", "name": "nobody's", "weight": 1}
    code["targets"].append(done(await api.post(f"/codes/{code['id']}/targets", json=row), 201))
    found = await met(process, HERE, code, 60)
    assert found["Ann"] == 5
    assert sum(found.values()) == 60
    assert "limited" not in found, "who has no cap takes the others"
    assert (await met(process, THERE, code, 60))["Ann"] == 5


@pytest.mark.parametrize("strategy", ["fill", "balance", "random"])
async def test_the_next_account_takes_whom_the_share_of_one_leaves_over(
    process: Process, api: httpx.AsyncClient, strategy: str
) -> None:
    code = await staff(api, await adviser(api, "Ann", 8), await adviser(api, "Ben", 24), strategy=strategy)
    assert await met(process, HERE, code, 14) == {"Ann": 5, "Ben": 6, "limited": 3}
    assert await met(process, THERE, code, 12) == {"Ann": 3, "Ben": 6, "limited": 3}


async def test_visitors_of_one_moment_are_counted_together(
    process: Process, another_process: Process, api: httpx.AsyncClient
) -> None:
    ann = await adviser(api, "Ann", 20)
    codes = [await staff(api, ann) for _ in range(3)]

    async def come(i: int) -> str:
        one = (process, another_process)[i % 2]
        return (await Phone(from_(one, HERE)).scan(codes[i % 3]["slug"])).outcome

    assert Counter(await asyncio.gather(*map(come, range(60)))) == {"claimed": 5, "limited": 55}


@pytest.mark.parametrize("strategy", ["fill", "balance"])
async def test_those_beyond_the_window_are_offered_to_a_network_that_has_had_its_share(
    process: Process, api: httpx.AsyncClient, strategy: str
) -> None:
    window = limits.FILL_WINDOW if strategy == "fill" else limits.WINDOW
    accounts = [await adviser(api, f"A{i}", 8) for i in range(window)]
    code = await staff(api, *accounts, await adviser(api, "last", 8), strategy=strategy)
    found = await met(process, HERE, code, 5 * window + 7)
    assert found == {f"A{i}": 5 for i in range(window)} | {"last": 5, "limited": 2}


async def test_a_network_that_has_had_its_share_is_never_told_that_all_are_full(
    process: Process, api: httpx.AsyncClient, told: Told
) -> None:
    accounts = [await adviser(api, f"A{i}", 8) for i in range(limits.FILL_WINDOW)]
    code = await staff(api, *accounts, await adviser(api, "last", 8), fallback={"url": "https://shop.example/"})
    last = code["targets"][-1]
    assert (await met(process, HERE, code, 50)).total() == 50
    done(await api.patch(f"/targets/{last['id']}", json={"member_limit": 0}))
    assert await met(process, HERE, code, 2) == {"limited": 2}
    assert (await told.kinds(code)) == {"claimed": 50, "seen": 50, "limited": 2}, (
        "the others have room for anybody else"
    )
    assert (await met(process, THERE, code, 1)).total() == 1


async def test_a_network_is_searched_for_through_so_many_windows_and_no_more(
    process: Process, api: httpx.AsyncClient
) -> None:
    ann = await adviser(api, "Ann", 8)
    code = await make_code(api, kind="staff")
    rows = [
        {"payload": f"https://u.wechat.com/M56zaWR7PAmpBFXlN{i:04}", "account_id": ann["id"], "name": f"{i}"}
        for i in range(limits.FILL_WINDOW + 3 * limits.WINDOW)
    ]
    done(await api.post(f"/codes/{code['id']}/targets/batch", json={"targets": rows}), 201)
    assert await flood(process, HERE, code["slug"], 7) == {"claimed": 5, "limited": 2}


async def test_a_code_without_a_bound_has_none_and_counts_for_none(process: Process, api: httpx.AsyncClient) -> None:
    ann = await adviser(api, "Ann", 20)
    free, bound = await staff(api, ann, new_seats_per_minute=0), await staff(api, ann)
    assert await met(process, HERE, free, 7) == {"Ann": 7}
    assert await met(process, HERE, bound, 7) == {"Ann": 5, "limited": 2}


async def test_who_comes_from_no_network_or_a_private_one_is_not_bounded(
    process: Process, api: httpx.AsyncClient
) -> None:
    ann = await adviser(api, "Ann", 20)
    code = await staff(api, ann)
    for address in ("10.1.2.3", "192.168.1.9", "testclient"):
        assert await met(process, address, code, 6) == {"Ann": 6}


async def test_a_hold_that_comes_back_gives_no_share_back(
    process: Process, api: httpx.AsyncClient, redis: Redis, workspace: Workspace, clock: Clock
) -> None:
    ann = await adviser(api, "Ann", 20)
    code = await staff(api, ann)
    for _ in range(5):
        assert (await Phone(from_(process, HERE)).scan(code["slug"])).outcome == "claimed"
    clock.forward(seconds=91)
    await process.reconciler.sweep(workspace.id)
    assert await counts.adds(redis, workspace.id, local_day(clock(), "Asia/Shanghai"), [ann["id"]]) == {ann["id"]: 0}
    assert await met(process, HERE, code, 1) == {"limited": 1}
    assert await met(process, THERE, code, 1) == {"Ann": 1}


async def test_what_is_kept_of_a_network_names_it_nowhere_and_goes_within_two_hours(
    process: Process, api: httpx.AsyncClient, redis: Redis, workspace: Workspace, clock: Clock
) -> None:
    ann = await adviser(api, "Ann", 20)
    codes = [await staff(api, ann), await staff(api, ann)]
    for code in codes:
        await met(process, "2001:db8:1:2::1", code, 1)
        await met(process, "2001:db8:1:2:ffff::9", code, 1)
    [key] = [key async for key in redis.scan_iter(f"huoma:{{{workspace.id}}}:shares:*")]
    kept: Any = await redis.hgetall(key)
    assert list(kept.values()) == ["4"]
    [field] = kept
    assert field.endswith(f".{ann['id']}")
    assert "2001" not in field.split(".")[0]
    assert 0 < await redis.pttl(key) <= 7_200_000
    clock.forward(hours=1)
    await met(process, "2001:db8:1:2::1", codes[0], 1)
    names = {
        field
        async for key in redis.scan_iter(f"huoma:{{{workspace.id}}}:shares:*")
        for field in await redis.hgetall(key)
    }
    assert len(names) == 2, "one hour cannot be compared with another"


async def test_a_code_whose_accounts_have_no_cap_counts_no_shares(
    process: Process, api: httpx.AsyncClient, redis: Redis, workspace: Workspace
) -> None:
    code = await staff(api, await adviser(api, "Ann"), await adviser(api, "Ben", 5))
    await met(process, HERE, code, 8)
    assert [key async for key in redis.scan_iter(f"huoma:{{{workspace.id}}}:shares:*")] == []
