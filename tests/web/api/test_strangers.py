"""A workspace cannot see, name or touch another's anything."""

from typing import Any

import httpx
import pytest

from app.domain.workspace import Workspace
from tests.web.api.steps import done, make_account, make_code, make_target, payload, refused

NOWHERE = "0000000000000000"


def requests(code: str, target: str, key: str, account: str) -> list[tuple[str, str, Any]]:
    return [
        ("GET", f"/codes/{code}", None),
        ("PATCH", f"/codes/{code}", {"name": "n"}),
        ("DELETE", f"/codes/{code}", None),
        ("GET", f"/codes/{code}/qr.png", None),
        ("GET", f"/codes/{code}/qr.svg", None),
        ("GET", f"/codes/{code}/options", None),
        ("PUT", f"/codes/{code}/options", {"options": []}),
        ("GET", f"/codes/{code}/options/1/qr.png", None),
        ("GET", f"/codes/{code}/options/1/qr.svg", None),
        ("GET", f"/codes/{code}/channels", None),
        ("POST", f"/codes/{code}/channels", {"name": "n"}),
        ("PATCH", f"/codes/{code}/channels/1", {"name": "n"}),
        ("DELETE", f"/codes/{code}/channels/1", None),
        ("GET", f"/codes/{code}/channels/1/qr.png", None),
        ("GET", f"/codes/{code}/channels/1/qr.svg", None),
        ("GET", f"/codes/{code}/stats", None),
        ("GET", f"/codes/{code}/targets", None),
        ("POST", f"/codes/{code}/targets", {"payload": payload()}),
        ("POST", f"/codes/{code}/targets/batch", {"targets": [{"payload": payload()}]}),
        ("GET", f"/targets/{target}", None),
        ("PATCH", f"/targets/{target}", {"name": "n"}),
        ("PUT", f"/targets/{target}/qr", {"payload": payload()}),
        ("POST", f"/targets/{target}/members", {"count": 5}),
        ("DELETE", f"/targets/{target}", None),
        ("GET", f"/accounts/{account}", None),
        ("PATCH", f"/accounts/{account}", {"name": "n"}),
        ("PUT", f"/accounts/{account}/availability", {"available": False}),
        ("DELETE", f"/accounts/{account}", None),
        ("DELETE", f"/keys/{key}", None),
    ]


async def test_what_belongs_to_another_is_answered_like_what_is_not_there(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient
) -> None:
    code, menu = await make_code(api), await make_code(api, kind="menu")
    target = await make_target(api, code)
    account = await make_account(api)
    done(await api.post(f"/codes/{code['id']}/channels", json={"name": "n"}), 201)
    options = {"options": [{"label": "o", "code_id": code["id"]}]}
    done(await api.put(f"/codes/{menu['id']}/options", json=options))
    paths = (f"/codes/{code['id']}", f"/targets/{target['id']}", "/keys", f"/accounts/{account['id']}")
    before = [await state(api, path) for path in paths]
    key = before[2]["items"][0]["id"]
    foreign = [one for each in (code, menu) for one in requests(each["id"], target["id"], key, account["id"])]
    unknown = requests(NOWHERE, NOWHERE, NOWHERE, NOWHERE) * 2
    for (method, path, body), (_, nowhere, same) in zip(foreign, unknown, strict=True):
        theirs = await stranger_api.request(method, path, json=body)
        refused(theirs, 404, "not_found")
        nothing = await stranger_api.request(method, nowhere, json=same)
        assert (theirs.content, theirs.headers) == (nothing.content, nothing.headers), path
    assert [await state(api, path) for path in paths] == before


async def test_lists_hold_only_what_is_ones_own(api: httpx.AsyncClient, stranger_api: httpx.AsyncClient) -> None:
    mine, theirs = await make_code(api), await make_code(stranger_api)
    assert [one["id"] for one in done(await api.get("/codes"))["items"]] == [mine["id"]]
    assert [one["id"] for one in done(await stranger_api.get("/codes"))["items"]] == [theirs["id"]]
    accounts = [await make_account(each) for each in (api, stranger_api)]
    for each, account in zip((api, stranger_api), accounts, strict=True):
        assert [one["id"] for one in done(await each.get("/accounts"))["items"]] == [account["id"]]
    keys = [{one["id"] for one in done(await each.get("/keys"))["items"]} for each in (api, stranger_api)]
    assert not keys[0] & keys[1]


async def test_a_cursor_of_another_shows_nothing_of_his(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient
) -> None:
    for _ in range(3):
        await make_code(api)
    cursor = done(await api.get("/codes?limit=1"))["next"]
    assert done(await stranger_api.get(f"/codes?cursor={cursor}"))["items"] == []


async def test_nobody_can_offer_the_account_of_another(api: httpx.AsyncClient, stranger_api: httpx.AsyncClient) -> None:
    theirs = (await make_account(stranger_api))["id"]
    code = await make_code(api)
    target = await make_target(api, code)
    before = done(await api.get(f"/codes/{code['id']}"))
    answers = {}
    for account in (theirs, NOWHERE):
        row, url = {"payload": payload(), "account_id": account}, f"/codes/{code['id']}/targets"
        answers[account] = [
            refused(await api.post(url, json=row), 422, "unknown_account", "account_id"),
            refused(await api.post(f"{url}/batch", json={"targets": [row]}), 422, "batch_refused"),
            refused(
                await api.patch(f"/targets/{target['id']}", json={"account_id": account}),
                422, "unknown_account", "account_id",
            ),
        ]  # fmt: skip
        assert answers[account][1]["errors"][0]["where"] == "targets.0.account_id"
    assert answers[theirs] == answers[NOWHERE]
    assert done(await api.get(f"/codes/{code['id']}")) == before
    assert done(await stranger_api.get(f"/accounts/{theirs}"))["version"] == 1
    assert (await stranger_api.delete(f"/accounts/{theirs}")).status_code == 204


async def test_a_workspace_changes_only_itself(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient, workspace: Workspace
) -> None:
    code = await make_code(api)
    done(await stranger_api.patch("/workspace", json={"name": "mine", "time_zone": "Europe/Paris"}))
    assert done(await api.get("/workspace"))["name"] == "春日"
    assert done(await api.get(f"/codes/{code['id']}"))["version"] == 1


@pytest.mark.parametrize(
    "name", ["x", "0" * 15, "0" * 17, "0" * 15 + "I", "0" * 15 + "U", "%00" * 16, "..%2f..", "%F0%9F%98%80"]
)
async def test_an_id_that_cannot_be_is_answered_like_one_that_is_not_there(api: httpx.AsyncClient, name: str) -> None:
    for method, path, body in requests(name, name, name, name):
        refused(await api.request(method, path, json=body), 404, "not_found")


async def state(api: httpx.AsyncClient, path: str) -> dict[str, Any]:
    return done(await api.get(path))
