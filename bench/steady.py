"""Ask for one path at a constant rate, from a process of its own, whether or not the server keeps up.

Open loop: a request takes from when it was due, not from when it could be sent, so a stall of the server counts once
for everybody who came meanwhile. What the loader itself is late, timers of a millisecond included, counts, too.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Final, cast
from urllib.parse import urlsplit

from bench.load import CONNECTIONS, Load, summed_up
from bench.loopback import PHONE

# Answers that take longer than this after the last request was due are not waited for.
PATIENCE_SECONDS: Final = 5.0
TICK_SECONDS: Final = 0.001
KEPT: Final = 0.95
_LENGTH: Final = b"\r\ncontent-length:"


@dataclass(frozen=True, slots=True)
class Steady(Load):
    """Tell what a load at a constant rate has met.

    Shapes: `asked` requests a second were due; `late_ms` is how late 99 of 100 were sent at most though a connection
    was free, which is the loader's fault; what was not answered is `failed`.
    """

    asked: float
    late_ms: float

    @property
    def kept(self) -> bool:
        """Tell whether the loader and the server kept the schedule."""
        return self.per_second >= KEPT * self.asked


def put_steadily(url: str, rate: float, seconds: float) -> Steady:
    """Ask for `url` without cookies, `rate` times a second over 64 kept connections, for so long."""
    command = [sys.executable, "-m", "bench.steady", url, str(rate), str(seconds)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Steady(**json.loads(said.splitlines()[-1]))


class _Connection(asyncio.Protocol):
    """Ask for the one path and time the answer. Understands bodies with a `Content-Length` only."""

    def __init__(self, pacer: "_Pacer") -> None:
        self._pacer = pacer
        self._met = b""
        self._ends = 0
        self._due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Those of uvloop inherit from nothing that asyncio has.
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, due: float) -> None:
        """Send the request that was due then."""
        self._due = due
        self._transport.write(self._pacer.request)

    def data_received(self, data: bytes) -> None:
        self._met += data
        if not self._ends:
            body = self._met.find(b"\r\n\r\n") + 4
            if body < 4:
                return
            head = self._met[:body].lower()
            at = head.index(_LENGTH) + len(_LENGTH)
            self._ends = body + int(head[at : head.index(b"\r\n", at)])
        if len(self._met) >= self._ends:
            failed, due = self._met[9:10] >= b"4", self._due
            assert due is not None
            self._met, self._ends, self._due = b"", 0, None
            self._pacer.answered(self, due, failed=failed)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._due is not None:
            self._pacer.lost()

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()


class _Pacer:
    """Send each request when it is due, over any connection that is free; when none is, over the first that will be."""

    def __init__(self, request: bytes, rate: float, seconds: float) -> None:
        self.request = request
        self.took: list[float] = []
        self.late: list[float] = []
        self.failed = 0
        self.done = asyncio.Event()
        self._count = round(rate * seconds)
        self._gap = 1 / rate
        self._sent = 0
        self._ended = 0
        self._free: deque[_Connection] = deque()
        self._free_since = 0.0

    @property
    def unanswered(self) -> int:
        """Count what nothing has come of yet."""
        return self._count - self._ended

    def begin(self, connections: list[_Connection]) -> None:
        """Start the schedule."""
        self._loop = asyncio.get_running_loop()
        self._free.extend(connections)
        self._began = self._free_since = time.perf_counter()
        self._tick()

    def answered(self, connection: _Connection, due: float, *, failed: bool) -> None:
        """Note what one request took, and give the connection to whoever waits for one."""
        now = time.perf_counter()
        self.took.append(now - due)
        self.failed += failed
        if not self._free:
            self._free_since = now
        self._free.append(connection)
        self._send(now)
        self._one_ended()

    def lost(self) -> None:
        """Note that a request will not be answered; its connection is gone."""
        self.failed += 1
        self._one_ended()

    def _tick(self) -> None:
        now = time.perf_counter()
        self._send(now)
        if self._sent < self._count:
            # A loop that asked the clock all the time would take a processor from the service.
            self._loop.call_later(max(TICK_SECONDS, self._due() - now), self._tick)

    def _send(self, now: float) -> None:
        while self._free and self._sent < self._count and (due := self._due()) <= now:
            self._sent += 1
            self.late.append(now - max(due, self._free_since))
            self._free.popleft().ask(due)

    def _due(self) -> float:
        return self._began + self._sent * self._gap

    def _one_ended(self) -> None:
        self._ended += 1
        if self._ended == self._count:
            self.done.set()


async def ask_steadily(url: str, rate: float, seconds: float) -> Steady:
    """Ask on schedule, and sum up."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    host, port = parts.hostname, parts.port
    request = f"GET {parts.path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: {PHONE}\r\n\r\n".encode()
    pacer, loop = _Pacer(request, rate, seconds), asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: _Connection(pacer), host, port))[1] for _ in range(CONNECTIONS)
    ]
    began = time.perf_counter()
    pacer.begin(connections)
    try:
        await asyncio.wait_for(pacer.done.wait(), seconds + PATIENCE_SECONDS)
    except TimeoutError:
        pacer.failed += pacer.unanswered
    lasted = time.perf_counter() - began
    for connection in connections:
        connection.close()
    pacer.late.sort()
    late_ms = pacer.late[int(len(pacer.late) * 0.99)] * 1000
    return Steady(**asdict(summed_up(pacer.took, lasted, pacer.failed)), asked=rate, late_ms=late_ms)


if __name__ == "__main__":
    from bench.claiming import run

    print(json.dumps(asdict(run(ask_steadily(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))))))
