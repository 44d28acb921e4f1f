"""One story for each kind of code, told by phones to four web processes and by the API afterwards."""

import asyncio
import csv
import io
from collections import Counter
from typing import Any

import httpx

from tests.running import PHONE, Service, crowd, group_payload, mixed_crowd

SHOP, ACADEMY = "https://shop.example/", "https://academy.example/"


def post(service: Service, path: str, **body: Any) -> dict[str, Any]:
    return _asked(service, "POST", path, json=body)


def _asked(service: Service, method: str, path: str, **options: Any) -> dict[str, Any]:
    with service.api as api:
        answer = api.request(method, path, **options).raise_for_status().json()
    assert isinstance(answer, dict)
    return answer


def adviser(service: Service, code: dict[str, Any], account: dict[str, Any], number: int) -> str:
    target = post(
        service, f"/codes/{code['id']}/targets",
        payload=f"https://u.wechat.com/Invented{code['slug']}_{number}", account_id=account["id"],
    )  # fmt: skip
    return str(target["id"])


def test_two_hundred_at_once_over_two_codes_add_an_adviser_five_times_and_never_six(service: Service) -> None:
    a = post(service, "/accounts", name="A", kind="wechat", daily_cap=5)
    b = post(service, "/accounts", name="B", kind="wechat")
    codes = [post(service, "/codes", name=f"客服 {i}", kind="staff", strategy="balance") for i in range(2)]
    of_a = [adviser(service, code, a, 0) for code in codes]
    of_b = [adviser(service, code, b, 1) for code in codes]

    met = asyncio.run(mixed_crowd(service.url, [codes[i % 2]["slug"] for i in range(200)], 100))

    found = Counter(visited.target for visited in met)
    assert sum(found[target] for target in of_a) == 5
    assert sum(found[target] for target in of_b) == 195
    assert {visited.picture for visited in met} == {"claimed"}
    service.wait_until_drained()
    assert _asked(service, "GET", f"/accounts/{a['id']}")["adds_today"] == 5
    assert _asked(service, "GET", f"/accounts/{a['id']}")["state"] == "capped"


def test_three_of_four_go_where_the_weight_is_three(service: Service) -> None:
    code = post(service, "/codes", name="A/B", kind="link", strategy="balance")
    for url, weight in ((SHOP, 3), (ACADEMY, 1)):
        post(service, f"/codes/{code['id']}/targets", url=url, weight=weight)

    met = asyncio.run(crowd(service.url, code["slug"], visitors=4000, connections=50))

    assert Counter((visited.status, visited.outcome) for visited in met) == {(302, "claimed"): 4000}
    service.wait_until_drained()
    rows = _asked(service, "GET", f"/codes/{code['id']}/stats?by=target")["rows"]
    claimed = sorted(row["claimed"] for row in rows if row["claimed"])
    assert sum(claimed) == 4000
    assert abs(claimed[1] - 3000) <= 120


def test_the_first_five_hundred_go_to_one_address_and_the_rest_to_another(service: Service) -> None:
    code = post(service, "/codes", name="first 500", kind="link")
    post(service, f"/codes/{code['id']}/targets", url=SHOP, member_limit=500)
    post(service, f"/codes/{code['id']}/targets", url=ACADEMY)

    met = asyncio.run(crowd(service.url, code["slug"], visitors=700, connections=100))

    assert {visited.status for visited in met} == {302}
    service.wait_until_drained()
    with service.api as api:
        targets = api.get(f"/codes/{code['id']}/targets").raise_for_status().json()["items"]
    assert [(target["seen"], target["held"], target["state"]) for target in targets] == [
        (500, 0, "full"), (200, 0, "live"),
    ]  # fmt: skip


def test_a_thousand_mixed_scans_are_told_the_same_by_every_sum(service: Service) -> None:
    group = post(service, "/codes", name="群", kind="group", fallback={"url": SHOP})
    post(service, f"/codes/{group['id']}/targets", payload=group_payload(7), member_limit=100)
    link = post(service, "/codes", name="店", kind="link")
    post(service, f"/codes/{link['id']}/targets", url=ACADEMY)
    menu = post(service, "/codes", name="选", kind="menu")
    options = [{"label": "群", "code_id": group["id"]}, {"label": "店", "code_id": link["id"]}]
    _asked(service, "PUT", f"/codes/{menu['id']}/options", json={"options": options})
    poster, card = [post(service, f"/codes/{group['id']}/channels", name=name) for name in ("海报", "卡片")]
    off = post(service, "/codes", name="停", kind="group", disabled=True)
    paths = [
        group["slug"], poster["slug"], card["slug"], link["slug"], menu["slug"], f"{menu['slug']}/1",
        f"{menu['slug']}/2", off["slug"], poster["slug"], group["slug"],
    ] * 100  # fmt: skip

    met = asyncio.run(mixed_crowd(service.url, paths, 100))

    assert len(met) == 1000
    service.wait_until_drained()
    # An option is a scan of the menu and of the code it leads to.
    scans = {group["id"]: 600, link["id"]: 200, menu["id"]: 300, off["id"]: 100}
    for code, expected in scans.items():
        assert _sums(service, f"/codes/{code}/stats", ("hour", "day", "target", "channel", "account", "client")) == {
            expected
        }
    told = _asked(service, "GET", f"/codes/{group['id']}/stats?by=channel")
    assert {row["name"]: row["scans"] for row in told["rows"] if row["key"] not in ("0", 0)} == {
        "海报": 200, "卡片": 100,
    }  # fmt: skip
    assert (told["total"]["claimed"], told["total"]["fallback"], told["total"]["seen"]) == (100, 500, 100)
    shown = Counter(visited.outcome for visited in met)
    assert shown == {"claimed": 300, "fallback": 500, "menu": 100, "disabled": 100}
    told = _asked(service, "GET", f"/codes/{menu['id']}/stats?by=option")
    assert {row["name"]: row["option"] for row in told["rows"] if row["option"]} == {"群": 100, "店": 100}


def _sums(service: Service, path: str, dimensions: tuple[str, ...]) -> set[int]:
    """Add scans up by every dimension, over rows and over outcomes, as JSON and as CSV."""
    found = set()
    outcomes = (
        "claimed", "returned", "fallback", "full", "limited", "menu", "option", "preview", "outside_wechat",
        "turned_away",
    )  # fmt: skip
    with service.api as api:
        for by in dimensions:
            told = api.get(path, params={"by": by}).raise_for_status().json()
            found |= {told["total"]["scans"], sum(row["scans"] for row in told["rows"])}
            found |= {sum(told["total"][name] for name in outcomes)}
            text = api.get(path, params={"by": by}, headers={"Accept": "text/csv"}).raise_for_status().text
            rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
            found |= {sum(int(row["scans"]) for row in rows), sum(int(row[name]) for row in rows for name in outcomes)}
    return found


def test_a_menu_leads_on_and_its_printed_options_too(service: Service) -> None:
    link = post(service, "/codes", name="店", kind="link")
    post(service, f"/codes/{link['id']}/targets", url=SHOP)
    menu = post(service, "/codes", name="选", kind="menu")
    options = [{"label": "逛逛", "code_id": link["id"]}]
    made = _asked(service, "PUT", f"/codes/{menu['id']}/options", json={"options": options})

    with httpx.Client(headers={"User-Agent": PHONE}, trust_env=False) as phone:
        page = phone.get(f"{service.url}/{menu['slug']}")
        printed = phone.get(made["options"][0]["url"])
    assert (page.status_code, page.headers["x-huoma-outcome"]) == (200, "menu")
    assert "逛逛" in page.text
    assert (printed.status_code, printed.headers["location"]) == (302, SHOP)
