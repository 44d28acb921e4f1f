"""Programs take no places and people do, by the list of a package and by what every browser says of itself."""

import json
import timeit
from pathlib import Path

import pytest
from crawlerdetect import CrawlerDetect
from hypothesis import given
from hypothesis import strategies as st

from app.domain.visitor import Client, is_preview
from app.web.programs import is_listed
from app.web.scan import read_browser
from tests.scanning import Make, Process

FACTS = Path(__file__).parents[1] / "facts"
PEOPLE = json.loads((FACTS / "ua_people.json").read_text())["samples"]
KNOWN = json.loads((FACTS / "ua_samples.json").read_text())["samples"]
PROGRAMS = json.loads((FACTS / "ua_programs.json").read_text())["programs"]
LIBRARIES = json.loads((FACTS / "ua_programs.json").read_text())["libraries"]
JSON = {"Accept": "application/json"}
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36"
# Made up from the names that these programs put behind a browser's.
UNLISTED = [
    *(f"Mozilla/5.0 (X11; Linux x86_64) {CHROME} {name}" for name in (
        "Cypress/13.6.0", "Puppeteer", "Playwright/1.40.0", "TencentCloud-Probe", "DatadogSynthetics",
        "Microsoft Teams Preview",
    )),
    "Mozilla/5.0 (compatible; proofpoint)", "Mozilla/5.0 (compatible; urlscan)",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; PaloAltoNetworks)",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:115.0) Gecko/20100101 Thunderbird/115.6.0",
]  # fmt: skip


@pytest.mark.parametrize("sample", PEOPLE, ids=lambda sample: sample["what"])
@pytest.mark.parametrize("asks_json", [False, True])
def test_people_are_never_shut_out(sample: dict[str, str], *, asks_json: bool) -> None:
    browser = read_browser(sample["ua"].encode(), asks_json)
    assert (browser.client, browser.system) == (sample["client"], sample["os"])
    assert not is_preview("GET", browser, {})


@pytest.mark.parametrize("sample", KNOWN, ids=lambda sample: sample["ua"][-40:])
def test_the_list_changes_nothing_for_wechat_and_wecom(sample: dict[str, str]) -> None:
    assert read_browser(sample["ua"].encode(), False).client == sample["client"]


@pytest.mark.parametrize("agent", PROGRAMS, ids=lambda agent: agent[:50])
def test_programs_that_name_themselves_take_no_place(agent: str) -> None:
    assert read_browser(agent.encode(), False).client is Client.BOT


@pytest.mark.parametrize("agent", UNLISTED, ids=lambda agent: agent[-30:])
def test_programs_that_the_list_lacks_take_no_place(agent: str) -> None:
    assert read_browser(agent.encode(), False).client is Client.BOT
    assert read_browser(agent.encode(), True).client is Client.BOT


@pytest.mark.parametrize("model", ["Spider X", "SPIDER-MAN", "Bot/3", "CRAWLER 5", "Robot X1", "SCAN-L09", "Probe 2"])
@pytest.mark.parametrize("asks_json", [False, True])
def test_a_phone_may_be_called_anything(model: str, *, asks_json: bool) -> None:
    agent = f"Mozilla/5.0 (Linux; Android 13; {model} Build/TP1A; wv) {CHROME}"
    assert read_browser(agent.encode(), asks_json).client is Client.BROWSER
    assert read_browser(f"{agent} MicroMessenger/8.0.50.2700".encode(), asks_json).client is Client.WECHAT
    assert read_browser(f"{agent} wxwork/4.1.13 MicroMessenger/7.0.1".encode(), asks_json).client is Client.WECOM


def test_a_mini_program_that_asks_for_json_is_a_person() -> None:
    agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148 MicroMessenger/8.0.50 crawlspace/1"
    assert read_browser(agent.encode(), True).client is Client.WECHAT


@pytest.mark.parametrize("agent", PROGRAMS, ids=lambda agent: agent[:50])
def test_a_program_that_is_no_library_takes_no_place_for_json_either(agent: str) -> None:
    assert read_browser(agent.encode(), True).client is Client.BOT


@pytest.mark.parametrize("agent", LIBRARIES, ids=lambda agent: agent[:50])
def test_a_library_takes_a_place_only_when_it_asks_for_json(agent: str) -> None:
    assert read_browser(agent.encode(), False).client is Client.BOT
    assert read_browser(agent.encode(), True).client is Client.BROWSER


@pytest.mark.parametrize(
    "agent", [sample["ua"] for sample in PEOPLE + KNOWN] + PROGRAMS + LIBRARIES, ids=lambda a: a[:50]
)
def test_the_quick_search_finds_what_the_package_finds(agent: str) -> None:
    assert is_listed(agent) is CrawlerDetect().is_crawler(agent)


@given(st.sampled_from(PROGRAMS + LIBRARIES), st.sampled_from([sample["ua"] for sample in PEOPLE]), st.integers(0, 30))
def test_a_name_within_a_browsers_agent_is_found_as_the_package_finds_it(name: str, agent: str, at: int) -> None:
    words = agent.split(" ")
    mixed = " ".join([*words[:at], name, *words[at:]])
    assert is_listed(mixed) is CrawlerDetect().is_crawler(mixed)


def test_a_new_agent_costs_microseconds() -> None:
    agents = [sample["ua"] for sample in PEOPLE]
    for agent in agents:
        is_listed(agent)

    seconds = min(timeit.repeat(lambda: [is_listed(agent) for agent in agents], number=1, repeat=20)) / len(agents)

    assert seconds < 100e-6


async def test_a_library_that_was_given_a_place_may_load_its_picture(process: Process, code: Make) -> None:
    made = await code(1)
    library = process.phone("python-httpx/0.28.1", **JSON)
    told = (await library.client.get(f"/{made.slug}")).json()
    picture = await process.phone("python-httpx/0.28.1").client.get(told["qr_image"])

    assert told["outcome"] == "claimed"
    assert picture.headers["x-huoma-outcome"] in ("claimed", "returned")
