"""Leave a web process without failing anybody: the child's half of stopping and of a rolling restart.

Law: a server hangs up on idle connections when it stops, and a request that is on its way by then fails. So whoever
speaks to a process that is to stop is told so first, with his answer, and given the time to hear it.
"""

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Stop when nobody may be left to listen; stop when others listen on the same socket.
STOP: Final = signal.SIGTERM
HAND_OVER: Final = signal.SIGUSR1
# What every web server takes for the wish to stop at once, and Ctrl-C sends.
NOW: Final = signal.SIGINT

# How long a successor may take to come about: the old process serves meanwhile.
SUCCESSOR_SECONDS: Final = 120

_CLOSE: Final = (b"connection", b"close")


class Leaving:
    """Tell visitors for some seconds that their connection ends with this answer; then let the server stop.

    Told to `STOP`, it takes newcomers until the end: a balancer may not have heard yet. Told to `HAND_OVER`, it leaves
    them to the others, so that nobody has just come when the end is there. The second such word ends it at once.
    """

    def __init__(self, seconds: float) -> None:
        self.begun = False
        self._seconds = seconds

    def watch(self) -> None:
        """Listen for the words from now on. Must be called in the main thread, by the loop that serves."""
        loop = asyncio.get_running_loop()
        if self._seconds > 0:
            loop.add_signal_handler(STOP, self._begin, loop)
        loop.add_signal_handler(HAND_OVER, self._hand_over, loop)

    def closing(self, send: Send) -> Send:
        """Say on an answer that the connection ends with it."""

        async def closed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        return closed

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.begun:
            _end()
            return
        self.begun = True
        loop.call_later(self._seconds, _end)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self.begun:
            turn_away()
        self._begin(loop)


class Mortal:
    """Be an application until it has shut down, and let go of it: servers keep theirs until the process ends.

    What is never let go of, libraries complain about as leaked.
    """

    # granian keeps a copy of what an application without slots knows.
    __slots__ = ("_app",)

    def __init__(self, app: ASGIApp) -> None:
        self._app: ASGIApp | None = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what the server asks."""
        assert self._app is not None
        await self._app(scope, receive, send)
        if scope["type"] == "lifespan":
            self._app = None


def turn_away() -> None:
    """Take no more newcomers: they go to the processes that hold the same listening sockets.

    Whatever server runs here goes on asking for newcomers under the same numbers, and there is nobody.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1) as nobody:
        nobody.setblocking(False)
        for number in _listening():
            if number != nobody.fileno():
                os.dup2(nobody.fileno(), number, inheritable=False)


def _listening() -> list[int]:
    """Name this process's listening sockets."""
    found = []
    for one in Path("/dev/fd").iterdir():
        number = int(one.name)
        try:
            probe = socket.socket(fileno=os.dup(number))
        except OSError:
            # No socket, or the number under which the folder itself was read.
            continue
        with probe:
            if probe.family in (socket.AF_INET, socket.AF_INET6) and _listens(probe):
                found.append(number)
    return found


def _listens(one: socket.socket) -> bool:
    return one.type == socket.SOCK_STREAM and bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _end() -> None:
    os.kill(os.getpid(), NOW)
