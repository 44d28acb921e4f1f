"""Put load on one path from a process of its own: `wrk` when there is one, else this very file as a program.

Closed loop: every connection asks again as soon as it was answered, so a stall of the server shows in its slowest
requests once for each connection, and not once for everybody who would have come meanwhile.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.loopback import PHONE
from bench.wire import connected

CONNECTIONS: Final = 64
_WRK_SCRIPT: Final = Path(__file__).with_name("wrk.lua")


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


def put(url: str, seconds: float) -> Load:
    """Ask for `url` without cookies over 64 kept connections for so long."""
    wrk = shutil.which("wrk")
    if wrk:
        options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "-s", str(_WRK_SCRIPT), "-H", f"User-Agent: {PHONE}"]
        command = [wrk, *options, url]
    else:
        command = [sys.executable, "-m", "bench.load", url, str(seconds)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Load(**json.loads(said.splitlines()[-1]))


async def ask_for(url: str, seconds: float) -> Load:
    """Do what wrk does, in Python: some times slower, so that it takes more of the machine from the service."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    host, port, path = parts.hostname, parts.port, parts.path
    took: list[float] = []
    failed = 0
    began = time.perf_counter()

    async def ask() -> None:
        nonlocal failed
        async with connected(host, port, PHONE) as connection:
            while (sent := time.perf_counter()) < began + seconds:
                reply = await connection.get(path)
                took.append(time.perf_counter() - sent)
                failed += reply.status >= 400

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return summed_up(took, time.perf_counter() - began, failed)


def summed_up(took: list[float], seconds: float, failed: int) -> Load:
    """Sum up how long each request took, in seconds."""
    took.sort()
    p50, p99 = (took[int(len(took) * part)] * 1000 for part in (0.50, 0.99))
    return Load(len(took), seconds, p50, p99, failed)


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(ask_for(sys.argv[1], float(sys.argv[2]))))))
