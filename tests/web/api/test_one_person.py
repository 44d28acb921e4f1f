"""One person (个人码) under many spellings of a QR, and accounts that are changed: a cap is never given twice."""

from typing import Any

import httpx
import pytest

from app.domain.code import TargetId
from app.domain.workspace import Workspace
from app.store.database import Database
from app.store.tables import qr_revisions, targets
from tests.scanning import Process, make
from tests.web.api.steps import contact, done, make_account, make_code, make_target, payload, refused

IN_USE = {"allow": ["qr_in_use"]}
VARIANTS = [
    ("https://u.wechat.com/M{n}", "https://u.wechat.com/M{n}?s=1"),
    ("https://u.wechat.com/M{n}?s=2", "HTTP://U.WeChat.com/M{n}?s=1"),
    ("https://work.weixin.qq.com/ct/wcde{n}", "https://work.weixin.qq.com/ct/wcde{n}?x=1#y"),
    ("https://work.weixin.qq.com/u/vc{n}?v=4.1.2", "http://work.weixin.qq.com/u/vc{n}?v=4.1.3"),
    (
        "https://work.weixin.qq.com/ca/cawcde{n}",
        "https://work.weixin.qq.com/ca/cawcde{n}?customer_channel=shop",
    ),
]


@pytest.fixture
async def accounts(api: httpx.AsyncClient) -> tuple[str, str]:
    one, other = [await make_account(api, daily_cap=3) for _ in range(2)]
    return one["id"], other["id"]


@pytest.fixture
async def staff(api: httpx.AsyncClient) -> tuple[dict[str, Any], dict[str, Any]]:
    return await make_code(api, kind="staff"), await make_code(api, kind="staff")


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("number", range(len(VARIANTS)))
async def test_two_spellings_of_one_persons_qr_are_one(
    api: httpx.AsyncClient, staff: tuple[dict[str, Any], dict[str, Any]], number: int, *, swapped: bool
) -> None:
    token = contact()[-16:]
    one, other = [text.format(n=token) for text in VARIANTS[number]][:: -1 if swapped else 1]
    there = await make_target(api, staff[0], payload=one)
    for code, refusal in zip(staff, ("same_qr", "qr_in_use"), strict=True):
        url = f"/codes/{code['id']}/targets"
        refused(await api.post(url, json={"payload": other}), 409, refusal)
        rows = [{"payload": contact()}, {"payload": other}]
        problem = refused(await api.post(f"{url}/batch", json={"targets": rows}), 422, "batch_refused")
        assert [(row["where"], row["code"]) for row in problem["errors"]] == [("targets.1", refusal)]
    twice = {"targets": [{"payload": text + "9"} for text in (one.split("?")[0], other.split("?")[0])]}
    problem = refused(await api.post(f"/codes/{staff[1]['id']}/targets/batch", json=twice), 422, "batch_refused")
    assert [row["code"] for row in problem["errors"]] == ["same_qr"]
    elsewhere = await make_target(api, staff[1], payload=VARIANTS[number][0].format(n=contact()[-16:]))
    refused(await api.put(f"/targets/{elsewhere['id']}/qr", json={"payload": other}), 409, "qr_in_use")
    done(await api.put(f"/targets/{elsewhere['id']}/qr", json={"payload": other} | IN_USE))
    assert (await api.delete(f"/targets/{there['id']}")).status_code == 204
    refused(await api.post(f"/targets/{there['id']}/restore", json={}), 409, "qr_in_use")


async def test_persons_and_groups_of_other_addresses_are_others(api: httpx.AsyncClient) -> None:
    staff, group = await make_code(api, kind="staff"), await make_code(api)
    base = contact()
    for text in (base, base + "a", base.swapcase().replace("HTTPS://U.WECHAT.COM", "https://u.wechat.com")):
        await make_target(api, staff, payload=text)
    for _ in range(2):
        await make_target(api, group, payload=payload())


async def test_a_persons_own_target_takes_another_spelling_and_refuses_the_same_one(
    api: httpx.AsyncClient, staff: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    base = contact()
    target = await make_target(api, staff[0], payload=base)
    for text in ("?s=1", "?s=2", ""):
        renewed = done(await api.put(f"/targets/{target['id']}/qr", json={"payload": base + text}))
        assert renewed["payload"] == base + text
    refused(await api.put(f"/targets/{target['id']}/qr", json={"payload": base}), 409, "same_qr")


async def test_an_account_that_two_codes_share_is_changed_in_both_or_with_a_word(
    api: httpx.AsyncClient, staff: tuple[dict[str, Any], dict[str, Any]], accounts: tuple[str, str]
) -> None:
    qr = contact()
    one = await make_target(api, staff[0], payload=qr, account_id=accounts[0])
    two = await make_target(api, staff[1], payload=qr + "?s=1", account_id=accounts[0])
    url = f"/targets/{two['id']}"
    for change in ({"account_id": None}, {"account_id": accounts[1]}):
        problem = refused(await api.patch(url, json=change), 409, "qr_in_use", "account_id")
        assert problem["there"]["target_id"] == one["id"]
    assert done(await api.get(url))["account_id"] == accounts[0]
    # What changes no account asks nothing, and what is said on purpose is done.
    done(await api.patch(url, json={"name": "同一人", "account_id": accounts[0]}))
    done(await api.patch(url, json={"account_id": accounts[1]} | IN_USE))
    # Both under one account again: nothing is in the way.
    done(await api.patch(f"/targets/{one['id']}", json={"account_id": accounts[1]}))


async def test_an_account_of_a_target_that_stands_alone_is_changed_at_will(
    api: httpx.AsyncClient, staff: tuple[dict[str, Any], dict[str, Any]], accounts: tuple[str, str]
) -> None:
    target = await make_target(api, staff[0], account_id=accounts[0])
    for account in (accounts[1], None, accounts[0]):
        assert done(await api.patch(f"/targets/{target['id']}", json={"account_id": account}))["account_id"] == account
    for _ in range(2):
        link = await make_target(api, await make_code(api, kind="link"), payload=None, url="https://shop.example/")
        done(await api.patch(f"/targets/{link['id']}", json={"account_id": accounts[0]}))


async def test_a_person_who_stood_twice_before_goes_on_and_can_be_edited(
    process: Process, api: httpx.AsyncClient, database: Database, workspace: Workspace, accounts: tuple[str, str]
) -> None:
    code = await make(api, workspace.id, kind="staff")
    one, two = [await make_target(api, {"id": code.id, "kind": "staff"}, account_id=each) for each in accounts]
    again = one["payload"] + "?s=1"
    # As an older version stored it.
    async with database.writing() as tx:
        for table, column in ((targets, targets.c.id), (qr_revisions, qr_revisions.c.target_id)):
            await tx.execute(table.update().where(column == TargetId(two["id"])).values(payload=again))
    given = {(await process.phone().visit(code.slug)).target for _ in range(6)}
    assert given == {one["id"], two["id"]}
    url = f"/targets/{two['id']}"
    done(await api.patch(url, json={"name": "二", "status": "paused"}))
    done(await api.patch(url, json={"status": "live"}))
    done(await api.put(f"{url}/qr", json={"payload": again.replace("s=1", "s=2")}))
    refused(await api.patch(url, json={"account_id": None}), 409, "qr_in_use")
    done(await api.patch(url, json={"account_id": accounts[0]}))


async def test_a_cap_is_given_once_to_one_person_under_two_accounts(
    process: Process, api: httpx.AsyncClient, workspace: Workspace, accounts: tuple[str, str]
) -> None:
    code = await make(api, workspace.id, kind="staff", new_seats_per_minute=0)
    qr = contact()
    for account, text in zip(accounts, (qr + "?s=1", qr + "?s=2"), strict=True):
        await api.post(f"/codes/{code.id}/targets", json={"payload": text, "account_id": account})
    seen = [(await process.phone().visit(code.slug)).outcome for _ in range(7)]
    assert seen.count("claimed") == 3
