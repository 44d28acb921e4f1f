"""Send hosts, headers, cookies and paths of a stranger: none appears in what we say, and nobody is sent there."""

import re
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest

from tests.running import PHONE, Service
from tests.web.api.steps import payload

from .conftest import told

EVIL = "evil.example"
FORWARDED = {
    "Host": EVIL, "X-Forwarded-Host": EVIL, "X-Forwarded-Proto": "https", "X-Forwarded-Port": "666",
    "X-Forwarded-Server": EVIL, "X-Original-URL": f"//{EVIL}/", "X-Rewrite-URL": f"//{EVIL}/",
    "Forwarded": f"host={EVIL}",
    "Referer": f"https://{EVIL}/", "Origin": f"https://{EVIL}", "X-Http-Method-Override": "DELETE",
    "Accept-Language": f"zh, {EVIL}", "X-Request-Id": EVIL, "Cookie": f"hm_{EVIL}={EVIL}; a={EVIL}",
}  # fmt: skip


@pytest.fixture(scope="module")
def slugs(service: Service) -> dict[str, str]:
    """Make a code of each kind that leads somewhere."""

    def make(api: httpx.Client, target: dict[str, Any] | None, **fields: Any) -> Any:
        code = api.post("/codes", json={"name": "n", **fields}).raise_for_status().json()
        if target:
            api.post(f"/codes/{code['id']}/targets", json=target).raise_for_status()
        return code

    with service.api as api:
        group = make(api, {"payload": payload()}, kind="group")
        menu = make(api, None, kind="menu")
        options = {"options": [{"label": "一", "code_id": group["id"]}]}
        api.put(f"/codes/{menu['id']}/options", json=options).raise_for_status()
        only = make(api, {"payload": payload()}, kind="group", wechat_only=True)
        link = make(api, {"url": "https://shop.example/a?b=c"}, kind="link", pass_query=True)
        return {"group": group["slug"], "menu": menu["slug"], "only": only["slug"], "link": link["slug"]}


@pytest.fixture
def visitor(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, headers={"User-Agent": PHONE}, trust_env=False) as client:
        yield client


def said(answer: httpx.Response) -> str:
    return str(answer.headers) + answer.text


def test_the_host_and_headers_of_a_stranger_are_told_to_nobody(
    service: Service, visitor: httpx.Client, slugs: dict[str, str]
) -> None:
    paths = [f"/{slug}" for slug in slugs.values()] + [
        f"/{slugs['menu']}/1", "/no-such-code", "/a/b/c", "/docs", "/openapi.json", "/healthz",
        "/readyz", "/api/v1/codes",
        "/docs/assets", "/docs/assets/", f"/{slugs['group']}/seat/x.png", f"/{slugs['group']}/fallback.png",
        "/robots.txt",
    ]  # fmt: skip
    for path in paths:
        for agent in (PHONE, "Mozilla/5.0 Firefox/140.0"):
            for accept in ("text/html", "application/json"):
                answer = visitor.get(path, headers={**FORWARDED, "User-Agent": agent, "Accept": accept})
                assert EVIL not in said(answer), path
                assert "; Secure" not in str(answer.headers.get_list("set-cookie"))
    with service.api as api:
        made = api.post("/codes", json={"name": "n"}, headers={**FORWARDED, "Cookie": ""})
        assert made.json()["url"].startswith(service.url)
        assert EVIL not in said(made)


@pytest.mark.parametrize(
    "path",
    [
        f"//{EVIL}", f"//{EVIL}/", f"///{EVIL}", f"/\\{EVIL}", f"/%5c{EVIL}", f"/%2f%2f{EVIL}", f"/%2F{EVIL}/..",
        f"/https://{EVIL}", f"/https:%2f%2f{EVIL}", f"/docs//{EVIL}/..", f"/docs/assets//{EVIL}", f"/api/v1//{EVIL}/",
        f"//{EVIL}/%2e%2e", f"/healthz/..//{EVIL}", f"http://{EVIL}/", f"http://{EVIL}/docs/assets",
        "/docs/assets/../../..",
        "/docs/assets/%2e%2e/%2e%2e/__init__.py", "/docs/assets/..%2f..%2f__init__.py", "/docs/assets//etc/passwd",
    ],
)  # fmt: skip
def test_no_path_sends_anybody_elsewhere_or_shows_a_file(service: Service, path: str) -> None:
    connection = HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", EVIL)
    connection.putheader("User-Agent", PHONE)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.headers["Location"] is None
    assert answer.status in {200, 400, 401, 404}, answer.status
    assert b"StaticFiles" not in body
    assert b"root:" not in body
    assert EVIL.encode() not in body


def test_a_query_stays_a_query(service: Service, slugs: dict[str, str]) -> None:
    """Line breaks, NUL and what is no Latin in a query that a link hands on make no header of their own."""
    for query in (
        b"x=%0d%0aSet-Cookie:%20hm_a=b", b"x=%0aLocation:%20//evil.example", b"%0d%0a%0d%0a<script>", b"x=%00",
        b"x=%E5%98%8D%E5%98%8A",
        b"@evil.example", b"//evil.example", b"x=\xe4\xbd\xa0", b"#@evil.example", b"\\@evil.example",
    ):  # fmt: skip
        head = b"Host: h\r\nConnection: close\r\nUser-Agent: " + PHONE.encode()
        statuses, answer = told(
            service, b"GET /%s?%s HTTP/1.1\r\n%s\r\n\r\n" % (slugs["link"].encode(), query, head), 20
        )
        assert statuses in ([302], [400]), answer
        locations = re.findall(rb"(?im)^location: (.*)\r$", answer)
        assert len(locations) == (statuses == [302])
        assert all(one.startswith(b"https://shop.example/a?b=c") for one in locations)
        assert not re.search(rb"(?im)^set-cookie: (?!hm_[0-9a-z]{16}=)", answer)


@pytest.mark.parametrize(
    "cookies",
    [
        ["hm_a=" + "x" * 60_000],
        ["; ".join(f"hm_{i:016}=1.2.0.a.h.{i}.s" for i in range(1200))],
        [f"hm_{i:016}=1.2.0.a.h.{i}.s" for i in range(90)],
        ["hm_" + '"><script>alert(1)</script>' + "=x"] * 30,
        ["; ".join(f"hm_{i}\xe9\t,=x" for i in range(40))],
        ["hm_=;;;==; hm_; =; hm_a=b=c; $Version=1"],
    ],
    ids=["giant", "a thousand", "ninety headers", "a script", "no names", "no cookies"],
)
def test_whatever_cookies_a_phone_brings_it_gets_its_page(
    service: Service, slugs: dict[str, str], cookies: list[str]
) -> None:
    lines = "".join(f"Cookie: {one}\r\n" for one in cookies)
    head = f"GET /{slugs['group']} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nUser-Agent: {PHONE}\r\n{lines}\r\n"
    statuses, answer = told(service, head.encode("latin-1"), 20)
    assert statuses == [200], answer[:500]
    assert b"x-huoma-outcome: claimed" in answer.lower()
    assert b"<script>alert" not in answer.partition(b"\r\n\r\n")[2]
    # More than a proxy takes in one answer would be an error to whoever carries too many.
    assert len(answer.partition(b"\r\n\r\n")[0]) < 4096


def test_a_header_given_twice_is_believed_by_nobody(service: Service) -> None:
    key = service.environment["HUOMA_BOOTSTRAP_KEY"].encode()
    for lines in (
        b"Authorization: Bearer " + key + b"\r\nAuthorization: Bearer " + key,
        b"Authorization: Bearer " + key + b", Bearer " + key,
        b"Authorization: Bearer \x80" + key,
        b"Authorization: bearer\t" + key,
    ):
        sent = b"GET /api/v1/codes HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + lines + b"\r\n\r\n"
        assert told(service, sent, 20)[0] in ([401], [400])
