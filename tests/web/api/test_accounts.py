"""Accounts over the API: what they are, when they may be offered, and which codes they change."""

from datetime import datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import keys, versions
from app.domain.code import AccountId, CodeId
from app.domain.shifts import local_day
from app.domain.workspace import Workspace
from app.services.recalling import Recaller
from app.store.database import Database
from app.store.tables import account_days
from app.web.api import ApiContext
from tests.conftest import Clock, client
from tests.scanning import Process
from tests.web.api.steps import done, make_account, make_code, make_target, payload, refused

# 18:00 on a Saturday in Shanghai.
NOW = "2026-11-21T10:00:00Z"
NIGHTS = [{"days": ["fri", "sat"], "from": "22:00", "to": "06:00"}]


async def test_an_account_reads_as_it_was_made(api: httpx.AsyncClient) -> None:
    said = {
        "name": "小春",
        "kind": "wechat",
        "daily_cap": 40,
        "shifts": [{"days": ["mon", "sat"], "from": "09:00", "to": "24:00"}],
        "special_dates": [
            {"date": "2026-10-01", "windows": []},
            {"date": "2026-10-02", "windows": [{"from": "10:00", "to": "12:00"}]},
        ],
    }
    response = await api.post("/accounts", json=said)
    made = done(response, 201)
    assert made == said | {
        "id": made["id"], "available": True, "until": None, "adds_today": 0, "counts": "recorded", "state": "live",
        "version": 1, "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    assert response.headers["etag"] == '"1"'
    read = await api.get(f"/accounts/{made['id']}")
    assert (done(read), read.headers["etag"]) == (made, '"1"')
    assert done(await api.get("/accounts"))["items"] == [made]


async def test_nothing_said_is_no_cap_and_no_hours(api: httpx.AsyncClient) -> None:
    made = await make_account(api, shifts=[], special_dates=None)
    assert (made["daily_cap"], made["shifts"], made["special_dates"], made["state"]) == (None, [], [], "live")


def special(count: int) -> list[dict[str, Any]]:
    days = [datetime.fromtimestamp(1_800_000_000 + 86_400 * n).date() for n in range(count)]  # noqa: DTZ006
    return [{"date": day.isoformat(), "windows": []} for day in days]


WINDOW = {"from": "10:00", "to": "12:00"}
OVERLAP = [{"days": ["sun"], "from": "22:00", "to": "06:00"}, {"days": ["mon"], "from": "05:59", "to": "08:00"}]
BAD_HOURS: list[tuple[dict[str, Any], str, str]] = [
    ({"shifts": [{"days": [], **WINDOW}]}, "invalid", "shifts.0.days"),
    ({"shifts": [{"days": ["monday"], **WINDOW}]}, "invalid", "shifts.0.days.0"),
    ({"shifts": [{"days": ["mon"], "from": "24:00", "to": "12:00"}]}, "invalid", "shifts.0.from"),
    ({"shifts": [{"days": ["mon"], "from": "09:00", "to": "24:01"}]}, "invalid", "shifts.0.to"),
    ({"shifts": [{"days": ["mon"], "from": "9:00", "to": "12:00"}]}, "invalid", "shifts.0.from"),
    ({"shifts": [{"days": ["mon"], "from": "09:00", "to": "12:00:30"}]}, "invalid", "shifts.0.to"),
    ({"shifts": [{"days": ["mon"], "from": "09:00\n", "to": "12:00"}]}, "invalid", "shifts.0.from"),
    ({"shifts": [{"days": ["mon"], "from": 900, "to": "12:00"}]}, "invalid", "shifts.0.from"),
    ({"shifts": [{"days": ["mon"], "from": "09:00"}]}, "invalid", "shifts.0.to"),
    ({"shifts": [{"days": ["mon"], **WINDOW, "zone": "UTC"}]}, "invalid", "shifts.0.zone"),
    ({"shifts": [{"days": ["mon"], "from": "09:00", "to": "09:00"}]}, "empty_shift", "shifts.0"),
    ({"shifts": [{"days": ["mon"], "from": "00:00", "to": "00:00"}]}, "empty_shift", "shifts.0"),
    ({"shifts": [{"days": ["mon", "mon"], **WINDOW}]}, "overlapping_shifts", "shifts"),
    ({"shifts": OVERLAP}, "overlapping_shifts", "shifts"),
    (
        {"shifts": [{"days": ["mon"], "from": f"{h:02}:00", "to": f"{h:02}:30"} for h in range(11)]},
        "too_many_shifts", "shifts",
    ),
    ({"shifts": [{"days": ["mon"], **WINDOW}] * 71}, "invalid", "shifts"),
    ({"special_dates": [{"date": "2026-02-30", "windows": []}]}, "invalid", "special_dates.0.date"),
    ({"special_dates": [{"date": "20261001", "windows": []}]}, "invalid", "special_dates.0.date"),
    ({"special_dates": [{"date": 1795000000, "windows": []}]}, "invalid", "special_dates.0.date"),
    ({"special_dates": [{"date": "2026-10-01T00:00:00Z", "windows": []}]}, "invalid", "special_dates.0.date"),
    ({"special_dates": [{"date": "2026-10-01"}]}, "invalid", "special_dates.0.windows"),
    ({"special_dates": [{"date": "2026-10-01", "windows": [WINDOW] * 11}]}, "invalid", "special_dates.0.windows"),
    ({"special_dates": [{"date": "2026-10-01", "windows": [WINDOW] * 2}]}, "overlapping_shifts", "special_dates"),
    ({"special_dates": [{"date": "2026-10-01", "windows": []}] * 2}, "repeated_date", "special_dates.1"),
    ({"special_dates": special(401)}, "invalid", "special_dates"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "code", "where"),
    [
        *BAD_HOURS,
        ({"name": ""}, "invalid", "name"),
        ({"name": "a\x00b"}, "invalid", "name"),
        ({"kind": "line"}, "invalid", "kind"),
        ({"kind": None}, "invalid", "kind"),
        ({"daily_cap": -1}, "invalid", "daily_cap"),
        ({"daily_cap": "5"}, "invalid", "daily_cap"),
        ({"daily_cap": 10**9 + 1}, "invalid", "daily_cap"),
        ({"available": False}, "invalid", "available"),
        ({"id": "0" * 16}, "invalid", "id"),
    ],
)
async def test_an_account_that_cannot_be_is_refused_and_nothing_is_saved(
    api: httpx.AsyncClient, fields: dict[str, object], code: str, where: str
) -> None:
    refused(await api.post("/accounts", json={"name": "n", "kind": "wecom"} | fields), 422, code, where)
    assert done(await api.get("/accounts"))["items"] == []


async def test_an_account_may_have_four_hundred_special_dates(api: httpx.AsyncClient) -> None:
    made = await make_account(api, special_dates=special(400))
    assert done(await api.get(f"/accounts/{made['id']}"))["special_dates"] == special(400)


@pytest.mark.parametrize(
    ("fields", "code", "where"),
    [
        *BAD_HOURS,
        ({}, "invalid", None),
        ({"name": None}, "invalid", "name"),
        ({"kind": "wechat"}, "invalid", "kind"),
        ({"daily_cap": -1}, "invalid", "daily_cap"),
        ({"available": False}, "invalid", "available"),
    ],
)
async def test_a_change_that_cannot_be_is_refused_and_changes_nothing(
    api: httpx.AsyncClient, fields: dict[str, object], code: str, where: str | None
) -> None:
    account = await make_account(api, daily_cap=5, shifts=NIGHTS)
    live = await make_code(api)
    await make_target(api, live, account_id=account["id"])
    before = done(await api.get(f"/codes/{live['id']}"))
    refused(await api.patch(f"/accounts/{account['id']}", json=fields), 422, code, where)
    assert done(await api.get(f"/accounts/{account['id']}")) == account
    assert done(await api.get(f"/codes/{live['id']}")) == before


async def test_what_is_left_out_of_a_change_stays(api: httpx.AsyncClient) -> None:
    days = [{"date": "2026-10-01", "windows": []}]
    url = f"/accounts/{(await make_account(api, daily_cap=5, shifts=NIGHTS, special_dates=days))['id']}"
    steps: list[tuple[dict[str, Any], tuple[object, ...]]] = [
        ({"name": "小夏"}, ("小夏", 5, NIGHTS, days)),
        ({"daily_cap": None}, ("小夏", None, NIGHTS, days)),
        ({"daily_cap": 0}, ("小夏", 0, NIGHTS, days)),
        ({"special_dates": None}, ("小夏", 0, NIGHTS, [])),
        ({"special_dates": days}, ("小夏", 0, NIGHTS, days)),
        ({"shifts": []}, ("小夏", 0, [], days)),
        ({"special_dates": []}, ("小夏", 0, [], [])),
        ({"shifts": NIGHTS}, ("小夏", 0, NIGHTS, [])),
    ]
    version = 1
    for change, expected in steps:
        response = await api.patch(url, json=change)
        changed = done(response)
        assert tuple(changed[name] for name in ("name", "daily_cap", "shifts", "special_dates")) == expected, change
        assert changed["version"] > version
        version = changed["version"]
        assert response.headers["etag"] == f'"{version}"'
        assert done(await api.get(url)) == changed


async def test_an_account_is_changed_only_in_the_version_that_was_seen(api: httpx.AsyncClient) -> None:
    account = await make_account(api)
    url, stale = f"/accounts/{account['id']}", {"If-Match": '"9"'}
    for response in (
        await api.patch(url, json={"name": "n"}, headers=stale),
        await api.put(f"{url}/availability", json={"available": False}, headers=stale),
        await api.delete(url, headers=stale),
    ):
        refused(response, 412, "changed_meanwhile")
    assert done(await api.get(url)) == account
    named = await api.patch(url, json={"name": "n"}, headers={"If-Match": '"1"'})
    seen = {"If-Match": named.headers["etag"]}
    away = await api.put(f"{url}/availability", json={"available": False}, headers=seen)
    refused(await api.delete(url, headers=seen), 412, "changed_meanwhile")
    assert (await api.delete(url, headers={"If-Match": away.headers["etag"]})).status_code == 204


async def test_a_state_is_what_a_scan_would_find(api: httpx.AsyncClient, clock: Clock) -> None:
    account = await make_account(api, daily_cap=0, shifts=NIGHTS)
    url = f"/accounts/{account['id']}"
    assert account["state"] == "off_shift"
    clock.forward(hours=4)
    assert done(await api.get(url))["state"] == "unavailable", "a cap of 0 is not over at midnight"
    assert done(await api.patch(url, json={"daily_cap": 1}))["state"] == "live"
    assert done(await api.put(f"{url}/availability", json={"available": False}))["state"] == "unavailable"


async def test_who_is_away_is_back_by_himself(api: httpx.AsyncClient, clock: Clock) -> None:
    account = await make_account(api)
    target = await make_target(api, await make_code(api), account_id=account["id"])
    until = "2026-11-21T12:00:00Z"
    url = f"/accounts/{account['id']}"
    away = done(await api.put(f"{url}/availability", json={"available": False, "until": "2026-11-21T20:00:00+08:00"}))
    assert (away["available"], away["until"], away["state"]) == (False, until, "unavailable")
    clock.now = datetime.fromisoformat("2026-11-21T11:59:59.999999Z")
    assert done(await api.get(f"/targets/{target['id']}"))["state"] == "unavailable"
    clock.now = datetime.fromisoformat(until)
    back = done(await api.get(url))
    assert (back["available"], back["until"], back["state"]) == (True, None, "live")
    assert done(await api.get(f"/targets/{target['id']}"))["state"] == "live"
    done(await api.put(f"{url}/availability", json={"available": False}))
    clock.forward(days=300)
    assert done(await api.get(url))["available"] is False
    assert done(await api.put(f"{url}/availability", json={"available": True}))["available"] is True


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        ({"available": True, "until": "2026-11-22T00:00:00Z"}, "bad_until", "until"),
        ({"available": False, "until": NOW}, "bad_until", "until"),
        ({"available": False, "until": "2026-11-20T00:00:00Z"}, "bad_until", "until"),
        ({"available": False, "until": "2026-11-22T00:00:00"}, "invalid", "until"),
        ({"available": "no"}, "invalid", "available"),
        ({"until": "2026-11-22T00:00:00Z"}, "invalid", "available"),
        ({"available": False, "reason": "ill"}, "invalid", "reason"),
    ],
)
async def test_an_absence_that_cannot_be_is_refused(
    api: httpx.AsyncClient, body: dict[str, object], code: str, where: str
) -> None:
    account = await make_account(api)
    refused(await api.put(f"/accounts/{account['id']}/availability", json=body), 422, code, where)
    assert done(await api.get(f"/accounts/{account['id']}")) == account


async def test_a_change_is_seen_by_the_next_scan_of_every_code_that_offers_it(
    api: httpx.AsyncClient, workspace: Workspace, redis: Redis, another_process: Process
) -> None:
    recaller = another_process.recaller
    account = await make_account(api)
    offering, paused, other, closed, former = [await make_code(api) for _ in range(5)]
    targets = {
        code["id"]: await make_target(api, code, account_id=account["id"])
        for code in (offering, paused, closed, former)
    }
    await make_target(api, other)
    done(await api.patch(f"/targets/{targets[paused['id']]['id']}", json={"status": "paused"}))
    await api.delete(f"/targets/{targets[former['id']]['id']}")
    await api.delete(f"/codes/{closed['id']}")
    codes = (offering, paused, other, closed, former)
    entries = [await recaller.entry(CodeId(code["id"])) for code in codes]
    before = [done(await api.get(f"/codes/{code['id']}"))["version"] for code in codes]

    done(await api.put(f"/accounts/{account['id']}/availability", json={"available": False}))

    after = [done(await api.get(f"/codes/{code['id']}"))["version"] for code in codes]
    assert [new > old for old, new in zip(before, after, strict=True)] == [True, True, False, False, False]
    assert after[2:] == before[2:]
    for code, entry in zip((offering, paused), entries[:2], strict=True):
        assert entry.code.accounts[AccountId(account["id"])].available
        in_force = await versions.in_force(redis, workspace.id, CodeId(code["id"]))
        assert in_force.state.startswith("!"), "who knows the old version is told that it is stale"
        again = (await recaller.reread(entry)).code
        assert not again.accounts[AccountId(account["id"])].available
        assert again.version > entry.code.version


async def test_a_change_is_published_at_once_where_the_code_is_served(
    context: ApiContext, api: httpx.AsyncClient, workspace: Workspace, redis: Redis, recaller: Recaller
) -> None:
    account, code = await make_account(api), await make_code(api)
    await make_target(api, code, account_id=account["id"])
    await recaller.entry(CodeId(code["id"]))
    done(await api.patch(f"/accounts/{account['id']}", json={"daily_cap": 7}))
    version = done(await api.get(f"/codes/{code['id']}"))["version"]
    assert (await versions.in_force(redis, workspace.id, CodeId(code["id"]))).state == str(version)
    entry = await recaller.entry(CodeId(code["id"]))
    assert entry.code.accounts[AccountId(account["id"])].daily_cap == 7


async def test_an_account_that_is_offered_stays(api: httpx.AsyncClient) -> None:
    account = await make_account(api)
    code, closing = await make_code(api), await make_code(api)
    target = await make_target(api, code, account_id=account["id"])
    await make_target(api, closing, account_id=account["id"])
    url = f"/accounts/{account['id']}"
    refused(await api.delete(url), 409, "account_in_use")
    await api.delete(f"/codes/{closing['id']}")
    refused(await api.delete(url), 409, "account_in_use")
    done(await api.patch(f"/targets/{target['id']}", json={"status": "paused"}))
    refused(await api.delete(url), 409, "account_in_use")
    assert done(await api.get(url))["version"] == 1
    done(await api.patch(f"/targets/{target['id']}", json={"account_id": None}))
    assert (await api.delete(url)).status_code == 204


async def test_a_removed_account_is_gone(api: httpx.AsyncClient) -> None:
    account, code = await make_account(api), await make_code(api)
    url = f"/accounts/{account['id']}"
    assert (await api.delete(url)).status_code == 204
    for response in (
        await api.get(url),
        await api.patch(url, json={"name": "n"}),
        await api.put(f"{url}/availability", json={"available": True}),
        await api.delete(url),
    ):
        refused(response, 404, "not_found")
    assert done(await api.get("/accounts"))["items"] == []
    row = {"payload": payload(), "account_id": account["id"]}
    refused(await api.post(f"/codes/{code['id']}/targets", json=row), 422, "unknown_account", "account_id")


async def test_accounts_are_listed_in_pages_newest_first(api: httpx.AsyncClient, clock: Clock) -> None:
    for n in range(3):
        clock.forward(seconds=1)
        await make_account(api, name=f"a{n}")
    page = done(await api.get("/accounts?limit=2"))
    assert [one["name"] for one in page["items"]] == ["a2", "a1"]
    rest = done(await api.get(f"/accounts?limit=2&cursor={page['next']}"))
    assert ([one["name"] for one in rest["items"]], rest["next"]) == (["a0"], None)
    refused(await api.get("/accounts?cursor=x"), 422, "bad_cursor")


async def test_adds_of_today_are_those_of_the_counters(
    api: httpx.AsyncClient, workspace: Workspace, redis: Redis, clock: Clock
) -> None:
    account = await make_account(api, daily_cap=3)
    target = await make_target(api, await make_code(api), account_id=account["id"])
    today = local_day(clock(), workspace.time_zone)
    await redis.hset(keys.adds(workspace.id, today), account["id"], "3")
    found = done(await api.get(f"/accounts/{account['id']}"))
    assert (found["adds_today"], found["counts"], found["state"]) == (3, "live", "capped")
    assert done(await api.get("/accounts"))["items"] == [found]
    assert done(await api.get(f"/targets/{target['id']}"))["state"] == "capped"
    # Shanghai's midnight is six hours away.
    clock.forward(hours=6)
    found = done(await api.get(f"/accounts/{account['id']}"))
    assert (found["adds_today"], found["counts"], found["state"]) == (0, "recorded", "live")
    assert done(await api.get(f"/targets/{target['id']}"))["state"] == "live"


async def test_adds_of_today_are_those_of_the_record_while_redis_is_away(
    context: ApiContext, api: httpx.AsyncClient, workspace: Workspace, database: Database, clock: Clock,
    redis: Redis, away_redis: Redis, recaller: Recaller,
) -> None:  # fmt: skip
    account = await make_account(api, daily_cap=3)
    target = await make_target(api, await make_code(api), account_id=account["id"])
    before = done(await api.get(f"/codes/{target['code_id']}"))
    today = local_day(clock(), workspace.time_zone)
    days = {"workspace_id": workspace.id, "account_id": account["id"]}
    async with database.writing() as tx:
        await tx.execute(
            sa.insert(account_days), [days | {"day": today, "adds": 3}, days | {"day": today - 1, "adds": 50}]
        )
    without = ApiContext.of(
        database=database, redis=away_redis, publisher=recaller, reader=context.targets._reader,
        public_url="https://qr.example", clock=clock,
    )  # fmt: skip
    async with client(without, api.headers["Authorization"].removeprefix("Bearer ")) as api_without:
        found = done(await api_without.get(f"/accounts/{account['id']}"))
        assert (found["adds_today"], found["counts"], found["state"]) == (3, "recorded", "capped")
        shown = done(await api_without.get(f"/targets/{target['id']}"))
        assert (shown["state"], shown["counts"]) == ("capped", "recorded")
        url = f"/accounts/{account['id']}"
        refused(await api_without.patch(url, json={"name": "n"}), 503, "counters_away")
        refused(await api_without.put(f"{url}/availability", json={"available": False}), 503, "counters_away")
    assert done(await api.get(url))["version"] == 1
    assert done(await api.get(f"/codes/{target['code_id']}")) == before
