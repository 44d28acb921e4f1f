"""Explain says what a scan would be given, and the scan agrees."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Clock
from tests.kinds.conftest import MakeLink, group
from tests.kinds.test_shifts import DAY, NIGHT
from tests.kinds.test_staff import adviser, meet, staff
from tests.scanning import Process
from tests.web.api.steps import done, make_code, refused

SHANGHAI = ZoneInfo("Asia/Shanghai")


async def explain(api: httpx.AsyncClient, code: dict[str, Any], **query: Any) -> dict[str, Any]:
    return done(await api.get(f"/codes/{code['id']}/explain", params=query))


async def test_each_target_that_would_not_be_given_has_one_reason(
    process: Process, api: httpx.AsyncClient, clock: Clock
) -> None:
    accounts = {
        "capped": await adviser(api, "capped", 1),
        "off_shift": await adviser(api, "off_shift", shifts=[NIGHT]),
        "unavailable": await adviser(api, "unavailable"),
        "paused": await adviser(api, "paused"),
        "expired": await adviser(api, "expired"),
        "full": await adviser(api, "full"),
        "live": await adviser(api, "live"),
    }
    code = await staff(api, *accounts.values())
    ids = {target["name"]: target["id"] for target in code["targets"]}
    for name in set(ids) - {"capped", "off_shift"}:
        done(await api.put(f"/accounts/{accounts[name]['id']}/availability", json={"available": False}))
    await meet(process, code, visitors=1)
    for name in set(ids) - {"unavailable"}:
        done(await api.put(f"/accounts/{accounts[name]['id']}/availability", json={"available": True}))
    done(await api.patch(f"/targets/{ids['paused']}", json={"status": "paused"}))
    done(await api.patch(f"/targets/{ids['expired']}", json={"expires_at": "2026-11-21T10:00:01Z"}))
    done(await api.patch(f"/targets/{ids['full']}", json={"member_limit": 0}))
    clock.forward(seconds=2)
    told = await explain(api, code)
    reasons = {target["name"]: target["reason"] for target in told["targets"]}
    assert reasons == {name: None if name == "live" else name for name in ids}
    assert told["given"] == [{"target_id": ids["live"], "name": "live", "chance": 1.0}]
    assert (told["outcome"], told["reason"], told["counts"]) == ("claimed", None, "live")
    assert told["summary"] == dict.fromkeys(ids, 1)
    assert (await process.phone().visit(code["slug"])).target == ids["live"]


async def test_an_instant_to_come_is_judged_by_its_own_day_and_shift(
    process: Process, api: httpx.AsyncClient, clock: Clock
) -> None:
    code = await staff(api, await adviser(api, "night", 1, shifts=[NIGHT]), await adviser(api, "day", shifts=[DAY]))
    clock.now = datetime(2026, 11, 21, 22, 0, tzinfo=SHANGHAI)
    await meet(process, code, visitors=1)
    now = await explain(api, code)
    assert (now["outcome"], now["reason"]) == ("full", "capped")
    morning = await explain(api, code, at="2026-11-22T07:00:00+08:00")
    assert [one["name"] for one in morning["given"]] == ["day"]
    tomorrow = await explain(api, code, at="2026-11-22T23:00:00+08:00")
    assert [one["name"] for one in tomorrow["given"]] == ["night"], "the cap is of another day"


async def test_random_tells_every_chance(api: httpx.AsyncClient, link: MakeLink) -> None:
    code = await link({"url": "https://a.example/", "weight": 3}, "https://b.example/", strategy="random")
    assert [one["chance"] for one in (await explain(api, code))["given"]] == [0.75, 0.25]


async def test_codes_that_let_nobody_in_say_so(api: httpx.AsyncClient) -> None:
    off = await group(api, 5, disabled=True)
    early = await group(api, 5, opens_at="2026-11-23T00:00:00Z")
    falls = await group(api, 5, opens_at="2026-11-23T00:00:00Z", fallback={"url": "https://shop.example/"})
    menu = await make_code(api, kind="menu")
    told = [await explain(api, code) for code in (off, early, falls, menu)]
    assert [(one["outcome"], one["reason"]) for one in told] == [
        ("disabled", None), ("not_open", None), ("fallback", "not_open"), ("full", "no_options"),
    ]  # fmt: skip
    assert (await explain(api, early, at="2026-11-23T00:00:00Z"))["outcome"] == "claimed"


async def test_a_fallback_is_followed_to_where_it_leads(process: Process, api: httpx.AsyncClient) -> None:
    last = await group(api, 5, fallback={"url": "https://shop.example/"})
    first = await group(api, 0, fallback={"code_id": last["id"]})

    async def both() -> tuple[str, str, str | None]:
        told, seen = await explain(api, first), await process.phone().scan(first["slug"])
        return told["outcome"], seen.outcome, told["goal"] and (told["goal"]["code_id"] or told["goal"]["url"])

    assert await both() == ("fallback", "fallback", last["id"])
    done(await api.patch(f"/targets/{last['targets'][0]['id']}", json={"status": "paused"}))
    assert await both() == ("fallback", "fallback", "https://shop.example/")
    done(await api.patch(f"/codes/{last['id']}", json={"fallback": None}))
    assert await both() == ("full", "full", None)
    done(await api.patch(f"/codes/{last['id']}", json={"disabled": True}))
    assert await both() == ("disabled", "disabled", None)
    assert (await api.delete(f"/codes/{last['id']}")).status_code == 204
    assert await both() == ("full", "full", None)


async def test_a_channel_must_be_one_and_questions_must_make_sense(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient
) -> None:
    code = await group(api, 5)
    channel = done(await api.post(f"/codes/{code['id']}/channels", json={"name": "海报"}), 201)
    assert (await explain(api, code, channel=channel["number"]))["outcome"] == "claimed"
    refused(await api.get(f"/codes/{code['id']}/explain", params={"channel": 7}), 422, "unknown_channel", "channel")
    refused(await api.get(f"/codes/{code['id']}/explain", params={"at": "tomorrow"}), 422, "invalid", "at")
    refused(await stranger_api.get(f"/codes/{code['id']}/explain"), 404, "not_found")


async def test_explaining_takes_nothing(process: Process, api: httpx.AsyncClient) -> None:
    code = await group(api, 1)
    for _ in range(3):
        assert (await explain(api, code))["outcome"] == "claimed"
    assert (await process.phone().visit(code["slug"])).outcome == "claimed"
    assert (await explain(api, code))["outcome"] == "full"


ROWS = st.lists(
    st.fixed_dictionaries({
        "limit": st.integers(0, 2),
        "cap": st.sampled_from([None, 0, 1, 2]),
        "shifts": st.sampled_from([[], [NIGHT], [DAY]]),
        "away": st.booleans(),
        "paused": st.booleans(),
        "weight": st.integers(1, 3),
    }),
    min_size=1,
    max_size=4,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(rows=ROWS, strategy=st.sampled_from(["fill", "balance", "random"]), hours=st.integers(0, 30), data=st.data())
async def test_the_scan_does_what_explain_says(
    process: Process,
    api: httpx.AsyncClient,
    clock: Clock,
    rows: list[dict[str, Any]],
    strategy: str,
    hours: int,
    data: st.DataObject,
) -> None:
    code = await make_code(api, kind="staff", strategy=strategy)
    for i, row in enumerate(rows):
        account = await adviser(api, f"a{i}", row["cap"], shifts=row["shifts"])
        if row["away"]:
            done(await api.put(f"/accounts/{account['id']}/availability", json={"available": False}))
        target = {
            "payload": f"https://u.wechat.com/M56zaWR7PAmpBFXlNPH{code['slug'][:3]}{i}",
            "account_id": account["id"],
            "member_limit": row["limit"],
            "weight": row["weight"],
        }
        made = done(await api.post(f"/codes/{code['id']}/targets", json=target), 201)
        if row["paused"]:
            done(await api.patch(f"/targets/{made['id']}", json={"status": "paused"}))
    for _ in range(data.draw(st.integers(0, 3))):
        await process.phone().visit(code["slug"])
    before = clock.now
    at = before + timedelta(hours=hours)
    told = await explain(api, code, at=at.isoformat())
    clock.now = at
    seen = await process.phone().visit(code["slug"])
    clock.now = before
    assert seen.outcome == told["outcome"]
    likely = {one["target_id"] for one in told["given"]}
    assert (seen.target in likely) if seen.target else not likely
    assert all((one["reason"] is None) >= (one["target_id"] in likely) for one in told["targets"])
