"""Type script, markup and styles into every text that the API takes, and look at every page as a phone does."""

import re
from typing import Any, Final

import httpx
import pytest

from tests.running import group_payload
from tests.scanning import Process

from .conftest import LARGE_PHONE, WECHAT_IOS, Chromium, Serve

SCRIPT: Final = "</title></style></script><script>ran=1</script><img src=x onerror=ran=1><svg onload=ran=1>"
STYLE: Final = "\"'><style>*{display:none}</style><a href=javascript:ran=1 onclick=ran=1>x</a>{{7*7}}${7*7}<!--"
# Every text of a body of the API, by schema; where it ends up is said below.
SHOWN: Final = {
    "NewCode.name", "NewCode.slug", "Landing.title", "Landing.notice",
    "Fallback.message", "NewTarget.name", "NewTarget.url", "OptionFields.label",
    "OptionFields.hint", "Fallback.url",
}  # fmt: skip
# Of the same kind as those above, or shown to no visitor.
NOT_SHOWN: Final = {
    "AccountChange.name", "ChannelChange.name", "ChannelChange.state", "CodeChange.name",
    "Fallback.payload", "FreshQr.payload", "FreshQr.url", "NewAccount.name",
    "NewChannel.name", "NewChannel.slug", "NewChannel.state", "NewKey.name",
    "NewTarget.payload", "TargetChange.name", "WorkspaceChange.name", "WorkspaceChange.time_zone",
    "NewTargetPicture.name", "Body_print_with_logo.caption", "Body_print_channel_with_logo.caption",
    "Body_print_option_with_logo.caption",
}  # fmt: skip
# Pictures, and styles that are checked against a few words.
NO_TEXTS: Final = frozenset({"image", "logo", "ec", "dark", "light", "format"})
BAD_URLS: Final = (
    "javascript:ran=1", "JaVaScRiPt://a.example/%0aran=1", "data:text/html,<script>ran=1</script>", "vbscript:x",
    "//a.example",
    "https://a.example/\u202e", "java\nscript:ran=1", 'weixin://dl/business/?t="><script>', "https://a@b.example:x",
)  # fmt: skip


def texts(document: dict[str, Any]) -> set[tuple[str, str]]:
    """List what is typed: fields of bodies that hold any text."""
    found = set()
    for name, schema in document["components"]["schemas"].items():
        if name.endswith(("Out", "Page", "Problem", "Row", "Readiness")) or "properties" not in schema:
            continue
        for field, one in schema["properties"].items():
            kinds = [one, *one.get("anyOf", ())]
            if any(
                kind.get("type") == "string" and not {"enum", "const", "pattern", "format"} & set(kind)
                for kind in kinds
            ):
                found.add((name, field))
    return found


async def test_every_text_of_the_document_is_thought_of(process: Process) -> None:
    document = (await process.phone().client.get("/openapi.json")).json()
    known = {tuple(one.split(".")) for one in SHOWN | NOT_SHOWN}
    assert {(name, field) for name, field in texts(document) - known if field not in NO_TEXTS} == set()


@pytest.mark.parametrize("attack", [SCRIPT, STYLE], ids=["script", "style"])
async def test_nothing_that_was_typed_runs_on_any_page(
    process: Process, api: httpx.AsyncClient, chromium: Chromium, serve: Serve, attack: str
) -> None:
    async def made(path: str, method: str = "POST", **body: Any) -> Any:
        return (await api.request(method, path, json=body)).raise_for_status().json()

    texts: dict[str, Any] = {"name": attack[:100], "landing": {"title": attack[:100], "notice": (attack + "\n") * 5}}
    payload = {"payload": group_payload(1), "name": attack[:100]}
    full = {"payload": "https://u.wechat.com/MInvented_and_long", "message": attack * 2}
    kinds: tuple[dict[str, Any], ...] = (
        {}, {}, {"wechat_only": True}, {"kind": "menu"}, {"disabled": True}, {"opens_at": "2027-12-01T10:00:00Z"},
        {"fallback": full},
    )  # fmt: skip
    group, empty, outside, menu, paused, later, static = [await made("/codes", **texts, **kind) for kind in kinds]
    await made(f"/codes/{group['id']}/targets", **payload)
    option = {"label": attack[:100], "hint": attack[:100], "code_id": group["id"]}
    await made(f"/codes/{menu['id']}/options", "PUT", options=[option])
    origin = await serve(process.app)
    browser = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36"
    shown: list[str] = []
    for code in (group, empty, outside, menu, paused, later, static):
        async with chromium.page(LARGE_PHONE, browser if code is outside else WECHAT_IOS) as page:
            await page.go(f"{origin}/{code['slug']}")
            ran = await page.evaluate("[typeof ran, [...document.links].every(link => link.origin == location.origin)]")
            assert ran == ["undefined", True]
            # A page that says "full" has a status that Chromium takes note of.
            assert not [words for words in page.complaints if "responded with a status of" not in words]
            assert {re.sub(r"^(https?://[^/]+).*", r"\1", url) for url in page.requests} == {origin}
            shown.append(await page.evaluate("getComputedStyle(document.querySelector('h1')).display"))
    assert "none" not in shown


async def test_no_link_runs_a_script(api: httpx.AsyncClient) -> None:
    code = (await api.post("/codes", json={"name": "n", "kind": "link"})).json()
    for url in BAD_URLS:
        answer = await api.post(f"/codes/{code['id']}/targets", json={"url": url})
        assert answer.status_code == 422, url
        assert (await api.post("/codes", json={"name": "n", "fallback": {"url": url}})).status_code == 422, url
        assert (await api.post("/codes", json={"name": "n", "slug": url})).status_code == 422, url


async def test_the_page_of_the_api_keeps_to_its_policy(process: Process, chromium: Chromium, serve: Serve) -> None:
    origin = await serve(process.app)
    async with chromium.page(
        (1280, 900), "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0 Safari/537.36", scale=1
    ) as page:
        await page.go(f"{origin}/docs")
        for _ in range(100):
            if await page.evaluate("document.querySelectorAll('.opblock').length") >= 40:
                break
            await page.evaluate("new Promise(done => setTimeout(done, 100))")
        assert await page.evaluate("document.querySelectorAll('.opblock').length") >= 40
        await page.evaluate("document.querySelector('.opblock-summary-control').click()")
        assert page.complaints == []
        assert all(url.startswith((origin, "data:")) for url in page.requests)
