"""Many targets at once: all of them, or none."""

from typing import Any

import httpx

from tests.web.api.steps import done, make_code, make_target, payload, refused


def rows(number: int) -> list[dict[str, Any]]:
    return [{"payload": payload(), "name": f"{n}群"} for n in range(number)]


async def test_a_thousand_targets_are_added_in_the_order_in_which_they_were_sent(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    first = await make_target(api, code)
    sent = rows(1000)
    made = done(await api.post(f"/codes/{code['id']}/targets/batch", json={"targets": sent}), 201)["items"]
    assert [one["payload"] for one in made] == [one["payload"] for one in sent]
    listed = done(await api.get(f"/codes/{code['id']}/targets?limit=100"))["items"]
    assert [one["id"] for one in listed] == [first["id"], *(one["id"] for one in made[:99])]
    assert done(await api.get(f"/codes/{code['id']}"))["version"] > 1


async def test_members_and_positions_of_rows_are_kept(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    sent = [{"payload": payload(), "members": 5}, {"payload": payload(), "position": 9}, {"payload": payload()}]
    made = done(await api.post(f"/codes/{code['id']}/targets/batch", json={"targets": sent}), 201)["items"]
    assert [(one["members"], one["position"], one["name"]) for one in made] == [
        (5, 1024, "#1"),
        (0, 9, "#2"),
        (0, 2048, "#3"),
    ]
    assert done(await api.get(f"/targets/{made[0]['id']}"))["members"] == 5


async def test_one_bad_row_keeps_all_out_and_every_bad_row_is_named(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    there = await make_target(api, code)
    sent: list[dict[str, Any]] = rows(3)
    sent += [{"payload": "https://example.com"}, {"url": "https://example.com"}]
    sent += [{"payload": payload(), "expires_at": "2026-01-01T00:00:00Z"}]
    problem = refused(
        await api.post(f"/codes/{code['id']}/targets/batch", json={"targets": sent}), 422, "batch_refused", "targets"
    )
    assert [(one["where"], one["code"]) for one in problem["errors"]] == [
        ("targets.3.payload", "unsupported_qr_kind"),
        ("targets.4.url", "qr_expected"),
        ("targets.5.expires_at", "already_expired"),
    ]
    sent = [*rows(1), {"payload": there["payload"]}, *rows(1)]
    sent.append(sent[0])
    problem = refused(
        await api.post(f"/codes/{code['id']}/targets/batch", json={"targets": sent}), 422, "batch_refused"
    )
    assert [(one["where"], one["code"]) for one in problem["errors"]] == [
        ("targets.1", "same_qr"),
        ("targets.3", "same_qr"),
    ]
    assert len(done(await api.get(f"/codes/{code['id']}/targets"))["items"]) == 1


async def test_a_batch_has_bounds(api: httpx.AsyncClient) -> None:
    url = f"/codes/{(await make_code(api))['id']}/targets/batch"
    refused(await api.post(url, json={"targets": []}), 422, "invalid", "targets")
    refused(await api.post(url, json={"targets": rows(1001)}), 422, "invalid", "targets")
    bad = [{"payload": payload(), "weight": 0}, {"payload": payload(), "name": ""}]
    problem = refused(await api.post(url, json={"targets": bad}), 422, "invalid")
    assert [one["where"] for one in problem["errors"]] == ["targets.0.weight", "targets.1.name"]
