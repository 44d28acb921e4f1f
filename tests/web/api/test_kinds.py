"""Every kind of code: what each says of itself, what its targets are, and when it is open."""

from typing import Any

import httpx
import pytest

from tests.web.api.steps import done, make_code, make_target, payload, refused

SHOP = "https://shop.example/a"


@pytest.mark.parametrize("kind", ["group", "staff", "menu", "link"])
async def test_every_kind_of_code_can_be_made(api: httpx.AsyncClient, kind: str) -> None:
    code = await make_code(api, kind=kind)
    assert code["kind"] == kind
    assert (code["fallback"], code["disabled"], code["opens_at"], code["closes_at"]) == (None, False, None, None)
    assert (code["new_seats_per_minute"], code["pass_query"]) == (300, False)
    assert done(await api.get(f"/codes/{code['id']}")) == code


async def test_what_is_said_about_access_is_shown_and_changed(api: httpx.AsyncClient) -> None:
    said: dict[str, Any] = {
        "disabled": True, "opens_at": "2026-12-01T00:00:00Z", "closes_at": "2026-12-24T16:00:00Z",
        "new_seats_per_minute": 0, "pass_query": True,
    }  # fmt: skip
    code = await make_code(api, kind="link", **said)
    assert {name: code[name] for name in said} == said
    changed = done(
        await api.patch(f"/codes/{code['id']}", json={"disabled": False, "opens_at": None, "new_seats_per_minute": 60})
    )
    assert {name: changed[name] for name in said} == said | {
        "disabled": False,
        "opens_at": None,
        "new_seats_per_minute": 60,
    }


@pytest.mark.parametrize(
    ("fields", "code", "where"),
    [
        ({"disabled": 1}, "invalid", "disabled"),
        ({"new_seats_per_minute": -1}, "invalid", "new_seats_per_minute"),
        ({"new_seats_per_minute": 1_000_001}, "invalid", "new_seats_per_minute"),
        ({"new_seats_per_minute": "5"}, "invalid", "new_seats_per_minute"),
        ({"new_seats_per_minute": None}, "invalid", "new_seats_per_minute"),
        ({"opens_at": "2026-12-01"}, "invalid", "opens_at"),
        ({"opens_at": "2026-12-01T00:00:00Z", "closes_at": "2026-12-01T00:00:00Z"}, "bad_window", "closes_at"),
        ({"opens_at": "2026-12-01T00:00:01Z", "closes_at": "2026-12-01T08:00:00+08:00"}, "bad_window", "closes_at"),
        ({"pass_query": True}, "only_for_links", "pass_query"),
    ],
)
async def test_what_cannot_be_said_about_access_is_refused_and_changes_nothing(
    api: httpx.AsyncClient, fields: dict[str, Any], code: str, where: str
) -> None:
    there = await make_code(api)
    refused(await api.post("/codes", json={"name": "n"} | fields), 422, code, where)
    refused(await api.patch(f"/codes/{there['id']}", json={"name": "n"} | fields), 422, code, where)
    assert done(await api.get("/codes"))["items"] == [there]


async def test_opening_and_closing_are_judged_together_with_what_is_there(api: httpx.AsyncClient) -> None:
    code = await make_code(api, opens_at="2026-12-01T00:00:00Z")
    url = f"/codes/{code['id']}"
    refused(await api.patch(url, json={"closes_at": "2026-11-30T00:00:00Z"}), 422, "bad_window", "closes_at")
    changed = done(await api.patch(url, json={"closes_at": "2026-12-02T00:00:00Z"}))
    assert changed["version"] > code["version"]
    refused(await api.patch(url, json={"opens_at": "2026-12-03T00:00:00Z"}), 422, "bad_window", "closes_at")
    assert done(await api.get(url)) == changed
    done(await api.patch(url, json={"opens_at": "2026-12-03T00:00:00Z", "closes_at": None}))


async def test_a_link_is_unlimited_lives_for_ever_and_is_named_by_its_host(api: httpx.AsyncClient) -> None:
    code = await make_code(api, kind="link")
    url = f"/codes/{code['id']}/targets"
    target = done(await api.post(url, json={"url": "https://商店.example/活动?q=码"}), 201)
    assert target["payload"] == "https://xn--czrs0t.example/%E6%B4%BB%E5%8A%A8?q=%E7%A0%81"
    assert (target["kind"], target["member_limit"], target["expires_at"]) == ("link", None, None)
    assert (target["name"], target["state"], target["display"]) == ("xn--czrs0t.example", "live", "drawn")
    limited = {"url": SHOP, "name": "店", "member_limit": 5, "expires_at": "2026-12-01T00:00:00Z", "weight": 9}
    target = done(await api.post(url, json=limited), 201)
    assert {name: target[name] for name in limited if name != "url"} == {n: v for n, v in limited.items() if n != "url"}
    mini_program = done(await api.post(url, json={"url": "weixin://dl/business/?t=Example"}), 201)
    assert (mini_program["payload"], mini_program["name"]) == ("weixin://dl/business/?t=Example", "#3")


async def test_many_links_are_added_at_once(api: httpx.AsyncClient) -> None:
    code = await make_code(api, kind="link")
    url = f"/codes/{code['id']}/targets/batch"
    rows = [{"url": f"https://shop.example/{n}"} for n in range(3)]
    bad = [{"payload": payload()}, {"url": "javascript:alert(1)"}, {"url": "http://qr.example/x"}]
    problem = refused(await api.post(url, json={"targets": [*rows, *bad]}), 422, "batch_refused", "targets")
    assert [(one["where"], one["code"]) for one in problem["errors"]] == [
        ("targets.3.payload", "needs_qr"),
        ("targets.4.url", "bad_link"),
        ("targets.5.url", "own_address"),
    ]
    made = done(await api.post(url, json={"targets": rows}), 201)["items"]
    assert [(one["payload"], one["name"]) for one in made] == [(row["url"], "shop.example") for row in rows]
    problem = refused(await api.post(url, json={"targets": [{"url": SHOP}, rows[1]]}), 422, "batch_refused")
    assert [(one["where"], one["code"]) for one in problem["errors"]] == [("targets.1", "same_qr")]


@pytest.mark.parametrize(
    ("fields", "code", "where"),
    [
        ({"payload": payload()}, "needs_qr", "payload"),
        ({"url": "javascript:alert(1)"}, "bad_link", "url"),
        ({"url": "data:text/html,x"}, "bad_link", "url"),
        ({"url": "weixin://dl/chat"}, "bad_link", "url"),
        ({"url": "https://user@shop.example/"}, "bad_link", "url"),
        ({"url": "https://qr.example/abc"}, "own_address", "url"),
        ({"url": "HTTP://QR.example.:443"}, "own_address", "url"),
        ({"url": "https://weixin.qq.com/r/Example"}, "needs_qr", "url"),
        ({"url": "https://WEIXIN.qq.com.:443/%67/ab"}, "needs_qr", "url"),
        ({"url": SHOP, "display": "original"}, "no_picture", "display"),
        ({"url": SHOP, "payload": payload()}, "invalid", None),
        ({"url": "x" * 2049}, "invalid", "url"),
    ],
)
async def test_a_link_that_cannot_be_is_refused_and_nothing_is_saved(
    api: httpx.AsyncClient, fields: dict[str, str], code: str, where: str | None
) -> None:
    live = await make_code(api, kind="link")
    refused(await api.post(f"/codes/{live['id']}/targets", json=fields), 422, code, where)
    assert done(await api.get(f"/codes/{live['id']}/targets"))["items"] == []
    assert done(await api.get(f"/codes/{live['id']}")) == live


@pytest.mark.parametrize(
    ("url", "kind", "home"),
    [
        ("http://weixin.qq.com/g/AExample0Exa_-12", "wechat_group", "group"),
        ("https://work.weixin.qq.com/gm/0123456789abcdef0123456789abcdef", "wecom_group", "group"),
        ("https://u.wechat.com/kExampleExample-Example", "wechat_personal", "staff"),
        ("https://work.weixin.qq.com/ct/wcde0123456789abcdef0123456789abcdef", "wecom_contact", "staff"),
        ("https://work.weixin.qq.com/u/vc0123456789abcdef", "wecom_contact", "staff"),
        ("https://work.weixin.qq.com/ca/cawcde0123456789ab?customer_channel=a", "wecom_acquisition", "staff"),
    ],
)
async def test_what_opens_from_a_qr_is_no_link_and_the_refusal_says_where_it_stands(
    api: httpx.AsyncClient, url: str, kind: str, home: str
) -> None:
    code = await make_code(api, kind="link")
    targets = f"/codes/{code['id']}/targets"
    there = done(await api.post(targets, json={"url": SHOP}), 201)
    for response in (
        await api.post(targets, json={"url": url}),
        await api.put(f"/targets/{there['id']}/qr", json={"url": url}),
    ):
        detail = refused(response, 422, "needs_qr", "url")["detail"]
        assert kind in detail
        assert f"kind {home}" in detail
        assert "payload" in detail
    problem = refused(
        await api.post(f"{targets}/batch", json={"targets": [{"url": f"{SHOP}/2"}, {"url": url}]}), 422, "batch_refused"
    )
    assert [(one["where"], one["code"]) for one in problem["errors"]] == [("targets.1.url", "needs_qr")]
    assert done(await api.get(targets))["items"] == [{**there, "counts": "recorded"}]
    made = await make_code(api, kind=home)
    assert done(await api.post(f"/codes/{made['id']}/targets", json={"payload": url}), 201)["kind"] == kind


async def test_a_picture_is_no_link(api: httpx.AsyncClient) -> None:
    code = await make_code(api, kind="link")
    target = await make_target(api, code, payload=None, url=SHOP)
    # No picture at all: it is refused before anybody looks into it.
    image = {"image": b"x"}
    refused(await api.post(f"/codes/{code['id']}/targets", files=image), 422, "link_expected", "image")
    refused(await api.put(f"/targets/{target['id']}/qr", files=image), 422, "link_expected", "image")


async def test_a_link_is_there_once_and_can_be_changed(api: httpx.AsyncClient) -> None:
    code = await make_code(api, kind="link")
    url = f"/codes/{code['id']}/targets"
    target = done(await api.post(url, json={"url": SHOP, "name": "店"}), 201)
    refused(await api.post(url, json={"url": SHOP}), 409, "same_qr")
    qr = f"/targets/{target['id']}/qr"
    refused(await api.put(qr, json={"url": SHOP}), 409, "same_qr", "url")
    refused(await api.put(qr, json={"payload": payload()}), 422, "needs_qr", "payload")
    refused(await api.put(qr, json={"url": "https://qr.example/"}), 422, "own_address", "url")
    assert done(await api.get(f"/targets/{target['id']}"))["revision"] == 1
    changed = done(await api.put(qr, json={"url": "https://shop.example/b"}))
    assert (changed["payload"], changed["name"], changed["revision"]) == ("https://shop.example/b", "店", 2)
    done(await api.post(url, json={"url": SHOP}), 201)


@pytest.mark.parametrize("kind", ["group", "staff"])
async def test_groups_and_staff_are_shown_as_qrs(api: httpx.AsyncClient, kind: str) -> None:
    code = await make_code(api, kind=kind)
    target = await make_target(api, code)
    assert target["kind"] == ("wechat_group" if kind == "group" else "wechat_personal")
    refused(await api.post(f"/codes/{code['id']}/targets", json={"url": SHOP}), 422, "qr_expected", "url")
    refused(await api.put(f"/targets/{target['id']}/qr", json={"url": SHOP}), 422, "qr_expected", "url")


@pytest.mark.parametrize("source", [{"payload": payload()}, {"url": SHOP}])
async def test_a_menu_has_no_targets(api: httpx.AsyncClient, source: dict[str, str]) -> None:
    code = await make_code(api, kind="menu")
    url = f"/codes/{code['id']}/targets"
    refused(await api.post(url, json=source), 422, "no_targets_in_menu")
    refused(await api.post(f"{url}/batch", json={"targets": [source]}), 422, "no_targets_in_menu")
    refused(await api.post(url, files={"image": b"x"}), 422, "no_targets_in_menu")
    assert done(await api.get(url))["items"] == []
