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


@pytest.mark.parametrize("text", ["", "curl/8.5.0", "python-httpx/0.28", "Mozilla/5.0 (X11; CUBOT X30) Mobile Safari"])
def test_programs_that_are_not_declared_bots_count_as_people(text: str) -> None:
    assert read_user_agent(text).client is Client.BROWSER


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
