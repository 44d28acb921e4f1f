"""The loaders against small servers of flesh and blood."""

import asyncio
import itertools
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench import cpu
from bench.load import CONNECTIONS, Load, ask_for, picture_of, put, read
from bench.loopback import HOST
from bench.steady import ask_steadily, put_steadily

PAGE = b'<html><img alt="" width=200 src="/poster/seat/1.png"></html>'
Answer = Callable[[bytes], Awaitable[tuple[int, bytes]]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """Answer each path as told, over kept connections."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                status, body = await answer(head.split(b" ")[1])
                lines = f"HTTP/1.1 {status} Said\r\ncontent-length: {len(body)}\r\nx-huoma-outcome: claimed\r\n\r\n"
                writer.write(lines.encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listening = await asyncio.start_server(serve, HOST, 0)
    async with listening:
        yield f"http://{HOST}:{listening.sockets[0].getsockname()[1]}"


async def page_then_picture(path: bytes) -> tuple[int, bytes]:
    return 200, b"\x89PNG and so on" if path.endswith(b".png") else PAGE


def test_the_last_line_of_a_loader_is_read() -> None:
    said = (
        'Running 4s test @ http://127.0.0.1\n{"requests": 8, "seconds": 4.0, "p50_ms": 1, "p99_ms": 2, "failed": 0}\n'
    )

    assert read(said) == Load(8, 4.0, 1, 2, 0)
    assert read(said).per_second == 2


def test_the_picture_of_a_page_is_found() -> None:
    assert picture_of(PAGE) == "/poster/seat/1.png"
    with pytest.raises(ValueError, match="without a picture"):
        picture_of(b"<html>all full</html>")


@pytest.mark.parametrize("to_the_end", [True, False])
async def test_a_scan_is_a_page_and_its_picture(*, to_the_end: bool) -> None:
    if not to_the_end and shutil.which("wrk") is None:
        pytest.skip("there is no wrk")
    asked: dict[bytes, int] = {}

    async def answer(path: bytes) -> tuple[int, bytes]:
        asked[path] = asked.get(path, 0) + 1
        return await page_then_picture(path)

    async with server(answer) as url:
        met = await asyncio.to_thread(put, f"{url}/poster", 1, scans=True, to_the_end=to_the_end)

    pages, pictures = asked[b"/poster"], asked[b"/poster/seat/1.png"]
    assert met.failed == 0
    if to_the_end:
        assert met.requests == pages == pictures
    else:
        assert 0 < met.requests <= pictures <= pages <= met.requests + 2 * CONNECTIONS


async def test_a_picture_that_is_none_is_a_failure() -> None:
    async def answer(_path: bytes) -> tuple[int, bytes]:
        return 200, PAGE

    async with server(answer) as url:
        met = await ask_for(f"{url}/poster", 0.05, scans=True)

    assert met.failed == met.requests > 0


async def test_a_steady_load_keeps_its_schedule_and_hears_every_answer() -> None:
    heard = itertools.count()

    async def answer(path: bytes) -> tuple[int, bytes]:
        # Longer than what comes in one piece.
        return (503 if next(heard) % 4 == 0 else 200), path * 30_000

    async with server(answer) as url:
        met = await asyncio.to_thread(put_steadily, f"{url}/poster", 200, 0.5)

    assert next(heard) == met.requests == 100
    assert met.failed == 25
    assert met.seconds >= 0.49
    assert met.asked == 200


async def test_a_stall_counts_for_everybody_who_came_meanwhile() -> None:
    stalled = asyncio.Event()
    heard = itertools.count()

    async def answer(_path: bytes) -> tuple[int, bytes]:
        number = next(heard)
        if number == 50:
            asyncio.get_running_loop().call_later(0.4, stalled.set)
        if number >= 50:
            await stalled.wait()
        return 200, b""

    async with server(answer) as url:
        met = await ask_steadily(f"{url}/poster", 1_000, 0.6)

    # Some four hundred of six hundred came during the stall, though only 64 of them could be sent.
    assert met.requests == 600
    assert met.p99_ms > 200
    assert met.p50_ms > 30


async def test_what_is_never_answered_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.steady.PATIENCE_SECONDS", 0.1)
    heard = itertools.count()

    async def answer(_path: bytes) -> tuple[int, bytes]:
        if next(heard) >= 10:
            await asyncio.Event().wait()
        return 200, b""

    async with server(answer) as url:
        met = await ask_steadily(f"{url}/poster", 100, 0.2)

    assert (met.requests, met.failed) == (10, 10)


async def test_a_connection_that_is_cut_has_failed() -> None:
    heard = itertools.count()

    async def answer(_path: bytes) -> tuple[int, bytes]:
        if next(heard) == 5:
            raise ConnectionError
        return 200, b""

    async with server(answer) as url:
        met = await ask_steadily(f"{url}/poster", 100, 0.2)

    assert (met.requests, met.failed) == (19, 1)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_what_a_process_used_is_summed_up_over_those_it_started() -> None:
    # A shell that waits for a child which burns, and then lives on with nothing to do.
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)"
    lives = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', sys.argv[1]])\nsys.stdin.read()"
    command = [sys.executable, "-c", lives, burn]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        parent.stdout.readline()
        used = cpu.used(parent.pid)
        parent.communicate()

    assert used >= 0.3
    assert cpu.used(parent.pid) == 0
