"""Put the same questions to the service under each web server: visitors and operators must not be able to tell."""

import asyncio
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import pytest
import zxingcpp
from PIL import Image

from app.embedded.locks import until
from app.settings import Server
from tests.running import (
    PHONE,
    Service,
    Visited,
    crowd,
    free_port,
    group_payload,
    make_code,
    running_service,
    server_folder,
    web_processes,
)

WORKERS = 2
PATIENCE_SECONDS = 60
BOT = "mpcrawler"


@pytest.fixture(scope="module")
def everything() -> Iterator[Service]:
    settings: dict[str, Any] = {"server": Server.UVICORN, "redis_timeout_seconds": 20, "shutdown_seconds": 30}
    with server_folder() as folder, running_service(folder, workers=WORKERS, **settings) as service:
        yield service


@pytest.fixture(scope="module", params=list(Server))
def service(everything: Service, request: pytest.FixtureRequest) -> Service:
    """Run two web processes under one server after the other."""
    everything.serve_under(request.param)
    assert until(lambda: len(web_processes(everything)) == WORKERS, PATIENCE_SECONDS)
    return everything


def phone(service: Service, **options: object) -> httpx.Client:
    return httpx.Client(base_url=service.url, headers={"User-Agent": PHONE}, trust_env=False, verify=False, **options)  # type: ignore[arg-type]


def make_link(service: Service, url: str, **fields: object) -> str:
    with service.api as api:
        code = api.post("/codes", json={"name": "link", "kind": "link", **fields}).raise_for_status().json()
        api.post(f"/codes/{code['id']}/targets", json={"url": url}).raise_for_status()
    return str(code["slug"])


def scans_counted(service: Service, outcome: str) -> float:
    """Ask one process what all of them have counted."""
    told = httpx.get(f"{service.url}/metrics", trust_env=False).text
    found = re.search(rf'^huoma_scans_total{{outcome="{outcome}"}} (\S+)$', told, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_visitor_scans_looks_and_comes_back(service: Service) -> None:
    _, slug = make_code(service, "poster", [200])
    with phone(service) as visitor:
        page = visitor.get(f"/{slug}")
        picture = visitor.get(re.search(r'<img[^>]+src="([^"]+)"', page.text)[1])  # type: ignore[index]
        again = visitor.get(f"/{slug}")

    [read] = zxingcpp.read_barcodes(Image.open(BytesIO(picture.content)))
    assert read.text == group_payload(0)
    assert [r.headers["x-huoma-outcome"] for r in (page, picture, again)] == ["claimed", "claimed", "returned"]
    assert int(page.headers["content-length"]) == len(page.content)
    assert page.headers.get_list("cache-control") == ["no-store, no-cache, must-revalidate, max-age=0"]


def test_a_link_is_a_redirect_without_a_body(service: Service) -> None:
    slug = make_link(service, "https://shop.example/spring?a=1#top")
    with phone(service) as visitor:
        sent_on = visitor.get(f"/{slug}")
    assert (sent_on.status_code, sent_on.headers["location"]) == (302, "https://shop.example/spring?a=1#top")
    assert (sent_on.headers["content-length"], sent_on.content) == ("0", b"")


def test_cookies_are_set_one_by_one_and_in_order(service: Service) -> None:
    """Trap 26: cookies go out before the body."""
    _, slug = make_code(service, "poster", [200])
    carried = "; ".join(f"hm_{number:016}=1.2.0.a.h.{number}.s" for number in range(21))
    with phone(service) as visitor:
        cookies = visitor.get(f"/{slug}", headers={"Cookie": carried}).headers.get_list("set-cookie")
    assert len(cookies) > 2
    assert "Max-Age=2592000" in cookies[0]
    assert all("Max-Age=0" in cookie for cookie in cookies[1:])


def test_a_head_is_told_the_length_and_gets_no_body(service: Service) -> None:
    _, slug = make_code(service, "poster", [200])
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_SECONDS)
    said = []
    for method in ("HEAD", "GET", "HEAD", "GET"):
        # On one connection: a body that nobody asked for would be taken for the next answer.
        connection.request(method, f"/{slug}", headers={"User-Agent": BOT})
        reply = connection.getresponse()
        reply.read()
        said.append((reply.status, reply.headers["X-Huoma-Outcome"], reply.headers["Content-Length"]))
    connection.close()
    assert len(set(said)) == 1
    assert int(said[0][2]) > 0


def test_addresses_and_queries_arrive_as_they_were_sent(service: Service) -> None:
    slug = make_link(service, "https://shop.example/", pass_query=True)
    with phone(service) as visitor:
        sent_on = visitor.get(f"/{slug}?from=%E6%B5%B7%E6%8A%A5&x=a+b")
        escaped = visitor.get("/%E4%BD%A0%E5%A5%BD")
    assert sent_on.headers["location"] == "https://shop.example/?from=%E6%B5%B7%E6%8A%A5&x=a+b"
    assert (escaped.status_code, escaped.headers["x-huoma-outcome"]) == (404, "unknown")


def test_a_forwarded_address_is_believed_from_listed_proxies_only(service: Service) -> None:
    """Trap 24: X-Forwarded-For counts from listed proxies only."""
    slug = make_link(service, "https://shop.example/", new_seats_per_minute=1)

    def told(forwarded: str, **transport: object) -> str:
        with phone(service, transport=httpx.HTTPTransport(**transport)) as visitor:  # type: ignore[arg-type]
            return visitor.get(f"/{slug}", headers={"X-Forwarded-For": forwarded}).headers["x-huoma-outcome"]

    assert [told(address) for address in ("8.8.4.4", "8.8.4.4", "9.9.9.9")] == ["claimed", "limited", "claimed"]
    assert [told("1.1.1.1", local_address="127.0.0.2") for _ in range(2)] == ["claimed", "claimed"]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /%ff%fe%00 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /demo HTTP/1.1\r\nHost: h\r\nUser-Agent: \xff\xfe\r\n\r\n",
        b"GET /demo HTTP/1.1\r\nHost: h\r\nContent-Length: nine\r\n\r\n",
        b"GET /demo HTTP/1.1\r\nHost: h\r\nCookie: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /demo HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(1000)) + b"\r\n",
        b"GET http://elsewhere.example/demo HTTP/1.1\r\nHost: h\r\n\r\n",
        b"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
    ids=range(10),
)
def test_what_is_no_proper_request_is_refused_and_never_a_fault(service: Service, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as stranger:
        try:
            stranger.sendall(sent)
            answer = stranger.recv(12)
        except ConnectionError:
            answer = b""
    assert not answer or re.fullmatch(rb"HTTP/1.1 [234]\d\d?", answer)
    with phone(service) as visitor:
        assert visitor.get("/healthz").is_success


@pytest.mark.parametrize("what", ["?utm_campaign=双11", "。", "？utm=双11", ""])
def test_an_address_in_bare_bytes_leads_to_its_code(service: Service, what: str) -> None:
    """Browsers encode what is no ASCII in an address; some programs and old phones send it bare."""
    _, slug = make_code(service, "poster", [200])
    lines = f"GET /{slug}{what} HTTP/1.1\r\nHost: h\r\nUser-Agent: {PHONE}\r\nConnection: close\r\n\r\n"
    answer = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as stranger:
        stranger.sendall(lines.encode())
        while piece := stranger.recv(65_536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
    assert b"x-huoma-outcome: claimed" in answer.lower()


def test_all_processes_are_summed_up(service: Service) -> None:
    _, slug = make_code(service, "poster", [200])
    before = scans_counted(service, "claimed")
    for _ in range(40):
        # Each on a connection of its own, so that both processes are asked.
        with phone(service) as visitor:
            visitor.get(f"/{slug}")
    assert scans_counted(service, "claimed") - before == 40


def test_a_killed_process_is_replaced(service: Service) -> None:
    _, slug = make_code(service, "poster", [200])
    before = set(web_processes(service))
    killed = before.pop()
    os.kill(killed, signal.SIGKILL)

    def replaced() -> bool:
        return len({*web_processes(service)} - {killed}) == WORKERS

    assert until(replaced, PATIENCE_SECONDS)
    assert before < set(web_processes(service))
    service.wait_until_ready()
    met: list[Visited] = asyncio.run(crowd(service.url, slug, visitors=20, connections=4))
    assert {visited.picture for visited in met} == {"claimed"}


def test_what_is_in_flight_is_answered_before_the_end(service: Service) -> None:
    _, slug = make_code(service, "poster", [200])
    redis = service.servers.redis.pid
    assert redis
    visitors = [http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_SECONDS) for _ in range(30)]
    for visitor in visitors:
        # So that every process knows the code, and waits for Redis alone.
        visitor.request("GET", f"/{slug}", headers={"User-Agent": BOT})
        assert visitor.getresponse().read()
    idle = [visitors.pop() for _ in range(10)]
    os.kill(redis, signal.SIGSTOP)
    try:
        for visitor in visitors:
            visitor.request("GET", f"/{slug}", headers={"User-Agent": PHONE})
        for _ in range(20):
            # What was sent before is being worked on when these have been answered.
            with phone(service) as other:
                assert other.get("/healthz").is_success
        child = service.children.pop("serve")
        child.terminate()
        # A process that is told to stop hangs up on who asks nothing, and both have such visitors.
        assert {visitor.sock.recv(1) for visitor in idle} == {b""}
        assert child.poll() is None
    finally:
        os.kill(redis, signal.SIGCONT)
    answers = [visitor.getresponse() for visitor in visitors]

    assert [answer.headers["X-Huoma-Outcome"] for answer in answers] == ["claimed"] * 20
    assert all(b"<img" in answer.read() for answer in answers)
    assert child.wait(PATIENCE_SECONDS) == 0


def test_a_server_that_is_not_installed_is_named(everything: Service) -> None:
    hidden = "import sys; sys.modules['granian'] = None; from app import cli; sys.exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", hidden, "serve", "--server", "granian", "--port", str(free_port())]
    refused = subprocess.run(
        command, env=everything.environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert refused.returncode == 2
    assert refused.stderr == "huoma: The web server granian is not installed; `pip install granian` does it.\n"


def test_granian_shares_its_port_with_nobody(everything: Service) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as holder:
        refused = everything.run("serve", "--server", "granian", "--port", str(holder.getsockname()[1]))
    assert refused.returncode == 2
    assert "huoma: Cannot listen on 127.0.0.1 port" in refused.stderr
