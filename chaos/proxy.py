"""Stand between the service and its Redis, on loopback, and cut connections: within a reply, or all at once."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any, Final

from bench.loopback import HOST

_PIECE: Final = 65_536


class Proxy:
    """Carry bytes both ways between a port and a unix socket.

    Law: runs in a loop of its own; what is called from outside only sets what the next bytes will meet.
    """

    def __init__(self, path: str, chance: Random) -> None:
        self.port = 0
        self.cuts = 0
        self._path = path
        self._chance = chance
        self._between: tuple[int, int] | None = None
        self._refusing = False
        self._serving: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.WriteTransport] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """Name where the service finds Redis."""
        return f"redis://{HOST}:{self.port}/0"

    def cut_replies(self, between: tuple[int, int] | None) -> None:
        """Cut each connection after so many bytes of replies, drawn anew for each; None lets all pass."""
        self._between = between

    def refuse(self) -> None:
        """Cut every connection and take no more."""
        self._refusing = True
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()

    def admit(self) -> None:
        """Take connections again."""
        self._refusing = False

    async def run(self, ready: Callable[[], object], end: asyncio.Event) -> None:
        """Listen until the end."""
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        await end.wait()
        server.close()
        await self._hang_up()
        await asyncio.gather(*self._serving)

    async def _hang_up(self) -> None:
        for transport in list(self._open):
            transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        try:
            await self._between_ends(reader, writer)
        finally:
            self._serving.remove(serving)

    async def _between_ends(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.close()
            return
        try:
            behind, before = await asyncio.open_unix_connection(self._path)
        except OSError:
            writer.close()
            return
        ends = {writer.transport, before.transport}
        self._open |= ends
        try:
            ways = [
                asyncio.create_task(self._carry(reader, before, cut=False)),
                asyncio.create_task(self._carry(behind, writer, cut=True)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open -= ends
            for transport in ends:
                transport.abort()
        # Both see the end of what they read from, now that it is aborted.
        await asyncio.wait(ways)

    async def _carry(self, source: asyncio.StreamReader, goal: asyncio.StreamWriter, *, cut: bool) -> None:
        left: int | None = None
        with suppress(OSError):
            while data := await source.read(_PIECE):
                if cut and self._between:
                    left = self._chance.randint(*self._between) if left is None else left
                    if left < len(data):
                        self.cuts += 1
                        await _cut(goal, data[:left])
                        return
                    left -= len(data)
                goal.write(data)
                await goal.drain()


async def _cut(goal: asyncio.StreamWriter, last: bytes) -> None:
    """Send the beginning of a reply, and then nothing ever."""
    goal.write(last)
    await goal.drain()
    told: Any = goal.get_extra_info("socket")
    # What was sent must arrive before the end does: an abort alone would take it back.
    told.shutdown(socket.SHUT_WR)


@contextmanager
def proxied(path: str, *, seed: int = 1) -> Iterator[Proxy]:
    """Run a proxy in front of a unix socket until the block ends."""
    proxy, ready = Proxy(path, Random(seed)), threading.Event()
    loop, end = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(proxy.run(ready.set, end)), daemon=True)
    thread.start()
    try:
        ready.wait()
        yield proxy
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()
