"""Edit accounts while targets begin to offer them: whoever comes second sees what the first has done."""

import asyncio
from typing import Any

import httpx
import pytest

from app.domain.code import AccountId, CodeId
from app.domain.workspace import Workspace
from app.services.recalling import Recaller
from app.store import accounts, codes
from app.store.database import Database
from tests.web.api.steps import blocked, done, make_account, make_code, make_target, payload, refused


async def cap_in_force(recaller: Recaller, code: dict[str, Any], account: dict[str, Any]) -> int:
    await recaller.publish(CodeId(code["id"]))
    entry = await recaller.entry(CodeId(code["id"]))
    return entry.code.accounts[AccountId(account["id"])].daily_cap


@pytest.mark.parametrize("how", ["add", "batch", "move"])
async def test_who_begins_to_offer_an_account_waits_for_its_edit(
    api: httpx.AsyncClient, database: Database, recaller: Recaller, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    account, code = await make_account(api, daily_cap=5), await make_code(api)
    there = await make_target(api, code)
    looked, go_on = asyncio.Event(), asyncio.Event()
    update = accounts.update

    async def slow(*arguments: Any) -> Any:
        looked.set()
        await go_on.wait()
        return await update(*arguments)

    monkeypatch.setattr(accounts, "update", slow)
    edit = asyncio.create_task(api.patch(f"/accounts/{account['id']}", json={"daily_cap": 7}))
    await looked.wait()
    offer = asyncio.create_task(offering(api, code, there, account, how))
    await blocked(database, 1, offer)
    assert not offer.done(), "no code must begin to offer an account whose editor has looked for its codes"
    go_on.set()
    done(await edit)
    assert (await offer).is_success

    assert await cap_in_force(recaller, code, account) == 7


@pytest.mark.parametrize("how", ["add", "batch", "move"])
async def test_the_edit_of_an_account_waits_for_who_begins_to_offer_it(
    api: httpx.AsyncClient, database: Database, recaller: Recaller, workspace: Workspace, how: str
) -> None:
    account, code = await make_account(api, daily_cap=5), await make_code(api)
    there = await make_target(api, code)
    before = done(await api.get(f"/codes/{code['id']}"))["version"]
    async with database.writing() as tx:
        await codes.lock(tx, workspace.id, CodeId(code["id"]))
        offer = asyncio.create_task(offering(api, code, there, account, how))
        await blocked(database, 1, offer)
        edit = asyncio.create_task(api.patch(f"/accounts/{account['id']}", json={"daily_cap": 7}))
        await blocked(database, 2, offer, edit)
        assert not edit.done()
    assert (await offer).is_success
    entry = await recaller.entry(CodeId(code["id"]))
    done(await edit)

    assert done(await api.get(f"/codes/{code['id']}"))["version"] > before
    assert (await recaller.reread(entry)).code.accounts[AccountId(account["id"])].daily_cap == 7


async def test_an_account_that_is_being_removed_is_offered_by_nobody(
    api: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, code = await make_account(api), await make_code(api)
    looked, go_on = asyncio.Event(), asyncio.Event()
    update = accounts.update

    async def slow(*arguments: Any) -> Any:
        looked.set()
        await go_on.wait()
        return await update(*arguments)

    monkeypatch.setattr(accounts, "update", slow)
    removal = asyncio.create_task(api.delete(f"/accounts/{account['id']}"))
    await looked.wait()
    row = {"payload": payload(), "account_id": account["id"]}
    offer = asyncio.create_task(api.post(f"/codes/{code['id']}/targets", json=row))
    await blocked(database, 1, offer)
    go_on.set()

    assert (await removal).status_code == 204
    refused(await offer, 422, "unknown_account", "account_id")
    assert done(await api.get(f"/codes/{code['id']}/targets"))["items"] == []


async def test_edits_of_accounts_codes_and_zones_never_wait_in_a_circle(api: httpx.AsyncClient) -> None:
    people = [await make_account(api) for _ in range(2)]
    pool = [await make_code(api) for _ in range(2)]
    for code in pool:
        for account in people:
            await make_target(api, code, account_id=account["id"])

    async def add(code: dict[str, Any], first: dict[str, Any], second: dict[str, Any]) -> httpx.Response:
        rows = [{"payload": payload(), "account_id": account["id"]} for account in (first, second)]
        return await api.post(f"/codes/{code['id']}/targets/batch", json={"targets": rows})

    answers = await asyncio.gather(
        *(add(code, *order) for code in pool for order in (people, people[::-1]) for _ in range(3)),
        *(api.patch(f"/accounts/{one['id']}", json={"daily_cap": n}) for n in range(4) for one in people),
        *(api.patch("/workspace", json={"time_zone": zone}) for zone in ("Asia/Tokyo", "Asia/Urumqi")),
    )
    assert {answer.status_code for answer in answers} == {200, 201}
    for code in pool:
        assert len(done(await api.get(f"/codes/{code['id']}/targets"))["items"]) == 2 + 6 * 2
    for one in people:
        edits = [done(answer) for answer in answers if answer.json().get("id") == one["id"]]
        assert len({edit["version"] for edit in edits}) == 4, "each edit has a version of its own"
        assert (
            max(edits, key=lambda edit: edit["version"])["daily_cap"]
            == done(await api.get(f"/accounts/{one['id']}"))["daily_cap"]
        )


async def offering(
    api: httpx.AsyncClient, code: dict[str, Any], there: dict[str, Any], account: dict[str, Any], how: str
) -> httpx.Response:
    row = {"payload": payload(), "account_id": account["id"]}
    match how:
        case "add":
            return await api.post(f"/codes/{code['id']}/targets", json=row)
        case "batch":
            return await api.post(f"/codes/{code['id']}/targets/batch", json={"targets": [row]})
        case _:
            return await api.patch(f"/targets/{there['id']}", json={"account_id": account["id"]})
