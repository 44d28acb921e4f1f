"""The page for mini programs: each exchange on it is had with a real server, and its script runs in a real Chromium."""

import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
from redis.asyncio import Redis

from app.counters import counts
from app.domain.code import CodeId, TargetId
from app.domain.workspace import Workspace
from app.web.outcomes import OUTCOMES
from app.web.scan_answers import ScanOptionOut, ScanOut
from tests.kinds.conftest import group
from tests.kinds.test_staff import adviser, staff
from tests.running import PHONE
from tests.scanning import PUBLIC_URL, Process
from tests.web.api.steps import done, make_code

from .conftest import Chromium, Page, Serve

FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGE: Final = (Path(__file__).parents[2] / "docs" / "mini-program.md").read_text(encoding="utf-8")
# What a page of a mini program finds around it, made of what a browser has. Timers are kept and run by the test.
SHIM: Final = """
globalThis.there = {kept: {}, timers: [], copied: null};
const setTimeout = (run, ms) => there.timers.push({run, ms});
const clearTimeout = () => { there.timers = []; };
const local = (url) => url.replace('https://qr.example', location.origin);
const wx = {
  request({url, header, success, fail}) {
    there.asked = fetch(local(url), {headers: header, credentials: 'omit'})
      .then(async (got) => [await got.json(), Object.fromEntries(got.headers)])
      .then(([data, header]) => success({data, header}))
      .catch(fail);
  },
  getStorageSync: (key) => there.kept[key] || '',
  setStorageSync: (key, value) => { there.kept[key] = value; },
  setClipboardData: ({data}) => { there.copied = data; },
};
const Page = (page) => { there.page = {...page, setData(more) { this.data = {...this.data, ...more}; }}; };
there.picture = () => fetch(local(there.page.data.answer.qr_image), {credentials: 'omit'}).then((got) => got.status);
"""


class Exchange(NamedTuple):
    path: str
    sent: dict[str, str]
    status: int
    headers: dict[str, str]
    body: Any


def blocks(language: str) -> list[str]:
    return [content for name, content in FENCE.findall(PAGE) if name == language]


def exchanges() -> list[Exchange]:
    """Read requests and the answers below them."""
    found = blocks("http")
    return [_exchange(*pair) for pair in zip(found[::2], found[1::2], strict=True)]


def _exchange(request: str, response: str) -> Exchange:
    (method, path, _), sent = _head(request)
    head, _, body = response.partition("\n\n")
    (_, status, *_), headers = _head(head)
    assert method == "GET"
    return Exchange(path, sent, int(status), headers, json.loads(body) if body else None)


def _head(text: str) -> tuple[list[str], dict[str, str]]:
    first, *lines = text.strip().splitlines()
    return first.split(" "), dict(line.split(": ", 1) for line in lines)


async def shop(api: httpx.AsyncClient) -> dict[str, str]:
    """Make the codes that the page speaks of; answer with their slugs by those on the page."""
    spring = await make_code(api, name="春日护肤交流群")
    target = {"payload": "https://weixin.qq.com/g/" + spring["slug"].ljust(64, "x"), "name": "1群"}
    done(await api.post(f"/codes/{spring['id']}/targets", json=target | {"expires_at": "2026-11-28T01:00:00Z"}), 201)
    mondays = [{"days": ["mon"], "from": "09:00", "to": "18:00"}]
    advisers = await staff(api, await adviser(api, "Ann", shifts=mondays), name="在线客服")
    city = await make_code(api, kind="menu", name="你在哪座城市")
    option = {"label": "上海", "hint": "每周有活动", "code_id": spring["id"]}
    done(await api.put(f"/codes/{city['id']}/options", json={"options": [option]}))
    return {"spring26": spring["slug"], "adviser": advisers["slug"], "city": city["slug"]}


async def test_every_exchange_on_the_page_is_had_for_real(
    process: Process, api: httpx.AsyncClient, serve: Serve
) -> None:
    slugs = await shop(api)
    known = {slug: name for name, slug in slugs.items()}
    origin = await serve(process.app)
    said = exchanges()
    assert len(said) >= 5
    async with httpx.AsyncClient(base_url=origin, headers={"User-Agent": PHONE}, trust_env=False) as client:
        for one in said:
            client.cookies.clear()
            meant = {name: real for real, name in known.items()}
            asked = _worded(json.dumps([one.path, one.sent]), meant)
            path, sent = json.loads(asked)
            answer = await client.get(path, headers=sent | {"Host": "qr.example"})
            assert answer.status_code == one.status, one.path
            for name, value in one.headers.items():
                assert answer.headers[name] == value, (one.path, name)
            if one.body is None:
                continue
            body = answer.json()
            known |= {body["seat"]: "SEAT", body["target"]["id"]: "TARGET"} if body["seat"] else {}
            assert json.loads(_worded(answer.text, known)) == one.body, one.path


def _worded(text: str, words: dict[str, str]) -> str:
    """Say other words; the longest first, as a seat has the id of its target in it."""
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, words[word])
    return text


async def load(page: Page, origin: str) -> None:
    await page.call("Page.setBypassCSP", enabled=True)
    await page.go(f"{origin}/")
    [script] = blocks("js")
    await page.evaluate(f"{{{SHIM}\n{script}}}")


async def ask(page: Page, call: str) -> Any:
    """Call a method of the page, and wait for the request that it makes."""
    return await page.evaluate(f"(async () => {{ there.page.{call}; await there.asked; return there.page.data; }})()")


async def test_the_script_on_the_page_keeps_one_place_and_shows_its_qr(
    process: Process, api: httpx.AsyncClient, redis: Redis, workspace: Workspace, chromium: Chromium, serve: Serve
) -> None:
    code = await group(api, 5)
    origin = await serve(process.app)
    async with chromium.page() as page:
        await load(page, origin)
        first = await ask(page, f"onLoad({{slug: {json.dumps(code['slug'])}}})")
        assert (first["answer"]["outcome"], first["words"]) == ("claimed", "")
        assert await page.evaluate("there.picture()") == 200
        again = await ask(page, "again()")
        assert again["answer"]["outcome"] == "returned"
        assert again["answer"]["target"] == first["answer"]["target"]
        kept = await page.evaluate("there.kept")
        assert kept == {f"{PUBLIC_URL}/{code['slug']}": first["answer"]["seat"]}
        assert await page.evaluate("there.timers.length") == 0
    target = TargetId(code["targets"][0]["id"])
    taken = (await counts.read(redis, workspace.id, CodeId(code["id"]), [target]))[target]
    assert (taken.taken, taken.held) == (1, 0), "one visitor, one place, which the picture keeps"


async def test_the_script_on_the_page_waits_chooses_and_copies(
    process: Process, api: httpx.AsyncClient, chromium: Chromium, serve: Serve
) -> None:
    full, link = await group(api, 0), await make_code(api, kind="link")
    menu = await make_code(api, kind="menu")
    done(await api.post(f"/codes/{link['id']}/targets", json={"url": "https://shop.example/a"}), 201)
    options = [{"label": "群", "code_id": full["id"]}, {"label": "商店", "code_id": link["id"]}]
    done(await api.put(f"/codes/{menu['id']}/options", json={"options": options}))
    origin = await serve(process.app)
    async with chromium.page() as page:
        await load(page, origin)
        chosen = (await ask(page, f"onLoad({{slug: {json.dumps(menu['slug'])}}})"))["answer"]["options"]
        waiting = await ask(page, f"choose({_tap(chosen[0]['url'])})")
        assert (waiting["answer"]["outcome"], waiting["words"]) == ("full", "名额暂时满了，有空位会自动出现")
        assert await page.evaluate("there.timers.map((one) => one.ms)") == [60_000]
        done(await api.patch(f"/targets/{full['targets'][0]['id']}", json={"member_limit": 1}))
        await page.evaluate("there.timers[0].run()")
        assert (await ask(page, "data"))["answer"]["outcome"] == "claimed"
        goal = await ask(page, f"choose({_tap(chosen[1]['url'])})")
        assert (goal["answer"]["qr_image"], goal["answer"]["url"]) == (None, "https://shop.example/a")
        await page.evaluate("there.page.copy()")
        assert await page.evaluate("there.copied") == "https://shop.example/a"
        assert (await ask(page, "onLoad({slug: 'never-made'})"))["words"] == "没有这个码，请核对"


def _tap(url: str) -> str:
    return json.dumps({"currentTarget": {"dataset": {"url": url}}})


def test_the_template_and_the_tables_name_what_there_is() -> None:
    [script], [template] = blocks("js"), blocks("html")
    fields = set(re.findall(r"answer\.(\w+)", template + script))
    assert fields <= set(ScanOut.__annotations__)
    assert set(re.findall(r"item\.(\w+)", template)) <= set(ScanOptionOut.__annotations__)
    handlers = re.findall(r'bind\w+="(\w+)"', template)
    assert handlers
    assert all(f"\n  {name}(" in script for name in handlers)
    listed = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| \d+", PAGE, re.MULTILINE)
    assert {name for row in listed for name in re.findall(r"`(\w+)`", row)} == OUTCOMES
    assert set(re.findall(r"^  (\w+): '", script, re.MULTILINE)) <= OUTCOMES


async def test_the_seat_of_one_address_keeps_the_place_at_another_of_the_same_code(
    process: Process, api: httpx.AsyncClient
) -> None:
    code = await group(api, 5)
    channel = done(await api.post(f"/codes/{code['id']}/channels", json={"name": "门店"}), 201)
    as_json = {"Accept": "application/json"}
    first = (await process.phone(**as_json).client.get(f"/{code['slug']}")).json()
    again = process.phone(**as_json, **{"X-Huoma-Seat": first["seat"]})
    there = (await again.client.get(f"/{channel['slug']}")).json()
    assert (there["outcome"], there["target"]) == ("returned", first["target"])


async def test_the_seat_from_the_picture_keeps_a_place_to_which_a_fallback_led(
    process: Process, api: httpx.AsyncClient
) -> None:
    goal = await group(api, 5)
    code = await group(api, 0, fallback={"code_id": goal["id"]})
    as_json = {"Accept": "application/json"}
    first = (await process.phone(**as_json).client.get(f"/{code['slug']}")).json()
    seen = await process.phone().client.get(first["qr_image"])
    done(await api.patch(f"/targets/{code['targets'][0]['id']}", json={"member_limit": 5}))
    again = process.phone(**as_json, **{"X-Huoma-Seat": seen.headers["x-huoma-seat"]})
    told = (await again.client.get(f"/{code['slug']}")).json()
    assert (told["outcome"], told["target"]) == ("fallback", first["target"])


@pytest.mark.parametrize("agent", ["shop-monitor/1.0", "MyBot/2 (+https://shop.example)"])
async def test_a_server_that_calls_itself_a_monitor_gets_no_place(
    process: Process, api: httpx.AsyncClient, agent: str
) -> None:
    code = await group(api, 5)
    answer = await process.phone(agent, Accept="application/json").client.get(f"/{code['slug']}")
    assert answer.json()["outcome"] == "preview"
