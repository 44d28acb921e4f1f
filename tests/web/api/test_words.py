"""What a refusal says can be done by whoever reads it: it names what is missing, and leads to no second refusal."""

import httpx
import pytest

from tests.web.api.steps import contact, done, make_code, make_target, payload, refused

UNKNOWN = "0" * 16


@pytest.mark.parametrize("unknown", [UNKNOWN, "not-an-id"])
async def test_what_is_not_there_is_named(api: httpx.AsyncClient, unknown: str) -> None:
    code = await make_code(api)
    wanted = {
        f"/codes/{unknown}": "code",
        f"/codes/{unknown}/targets": "code",
        f"/codes/{unknown}/qr.png": "code",
        f"/codes/{unknown}/explain": "code",
        f"/targets/{unknown}": "target",
        f"/accounts/{unknown}": "account",
    }
    for path, noun in wanted.items():
        problem = refused(await api.get(path), 404, "not_found")
        assert problem["detail"] == f"There is no such {noun} in this workspace.", path
    assert "no such key" in refused(await api.delete(f"/keys/{unknown}"), 404, "not_found")["detail"]
    edit = await api.patch(f"/targets/{unknown}", json={"name": "n"})
    assert "no such target in" in refused(edit, 404, "not_found")["detail"]
    for noun in ("channel", "option"):
        numbered = refused(await api.get(f"/codes/{code['id']}/{noun}s/7/qr.png"), 404, "not_found")
        assert f"no such {noun}, or no such code, in" in numbered["detail"]


async def test_a_slash_too_many_is_named(api: httpx.AsyncClient) -> None:
    for path in ("/codes/", f"/codes/{UNKNOWN}/"):
        assert "leave out the slash" in refused(await api.get(path), 404, "not_found")["detail"]
    assert refused(await api.get("/nothing/"), 404, "not_found")["detail"] == "There is no such path."


async def test_a_kind_is_spelt_in_plain_words(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    url = f"/codes/{code['id']}/targets"
    problem = refused(await api.post(url, json={"payload": contact()}), 422, "other_kind")
    assert problem["detail"].startswith("This is a personal code (wechat_personal), which has no member limit")
    neither = refused(await api.post(url, json={}), 422, "invalid")
    assert "picture" in neither["detail"]


async def test_a_colour_is_asked_for_as_a_url_takes_it(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    # The rest of this address is its fragment, and never sent.
    problem = refused(await api.get(f"/codes/{code['id']}/qr.png?dark=#ff0000"), 422, "bad_style", "dark")
    assert problem["detail"] == "A colour is six hex digits, such as 1a2b3c (in a URL without the #)."
    assert (await api.get(f"/codes/{code['id']}/qr.png?dark=1a2b3c")).status_code == 200


async def test_a_group_as_a_link_is_refused_once(api: httpx.AsyncClient) -> None:
    code = await make_code(api, kind="link")
    url = f"/codes/{code['id']}/targets"
    problem = refused(await api.post(url, json={"payload": payload()}), 422, "needs_qr", "payload")
    assert "make a code of kind group" in problem["detail"]
    refused(await api.post(url, json={"payload": "https://shop.example/"}), 422, "link_expected", "payload")


async def test_a_qr_that_is_there_says_where(api: httpx.AsyncClient) -> None:
    code = await make_code(api, name="春日")
    target = await make_target(api, code, name="1群")
    url = f"/codes/{code['id']}/targets"
    there = {
        "code_id": code["id"], "code_name": "春日", "target_id": target["id"], "target_name": "1群",
    }  # fmt: skip
    row = {"payload": target["payload"]}
    assert refused(await api.post(url, json=row), 409, "same_qr")["there"] == there
    renewal = await api.put(f"/targets/{target['id']}/qr", json=row)
    assert refused(renewal, 409, "same_qr")["there"] == there
    batch = refused(await api.post(f"{url}/batch", json={"targets": [row]}), 422, "batch_refused")
    assert batch["errors"][0]["there"] == there
    # A row before is no target yet.
    fresh = {"payload": payload()}
    twice = refused(await api.post(f"{url}/batch", json={"targets": [fresh, fresh]}), 422, "batch_refused")
    assert "there" not in twice["errors"][0]

    link = await make_code(api, kind="link")
    goal = done(await api.post(f"/codes/{link['id']}/targets", json={"url": "https://shop.example/"}), 201)
    again = await api.post(f"/codes/{link['id']}/targets", json={"url": "https://shop.example/"})
    assert refused(again, 409, "same_qr")["there"]["target_id"] == goal["id"]
