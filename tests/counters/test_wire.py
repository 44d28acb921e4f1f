"""The wire that scans go over, against a real Redis: in order, cut, stalled, refused, and behind TLS."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from app.counters import refusals
from app.counters.scripts import Script
from app.counters.server import away, connect
from app.counters.wire import Wire
from app.domain.errors import CountersAway
from app.embedded import Servers

ECHO = Script("echo", "return {KEYS[1], ARGV[1]}")
COUNT = Script("count", "return redis.call('INCR', KEYS[1])")
TIMEOUT = 0.5


@dataclass
class Relay:
    """Stand between a client and Redis; `cut_after` bytes of replies it hangs up, while `stalled` it keeps them."""

    socket: str
    tls: ssl.SSLContext | None = None
    cut_after: int | None = None
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    met: int = 0
    port: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Relay"]:
        self.stalled.set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.stalled.set()
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met += 1
        from_redis, to_redis = await asyncio.open_unix_connection(self.socket)
        await asyncio.gather(self._copy(reader, to_redis), self._copy_replies(from_redis, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def _copy_replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                await self.stalled.wait()
                if self.cut_after is not None:
                    writer.write(data[: self.cut_after])
                    break
                writer.write(data)
        writer.close()


Dial = Callable[..., Wire]


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    opened: list[tuple[Redis, Wire]] = []

    def to(url: str, seconds: float = TIMEOUT) -> Wire:
        redis = connect(url, connections=2, timeout_seconds=seconds)
        opened.append((redis, Wire(redis, timeout_seconds=seconds)))
        return opened[-1][1]

    yield to
    for redis, wire in opened:
        await wire.aclose()
        await redis.aclose()


@pytest.fixture
async def relay(servers: Servers) -> AsyncIterator[Relay]:
    async with Relay(urlsplit(servers.redis_url).path).running() as relay:
        yield relay


@pytest.mark.parametrize("where", ["one", "cluster"], indirect=True)
async def test_a_thousand_calls_at_once_each_get_their_own_answer(where: str, dial: Dial) -> None:
    # A busy machine may take a second for a thousand.
    wire = dial(where, 30)
    answers = await asyncio.gather(*(ECHO.run(wire, [f"k{n}"], [n]) for n in range(1_000)))
    assert answers == [[f"k{n}", str(n)] for n in range(1_000)]


async def test_all_who_call_first_share_one_connection(relay: Relay, dial: Dial) -> None:
    wire = dial(f"redis://127.0.0.1:{relay.port}/0")
    await asyncio.gather(*(ECHO.run(wire, ["k"], [n]) for n in range(50)))
    assert relay.met == 1


@pytest.mark.parametrize("where", ["one", "cluster"], indirect=True)
async def test_a_script_that_redis_has_forgotten_is_sent_anew(where: str, dial: Dial) -> None:
    wire = dial(where)
    await ECHO.run(wire, ["k"], ["before"])
    redis = connect(where, connections=1, timeout_seconds=TIMEOUT)
    await redis.script_flush()
    await redis.aclose()
    assert await ECHO.run(wire, ["k"], ["after"]) == ["k", "after"]


@pytest.mark.parametrize("where", ["one", "cluster"], indirect=True)
async def test_a_script_that_fails_says_so_and_leaves_the_others_alone(where: str, dial: Dial) -> None:
    wire = dial(where)
    broken = Script("broken", "return redis.call('NOSUCHCOMMAND')")
    answers = await asyncio.gather(
        ECHO.run(wire, ["k"], [1]), broken.run(wire, ["k"], []), ECHO.run(wire, ["k"], [2]), return_exceptions=True
    )
    assert (answers[0], answers[2]) == (["k", "1"], ["k", "2"])
    assert "NOSUCHCOMMAND" in str(answers[1]) or "Unknown Redis command" in str(answers[1])
    assert not isinstance(answers[1], CountersAway)


async def test_a_reply_cut_in_the_middle_fails_and_is_not_asked_twice(
    relay: Relay, dial: Dial, redis: Redis, workspace_key: str
) -> None:
    wire = dial(f"redis://127.0.0.1:{relay.port}/0")
    await COUNT.run(wire, [workspace_key], [])
    relay.cut_after = 2
    with pytest.raises(CountersAway):
        await asyncio.gather(COUNT.run(wire, [workspace_key], []), COUNT.run(wire, [workspace_key], []))
    relay.cut_after = None
    assert await COUNT.run(wire, [workspace_key], []) == 4
    assert relay.met == 2
    assert await redis.get(workspace_key) == "4"


async def test_a_reply_that_comes_too_late_is_taken_for_nobody_else_s(relay: Relay, dial: Dial) -> None:
    wire = dial(f"redis://127.0.0.1:{relay.port}/0")
    await ECHO.run(wire, ["k"], ["first"])
    relay.stalled.clear()
    with pytest.raises(CountersAway):
        await ECHO.run(wire, ["k"], ["late"])
    relay.stalled.set()
    assert await ECHO.run(wire, ["k"], ["next"]) == ["k", "next"]


async def test_whoever_waits_behind_a_stalled_call_is_told_with_it(relay: Relay, dial: Dial) -> None:
    wire = dial(f"redis://127.0.0.1:{relay.port}/0")
    await ECHO.run(wire, ["k"], ["first"])
    relay.stalled.clear()
    began = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(ECHO.run(wire, ["k"], [n]) for n in range(50)), return_exceptions=True)
    assert all(isinstance(answer, CountersAway) for answer in answers)
    assert asyncio.get_running_loop().time() - began < 3 * TIMEOUT


async def test_nobody_there_is_told_at_once(tmp_path: Path, dial: Dial) -> None:
    wire = dial(f"unix://{tmp_path}/redis.sock")
    with pytest.raises(CountersAway):
        await ECHO.run(wire, ["k"], [1])


@pytest.mark.parametrize("where", ["one", "cluster"], indirect=True)
async def test_who_hangs_up_takes_no_answer_of_another(where: str, dial: Dial) -> None:
    wire = dial(where)
    await ECHO.run(wire, ["k"], ["first"])
    gone = asyncio.create_task(ECHO.run(wire, ["k"], ["gone"]))
    await asyncio.sleep(0)
    gone.cancel()
    assert await ECHO.run(wire, ["k"], ["here"]) == ["k", "here"]


async def test_name_password_and_database_of_the_address_are_used(servers: Servers, dial: Dial, redis: Redis) -> None:
    await redis.acl_setuser("wire", enabled=True, passwords=["+a pass/word"], categories=["+@all"], keys=["*"])
    path = urlsplit(servers.redis_url).path
    try:
        wire = dial(f"unix://wire:a%20pass%2Fword@{path}?db=3")
        who = Script("who", "redis.call('SET', KEYS[1], 'here') return 'set'")
        assert await who.run(wire, ["only in three"], []) == "set"
        with pytest.raises(CountersAway):
            await ECHO.run(dial(f"unix://wire:wrong@{path}?db=3"), ["k"], [1])
    finally:
        await redis.acl_deluser("wire")
    assert await redis.get("only in three") is None
    other = connect(f"unix://{path}?db=3", connections=1, timeout_seconds=1)
    assert await other.getdel("only in three") == "here"
    await other.aclose()


async def test_tls_is_spoken_where_the_address_says_so(servers: Servers, dial: Dial, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with Relay(urlsplit(servers.redis_url).path, tls).running() as relay:
        trusting = dial(f"rediss://127.0.0.1:{relay.port}/0?ssl_ca_certs={certificate}")
        assert await ECHO.run(trusting, ["k"], ["secret"]) == ["k", "secret"]
        with pytest.raises(CountersAway):
            await ECHO.run(dial(f"rediss://127.0.0.1:{relay.port}/0"), ["k"], ["to nobody knows whom"])


async def test_a_port_without_tls_is_named_where_the_address_says_tls(servers: Servers) -> None:
    async with Relay(urlsplit(servers.redis_url).path).running() as relay:
        redis = connect(f"rediss://127.0.0.1:{relay.port}/0", connections=1, timeout_seconds=TIMEOUT)
        try:
            with pytest.raises(CountersAway) as raised, away():
                await redis.ping()
        finally:
            await redis.aclose()
    assert "its port may be one without TLS" in str(refusals.why(raised.value))


@asynccontextmanager
async def refusing(reply: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """Be a server that answers whatever it is asked with one refusal; tell where, and who came."""
    met: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(len(met))
        with suppress(ConnectionError):
            while await reader.read(65_536):
                writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", met
    finally:
        server.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"-ERR max number of clients reached\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
    ],
)
async def test_a_server_that_serves_nobody_is_away(dial: Dial, reply: bytes) -> None:
    async with refusing(reply) as (url, _):
        with pytest.raises(CountersAway):
            await ECHO.run(dial(url), ["k"], [1])


@pytest.mark.parametrize("said", ["READONLY You", "ERR Error running script (call to f_1): -READONLY You"])
async def test_a_server_that_is_a_master_no_more_is_left(dial: Dial, said: str) -> None:
    async with refusing(f"-{said} can't write against a read only replica.\r\n".encode()) as (url, met):
        wire = dial(url)
        for _ in range(3):
            with pytest.raises(CountersAway):
                await ECHO.run(wire, ["k"], [1])
    assert len(met) == 3


@pytest.fixture
async def workspace_key(redis: Redis) -> AsyncIterator[str]:
    yield "a count"
    await redis.delete("a count")
