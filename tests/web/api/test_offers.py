"""Targets that are offered by accounts, and targets with hours of their own."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from app.domain.code import AccountId, CodeId, TargetId
from app.services.recalling import Recaller
from tests.conftest import Clock
from tests.web.api.steps import done, make_account, make_code, make_target, payload, refused
from tests.web.api.test_accounts import BAD_HOURS

HOURS: dict[str, Any] = {
    "shifts": [{"days": ["sat"], "from": "09:00", "to": "18:30"}],
    "special_dates": [{"date": "2026-11-22", "windows": [{"from": "20:00", "to": "02:00"}]}],
}


async def test_a_target_offers_an_account_and_has_hours_of_its_own(api: httpx.AsyncClient, recaller: Recaller) -> None:
    account, code = await make_account(api, daily_cap=9), await make_code(api)
    made = await make_target(api, code, account_id=account["id"], **HOURS)
    assert {name: made[name] for name in ("account_id", "shifts", "special_dates")} == {
        "account_id": account["id"], **HOURS,
    }  # fmt: skip
    assert "handicap" not in made
    assert {**done(await api.get(f"/targets/{made['id']}")), "counts": "recorded"} == made
    found = (await recaller.entry(CodeId(code["id"]))).code
    target = found.target(TargetId(made["id"]))
    assert target is not None
    assert target.account == account["id"]
    assert not target.shifts.always
    assert found.accounts[AccountId(account["id"])].daily_cap == 9


async def test_a_target_without_either_has_none(api: httpx.AsyncClient) -> None:
    made = await make_target(api, await make_code(api))
    assert (made["account_id"], made["shifts"], made["special_dates"]) == (None, [], [])


async def test_a_picture_may_be_offered_by_an_account(api: httpx.AsyncClient, samples: Path) -> None:
    account, code = await make_account(api), await make_code(api)
    image = {"image": (samples / "group_en.png").read_bytes()}
    url = f"/codes/{code['id']}/targets"
    refused(await api.post(url, files=image, data={"account_id": "nobody"}), 422, "invalid", "account_id")
    refused(await api.post(url, files=image, data={"account_id": "0" * 16}), 422, "unknown_account", "account_id")
    refused(await api.post(url, files=image, data={"shifts": "[]"}), 422, "invalid", "shifts")
    made = done(await api.post(url, files=image, data={"account_id": account["id"]}), 201)
    assert made["account_id"] == account["id"]


async def test_a_batch_names_every_row_whose_account_or_hours_cannot_be(api: httpx.AsyncClient) -> None:
    account, code = await make_account(api), await make_code(api)
    url = f"/codes/{code['id']}/targets/batch"
    empty = [{"days": ["mon"], "from": "09:00", "to": "09:00"}]
    rows: list[dict[str, Any]] = [
        {"payload": payload(), "account_id": account["id"]},
        {"payload": payload(), "shifts": empty},
        {"payload": payload(), "special_dates": HOURS["special_dates"] * 2},
    ]
    problem = refused(await api.post(url, json={"targets": rows}), 422, "batch_refused")
    assert [(one["where"], one["code"]) for one in problem["errors"]] == [
        ("targets.1.shifts.0", "empty_shift"),
        ("targets.2.special_dates.1", "repeated_date"),
    ]
    rows[1:] = [{"payload": payload(), "account_id": "0" * 16}, {"payload": payload()}]
    problem = refused(await api.post(url, json={"targets": rows}), 422, "batch_refused")
    assert [(one["where"], one["code"]) for one in problem["errors"]] == [("targets.1.account_id", "unknown_account")]
    assert done(await api.get(f"/codes/{code['id']}"))["version"] == 1
    rows[1] |= {"account_id": account["id"], **HOURS}
    made = done(await api.post(url, json={"targets": rows}), 201)["items"]
    assert [one["account_id"] for one in made] == [account["id"], account["id"], None]
    assert [one["shifts"] for one in made] == [[], HOURS["shifts"], []]


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [*BAD_HOURS, ({"account_id": "x"}, "invalid", "account_id"), ({"handicap": 5}, "invalid", "handicap")],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    api: httpx.AsyncClient, change: dict[str, Any], code: str, where: str
) -> None:
    live = await make_code(api)
    target = await make_target(api, live, account_id=(await make_account(api))["id"], **HOURS)
    before = done(await api.get(f"/codes/{live['id']}"))
    refused(await api.patch(f"/targets/{target['id']}", json=change), 422, code, where)
    row = {"payload": payload(), **change}
    refused(await api.post(f"/codes/{live['id']}/targets", json=row), 422, code, where)
    assert {**done(await api.get(f"/targets/{target['id']}")), "counts": "recorded"} == target
    assert done(await api.get(f"/codes/{live['id']}")) == before


async def test_account_and_hours_change_one_by_one_and_go_with_null(api: httpx.AsyncClient) -> None:
    one, other = await make_account(api), await make_account(api)
    target = await make_target(api, await make_code(api), account_id=one["id"], **HOURS)
    shifts, dates = HOURS["shifts"], HOURS["special_dates"]
    steps: list[tuple[dict[str, Any], tuple[object, ...]]] = [
        ({"account_id": other["id"]}, (other["id"], shifts, dates)),
        ({"name": "n"}, (other["id"], shifts, dates)),
        ({"shifts": None}, (other["id"], [], dates)),
        ({"account_id": None}, (None, [], dates)),
        ({"special_dates": None}, (None, [], [])),
        ({"shifts": shifts, "account_id": one["id"]}, (one["id"], shifts, [])),
    ]
    for change, expected in steps:
        changed = done(await api.patch(f"/targets/{target['id']}", json=change))
        assert tuple(changed[name] for name in ("account_id", "shifts", "special_dates")) == expected, change


async def test_a_state_counts_the_hours_of_the_target_and_of_its_account(api: httpx.AsyncClient, clock: Clock) -> None:
    # It is 18:00 on a Saturday in Shanghai.
    account = await make_account(api, shifts=[{"days": ["sat"], "from": "18:15", "to": "20:00"}])
    code = await make_code(api)
    both = await make_target(api, code, account_id=account["id"], **HOURS)
    own = await make_target(api, code, **HOURS)
    free = await make_target(api, code)

    async def states() -> list[str]:
        listed = done(await api.get(f"/codes/{code['id']}/targets"))["items"]
        states = {one["id"]: one["state"] for one in listed}
        assert states == {one: done(await api.get(f"/targets/{one}"))["state"] for one in states}
        return [states[one["id"]] for one in (both, own, free)]

    assert [one["state"] for one in (both, own, free)] == ["off_shift", "live", "live"]
    assert await states() == ["off_shift", "live", "live"]
    clock.forward(minutes=15)
    assert await states() == ["live"] * 3
    clock.forward(minutes=15)
    assert await states() == ["off_shift", "off_shift", "live"]
    done(await api.patch("/workspace", json={"time_zone": "Asia/Tokyo"}))
    assert await states() == ["off_shift", "off_shift", "live"]
    done(await api.patch("/workspace", json={"time_zone": "Asia/Bangkok"}))
    assert await states() == ["off_shift", "live", "live"]
    recounted = done(await api.post(f"/targets/{both['id']}/members", json={"count": 5}))
    assert (recounted["state"], recounted["account_id"]) == ("off_shift", account["id"])
    renewed = done(await api.put(f"/targets/{both['id']}/qr", json={"payload": payload()}))
    assert (renewed["state"], renewed["account_id"], renewed["shifts"]) == ("off_shift", account["id"], HOURS["shifts"])
