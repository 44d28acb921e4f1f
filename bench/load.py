"""Put load on one path from a process of its own: `wrk` when there is one, else this very file as a program.

Closed loop: every connection asks again as soon as it was answered, so a stall of the server shows in its slowest
requests once for each connection, and not once for everybody who would have come meanwhile.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.loopback import PHONE
from bench.wire import Connection, Reply, connected

CONNECTIONS: Final = 64
PNG: Final = b"\x89PNG"
PICTURE: Final = re.compile(rb'<img[^>]+src="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Load:
    """Tell what one stretch of load has met; `failed` counts broken requests and statuses of 400 and above."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int

    @property
    def per_second(self) -> float:
        """Count requests a second."""
        return self.requests / self.seconds


def loader() -> str:
    """Name what `put` uses."""
    return "wrk" if shutil.which("wrk") else "bench.load"


def put(
    url: str, seconds: float, *, scans: bool = False, to_the_end: bool = False, connections: int = CONNECTIONS
) -> Load:
    """Ask for `url` without cookies over so many kept connections for so long.

    With `scans`, each page is followed by the picture on it: `requests` then counts pictures, the times are those of
    single requests. `to_the_end` waits for every answer, which wrk does not, so that what the service did is countable.
    """
    wrk = None if to_the_end else shutil.which("wrk")
    if wrk:
        script = Path(__file__).with_name("scan.lua" if scans else "wrk.lua")
        options = ["-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(script), "-H", f"User-Agent: {PHONE}"]
        command = [wrk, *options, url]
    else:
        kind = "scans" if scans else "pages"
        command = [sys.executable, "-m", "bench.load", url, str(seconds), kind, str(connections)]
    return read(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def read(said: str) -> Load:
    """Read what a loader has said: the last line is ours."""
    return Load(**json.loads(said.splitlines()[-1]))


async def ask_for(url: str, seconds: float, *, scans: bool = False, connections: int = CONNECTIONS) -> Load:
    """Do what wrk does, in Python: some times slower, so that it takes more of the machine from the service."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    host, port, path = parts.hostname, parts.port, parts.path
    took: list[float] = []
    failed = 0
    began = time.perf_counter()

    async def timed(connection: Connection, path: str) -> Reply:
        nonlocal failed
        sent = time.perf_counter()
        reply = await connection.get(path)
        took.append(time.perf_counter() - sent)
        failed += reply.status >= 400
        return reply

    async def ask() -> None:
        nonlocal failed
        async with connected(host, port, PHONE) as connection:
            # Where opening connections takes longer than that, something is asked all the same.
            while not took or time.perf_counter() < began + seconds:
                page = await timed(connection, path)
                if scans:
                    picture = await timed(connection, picture_of(page.body))
                    failed += not picture.body.startswith(PNG)

    await asyncio.gather(*(ask() for _ in range(connections)))
    met = summed_up(took, time.perf_counter() - began, failed)
    return replace(met, requests=met.requests // 2) if scans else met


def picture_of(page: bytes) -> str:
    """Find where the picture on a page is.

    Raises: ValueError — there is none.
    """
    found = PICTURE.search(page)
    if found is None:
        raise ValueError("a page without a picture")
    return found[1].decode()


def summed_up(took: list[float], seconds: float, failed: int) -> Load:
    """Sum up how long each request took, in seconds."""
    took.sort()
    p50, p99 = (took[int(len(took) * part)] * 1000 for part in (0.50, 0.99))
    return Load(len(took), seconds, p50, p99, failed)


if __name__ == "__main__":
    url, seconds, kind, connections = sys.argv[1:]
    asked = ask_for(url, float(seconds), scans=kind == "scans", connections=int(connections))
    print(json.dumps(asdict(asyncio.run(asked))))
