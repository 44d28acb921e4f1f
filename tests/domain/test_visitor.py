import json
from pathlib import Path

import pytest

from app.domain.visitor import Client, is_preview, read_user_agent

SAMPLES = json.loads((Path(__file__).parents[1] / "facts" / "ua_samples.json").read_text())["samples"]
PERSON = read_user_agent("Mozilla/5.0 (iPhone) MicroMessenger/8.0.59")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["ua"][-40:])
def test_real_user_agents_are_told_apart(sample: dict[str, str | bool]) -> None:
    browser = read_user_agent(str(sample["ua"]))
    assert browser.client == sample["client"]
    if "os" in sample:
        assert browser.system == sample["os"]
    if "mini_program" in sample:
        assert browser.mini_program is sample["mini_program"]


@pytest.mark.parametrize("text", ["", "curl/8.5.0", "python-httpx/0.28", "Mozilla/5.0", "okhttp/4.12.0"])
def test_what_shows_no_pages_is_a_person_only_when_it_asks_for_json(text: str) -> None:
    assert read_user_agent(text).client is Client.BOT
    assert read_user_agent(text, json=True).client is Client.BROWSER


@pytest.mark.parametrize("text", ["Uptime-Kuma/1.23.11", "kube-probe/1.29", "ELB-HealthChecker/2.0", "Googlebot/2.1"])
def test_what_watches_services_is_no_person_whatever_it_asks_for(text: str) -> None:
    assert read_user_agent(text, json=True).client is Client.BOT


def test_a_phone_called_bot_is_no_bot() -> None:
    for model in ("CUBOT X30", "M bot 60", "POWER BOT"):
        for app in ("Mobile Safari/537.36", "MicroMessenger/8.0.59(0x28003b28)"):
            agent = f"Mozilla/5.0 (Linux; Android 9; {model}) AppleWebKit/537.36 (KHTML, like Gecko) {app}"
            assert read_user_agent(agent).client is not Client.BOT


@pytest.mark.parametrize(
    "text", ["Googlebot/2.1", "Baiduspider", "Slackbot-LinkExpanding 1.0", "facebookexternalhit/1.1"]
)
def test_declared_bots_are_previews(text: str) -> None:
    assert is_preview("GET", read_user_agent(text), {})


def test_a_head_request_is_a_preview() -> None:
    assert is_preview("HEAD", PERSON, {})
    assert not is_preview("GET", PERSON, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [("sec-purpose", "prefetch;prerender"), ("purpose", "prefetch"), ("x-moz", "prefetch"), ("x-purpose", "preview")],
)
def test_a_prefetch_is_a_preview(name: str, value: str) -> None:
    assert is_preview("GET", PERSON, {name: value})
    assert not is_preview("GET", PERSON, {name: "navigate"})
