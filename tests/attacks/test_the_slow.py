"""Be slow on purpose, in crowds: nobody else waits, and whoever keeps a connection for nothing is dropped."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import httpx
import pytest
import uvicorn

from app.guarding import Guarded
from app.settings import Server
from tests.running import KEY, Service

from .conftest import WAIT_SECONDS, Stranger

HEAD = b"POST /api/v1/codes HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nAuthorization: Bearer "
LARGE = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: h\r\n\r\n"
# A process on a busy machine looks late.
LATEST_SECONDS = WAIT_SECONDS * 4 + 15


@contextmanager
def trickling(*strangers: Stranger, piece: bytes) -> Iterator[None]:
    """Send a little on each of some connections, twice a second, until the block ends."""
    done = threading.Event()

    def trickle() -> None:
        while not done.wait(0.5):
            for stranger in strangers:
                stranger.send(piece)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def crowd_of(service: Service, number: int, first: bytes, **options: int) -> list[Stranger]:
    strangers = [Stranger(service, **options) for _ in range(number)]
    for stranger in strangers:
        stranger.send(first)
    return strangers


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHost: h\r\n", b"X: y\r\n"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nCookie: ", b"a"),
        (b"", b"\r\n"),
        (HEAD + KEY.encode() + b"\r\nContent-Length: 5000\r\n\r\n", b" "),
        (HEAD + KEY.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n", b" "),
        (b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nGET", b"T"),
    ],
    ids=["silent", "fields", "one field", "empty lines", "a body", "chunks", "a body nobody reads", "a second head"],
)
def test_who_is_slow_is_dropped_and_stops_nobody(service: Service, first: bytes, piece: bytes) -> None:
    slow = crowd_of(service, 20, first)
    with trickling(*slow, piece=piece):
        for _ in range(5):
            assert httpx.get(f"{service.url}/healthz", trust_env=False, timeout=30).is_success
        until = time.monotonic() + LATEST_SECONDS
        assert [stranger.hung_up(max(0.1, until - time.monotonic())) for stranger in slow] == [True] * len(slow)
    for stranger in slow:
        stranger.close()


def test_a_slow_body_is_told_so(service: Service) -> None:
    [slow] = crowd_of(service, 1, HEAD + KEY.encode() + b"\r\nContent-Length: 5000\r\n\r\n")
    with trickling(slow, piece=b" "):
        answer = slow.rest(LATEST_SECONDS)
    slow.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_too_slow"' in answer


def test_who_does_not_read_stops_nobody_and_is_dropped_where_the_server_can(service: Service) -> None:
    """granian offers no bound for this: behind it, the proxy has to have one (docs/operations.md)."""
    slow = crowd_of(service, 20, LARGE * 4, buffer=4096)
    for _ in range(5):
        assert httpx.get(f"{service.url}/healthz", trust_env=False, timeout=30).is_success
    if service.environment["HUOMA_SERVER"] == Server.UVICORN:
        # What is written to a connection that was aborted comes back as an error; this one still looks open to us.
        until = time.monotonic() + LATEST_SECONDS
        while any(stranger.send(b"\r\n") for stranger in slow) and time.monotonic() < until:
            time.sleep(0.2)
        assert not any(stranger.send(b"\r\n") for stranger in slow)
    for stranger in slow:
        stranger.close()


async def hello(_scope: Any, _receive: Any, send: Callable[[Any], Any]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"16000000")]})
    await send({"type": "http.response.body", "body": bytes(16_000_000)})


@contextmanager
def guarded(connections_max: int = 100) -> Iterator[int]:
    """Serve by uvicorn in a thread, guarded; the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        protocol: Any = partial(Guarded, connections_max=connections_max)
        config = uvicorn.Config(hello, http=protocol, lifespan="off", log_level="error", timeout_keep_alive=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


def taken_from(connection: socket.socket) -> int:
    """Count what still comes until the other side hangs up."""
    taken = 0
    with suppress(ConnectionError):
        while piece := connection.recv(1_000_000):
            taken += len(piece)
    return taken


def test_newcomers_take_the_place_of_who_waits_longest() -> None:
    with guarded(connections_max=20) as port:
        idle = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(20)]
        # Accepted in this order: whoever comes later has been heard of later.
        newcomer = socket.create_connection(("127.0.0.1", port), timeout=30)
        newcomer.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert newcomer.recv(12) == b"HTTP/1.1 200"
        assert taken_from(idle[0]) == 0
        idle[-1].sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert idle[-1].recv(12) == b"HTTP/1.1 200"
        for one in (*idle, newcomer):
            one.close()


def test_an_answer_that_nobody_takes_is_thrown_away_and_one_that_is_taken_slowly_is_not() -> None:
    with guarded() as port:
        asleep, slow = socket.socket(), socket.socket()
        for one in (asleep, slow):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            one.settimeout(30)
            one.connect(("127.0.0.1", port))
            one.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        taken, end = 0, time.monotonic() + 8
        while time.monotonic() < end:
            taken += len(slow.recv(8192))
            time.sleep(0.02)
        taken += taken_from(slow)
        assert taken > 16_000_000
        assert taken_from(asleep) < 16_000_000
        for one in (asleep, slow):
            one.close()
