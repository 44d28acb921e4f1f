"""The document describes what a scan ends with: each situation is made for real and held against it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest
import schemathesis
from redis.asyncio import Redis
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi import checks

from app.domain.openings import Shortage
from app.qr.reader import Reader
from app.services.draining import Drain
from app.services.recalling import Recaller
from app.store.database import Database
from app.web.api import ApiContext
from app.web.outcomes import HEADS, OUTCOMES
from tests.conftest import Clock, client
from tests.kinds.conftest import group
from tests.kinds.test_outside_wechat import SAFARI
from tests.running import PHONE
from tests.scanning import PUBLIC_URL, Process
from tests.web.api.steps import done
from tests.web.situations import SITUATIONS, Ask, Stage

TAG = "scan"
PAGES = ("/{slug}", "/{slug}/{option}")
JSON = {"Accept": "application/json"}


# That an answer is no 5xx is a check of its own, which is not meant here.
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def hold(described: Any, path: str, answer: httpx.Response) -> None:
    """Raise unless status, media type, headers and body are as the document says for a path."""
    # A case wants values for its path, though nothing is asked with them here.
    case = described[path]["GET"].Case(path_parameters={"slug": "spring26", "option": 1, "token": "7.x"})
    case.validate_response(answer, checks=CHECKS)


def reply(status: int, body: Any, headers: Mapping[str, str]) -> httpx.Response:
    """Make an answer that no server gave."""
    answer = httpx.Response(status, json=body, headers=headers, request=httpx.Request("GET", f"{PUBLIC_URL}/spring26"))
    answer.elapsed = timedelta()
    return answer


@pytest.fixture
def stage(
    process: Process, api: httpx.AsyncClient, clock: Clock, away_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    return Stage(process, api, clock, away_redis, monkeypatch)


@pytest.fixture(scope="module")
async def document(database: Database, redis: Redis, reader: Reader) -> dict[str, Any]:
    clock = Clock()
    recaller = Recaller(database, redis, Drain(database, redis), clock, slugs=1, codes=1)
    context = ApiContext.of(
        database=database, redis=redis, publisher=recaller, reader=reader, public_url=PUBLIC_URL, clock=clock
    )
    async with client(context) as anybody:
        return done(await anybody.get("http://api.test/openapi.json"))


@pytest.fixture(scope="module")
def described(document: dict[str, Any]) -> Any:
    return schemathesis.openapi.from_dict(document)


def test_every_outcome_and_every_reason_has_its_situation() -> None:
    assert {one.outcome for one in SITUATIONS.values()} == OUTCOMES
    assert {one.reason for one in SITUATIONS.values()} == {*Shortage, None}


@pytest.mark.parametrize("name", SITUATIONS)
async def test_every_answer_in_json_is_what_the_document_says(
    stage: Stage, document: dict[str, Any], described: Any, name: str
) -> None:
    outcome, reason, make = SITUATIONS[name]
    ask = await make(stage)
    answer = await ask.send(stage, **JSON)
    told = answer.json()
    assert (told["outcome"], told["reason"], answer.headers["x-huoma-outcome"]) == (outcome, reason, outcome)
    path = PAGES["/" in ask.slug]
    hold(described, path, answer)
    named = document["paths"][path]["get"]["responses"][str(answer.status_code)]["headers"]
    assert ("retry-after" in answer.headers) == ("Retry-After" in named)


@pytest.mark.parametrize("name", SITUATIONS)
async def test_every_page_is_what_the_document_says(stage: Stage, described: Any, name: str) -> None:
    ask = await SITUATIONS[name].make(stage)
    answer = await ask.send(stage)
    assert answer.headers["x-huoma-outcome"] == SITUATIONS[name].outcome
    hold(described, PAGES["/" in ask.slug], answer)


async def test_every_picture_of_a_place_is_what_the_document_says(stage: Stage, described: Any) -> None:
    """Whatever becomes of the code, of the place and of Redis after the address was given."""
    code = await group(stage.api, 5, new_seats_per_minute=1)
    slug, path = code["slug"], f"/codes/{code['id']}"
    seat = (await Ask(slug).send(stage, **JSON)).json()["seat"]
    met = []

    async def see(expected: str, token: str = seat, **headers: str) -> str:
        answer = await Ask(f"{slug}/seat/{token}.png", headers).send(stage)
        assert (answer.headers["x-huoma-outcome"], answer.headers["content-type"]) == (expected, "image/png")
        hold(described, "/{slug}/seat/{token}.png", answer)
        met.append(expected)
        return str(answer.headers.get("x-huoma-seat"))

    await see("preview", **{"Sec-Purpose": "prefetch"})
    await see("unknown", "7.x")
    with stage.monkeypatch.context() as away:
        away.setattr(stage.process.batcher, "_redis", stage.away)
        away.setattr(stage.process.recaller, "_redis", stage.away)
        await see("unavailable")
    stage.clock.forward(seconds=91)
    await Ask(slug).send(stage)
    await see("limited")
    stage.clock.forward(seconds=60)
    await see("returned", await see("claimed"))
    await stage.edit(path, wechat_only=True)
    await see("outside_wechat", **{"User-Agent": SAFARI})
    changes: dict[str, dict[str, Any]] = {
        "disabled": {"disabled": True}, "ended": {"disabled": False, "closes_at": "2026-11-01T00:00:00Z"},
        "not_open": {"closes_at": None, "opens_at": "2026-12-01T00:00:00Z"},
    }  # fmt: skip
    for outcome, change in changes.items():
        await stage.edit(path, **change)
        await see(outcome)
    await stage.edit(path, opens_at=None)
    await stage.edit(f"/targets/{code['targets'][0]['id']}", status="paused")
    await see("full")
    assert (await stage.api.delete(path)).status_code == 204
    await see("closed")
    assert {*met, "menu", "fallback"} == OUTCOMES


async def test_the_other_pictures_and_the_page_at_the_root_are_described(stage: Stage, described: Any) -> None:
    full = (await SITUATIONS["a_fallback_to_a_qr"].make(stage)).slug
    menu = (await stage.menu())["slug"]
    asked = {
        f"{full}/fallback.png": "/{slug}/fallback.png", "never-made/fallback.png": "/{slug}/fallback.png",
        f"{full}/print.png": "/{slug}/print.png", "never-made/print.png": "/{slug}/print.png",
        f"{menu}/1/print.png": "/{slug}/{option}/print.png", "": "/",
    }  # fmt: skip
    for path, operation in asked.items():
        answer = await Ask(path).send(stage)
        assert answer.status_code == (404 if "never" in path else 200)
        hold(described, operation, answer)


async def test_an_answer_of_another_shape_status_or_header_is_refused(stage: Stage, described: Any) -> None:
    """Were it not, nothing above would prove anything."""
    answer = await (await SITUATIONS["all_off_shift"].make(stage)).send(stage, **JSON)
    told = answer.json()
    wrong = [
        ({**told, "outcome": "claimed"}, {}), ({**told, "more": 1}, {}), ({**told, "opens_at": "tomorrow"}, {}),
        ({**told, "reason": "lazy"}, {}), ({**told, "options": [{"label": "a"}]}, {}),
        ({name: value for name, value in told.items() if name != "seat"}, {}),
        (told, {"x-huoma-outcome": "claimed"}), (told, {"retry-after": "soon"}), (told, {"content-type": "text/plain"}),
    ]  # fmt: skip
    kept = {name: answer.headers[name] for name in ("x-huoma-outcome", "retry-after")}
    hold(described, "/{slug}", reply(503, told, kept))
    for body, headers in wrong:
        with pytest.raises((Failure, FailureGroup)):
            hold(described, "/{slug}", reply(503, body, kept | headers))
    for status in (200, 418):
        with pytest.raises((Failure, FailureGroup)):
            hold(described, "/{slug}", reply(status, told, kept))


def test_every_status_and_outcome_of_the_code_is_in_the_document(document: dict[str, Any]) -> None:
    for path in PAGES:
        responses = document["paths"][path]["get"]["responses"]
        assert set(responses) == {str(head.status) for head in HEADS} | {"302"}
        for head in HEADS:
            assert f"`{head.outcome}`" in responses[str(head.status)]["description"]
            assert ("Retry-After" in responses[str(head.status)]["headers"]) == (head.retry_seconds > 0)


def test_every_example_is_an_answer_that_could_be(document: dict[str, Any], described: Any) -> None:
    met = set()
    for status, response in document["paths"]["/{slug}"]["get"]["responses"].items():
        for name, example in response.get("content", {}).get("application/json", {}).get("examples", {}).items():
            headers = {"x-huoma-outcome": name, "retry-after": "1"}
            hold(described, "/{slug}", reply(int(status), example["value"], headers))
            met.add(name)
    assert met == OUTCOMES


def test_a_scan_needs_no_key_and_stands_under_a_tag_of_its_own(document: dict[str, Any]) -> None:
    tagged = {
        path: operation
        for path, item in document["paths"].items()
        for operation in item.values()
        if operation["tags"] == [TAG]
    }
    assert len(tagged) == 7
    assert all(operation["security"] == [] for operation in tagged.values())
    assert all(not path.startswith("/api/") for path in tagged)
    assert TAG in {one["name"] for one in document["tags"]}


async def test_the_document_knows_every_header_that_a_client_without_cookies_needs(
    stage: Stage, document: dict[str, Any]
) -> None:
    scan, see = document["paths"]["/{slug}"]["get"], document["paths"]["/{slug}/seat/{token}.png"]["get"]
    for one in (scan, see, document["paths"]["/{slug}/{option}"]["get"]):
        [header] = [one for one in one["parameters"] if one["in"] == "header"]
        assert (header["name"], header.get("required", False)) == ("X-Huoma-Seat", False)
    ask = await SITUATIONS["a_group"].make(stage)
    first = await ask.send(stage, **JSON)
    picture = await stage.process.phone(PHONE).client.get(first.json()["qr_image"])
    for operation, answer in ((scan, first), (see, picture)):
        named = {name.lower() for name in operation["responses"]["200"]["headers"]}
        sent = {name for name in answer.headers if name.startswith("x-huoma") or name in ("set-cookie", "retry-after")}
        assert sent == named
