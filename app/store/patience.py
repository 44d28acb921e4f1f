"""Wait for a PostgreSQL that answers, and not for one that has fallen silent: stopped, or behind a dead network.

A killed server refuses, which is quick. A silent one says nothing, and each who asks it would wait his own time out.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

# Each step of an opening has its own bound, and tells by it that the server is silent; together they get little more.
_ALL_IN_ALL: Final = 1.2


class Connection(Protocol):
    """Be what can be hung up."""

    def terminate(self) -> None:
        """Hang up at once, without a word."""


class Patience:
    """Let everybody wait for so long, or a little longer, and nobody any longer once the server is known to be silent.

    While it is, one at a time finds out whether it is back, and everybody else is told at once.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._silent = False
        self._silences = 0
        self._opening: set[asyncio.Task[AsyncConnection]] = set()
        self._held: dict[Connection, float] = {}

    def check(self) -> None:
        """Raise TimeoutError when the server is silent and it is being found out whether it is back."""
        if self._silent and self._opening:
            raise TimeoutError("The server is silent, and is being asked already.")

    @property
    def silences(self) -> int:
        """Count how often the server was found to be silent."""
        return self._silences

    def check_since(self, silences: int) -> None:
        """Raise TimeoutError when the server has fallen silent since a count of `silences`, and is not back."""
        if self._silent and self._silences != silences:
            raise TimeoutError("The server has fallen silent.")

    async def open(self, opening: Coroutine[Any, Any, AsyncConnection]) -> AsyncConnection:
        """Wait for what opens a connection, all in all for so long and no longer.

        Raises: TimeoutError — it took too long, or the server is silent; what `opening` raises.
        """
        try:
            self.check()
        except TimeoutError:
            opening.close()
            raise
        task = asyncio.create_task(opening)
        self._opening.add(task)
        try:
            await asyncio.wait({task}, timeout=self.seconds * _ALL_IN_ALL)
        except asyncio.CancelledError:
            # Also when it was opened in this very moment.
            task.cancel()
            task.add_done_callback(_give_back)
            raise
        finally:
            self._opening.discard(task)
        if not task.done():
            task.cancel()
            task.add_done_callback(_give_back)
        if not task.done() or task.cancelled():
            raise TimeoutError("The server did not answer in time.")
        opened = task.result()
        self._silent = False
        return opened

    @contextmanager
    def answering(self, connection: Connection) -> Iterator[None]:
        """Ask for a sign of life within the block: without an answer in time, the server is silent."""
        overdue = asyncio.get_running_loop().call_later(self.seconds, self._give_up, connection)
        try:
            yield
        except asyncio.CancelledError:
            # Nobody waits for it any more, and a polite end would wait for the server.
            connection.terminate()
            raise
        finally:
            overdue.cancel()

    @contextmanager
    def held(self, connection: Connection) -> Iterator[None]:
        """Use a connection within the block, until it ends or the server is found to be silent."""
        self._held[connection] = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            del self._held[connection]

    def fall_silent(self) -> None:
        """Take note that the server does not answer: tell all who wait to open, or for what they asked long ago."""
        self._silent = True
        self._silences += 1
        for task in self._opening:
            task.cancel()
        self._opening.clear()
        before = asyncio.get_running_loop().time() - self.seconds
        for connection, since in self._held.items():
            if since <= before:
                connection.terminate()

    def _give_up(self, connection: Connection) -> None:
        connection.terminate()
        self.fall_silent()


def _give_back(opening: asyncio.Task[AsyncConnection]) -> None:
    """Close what was opened after all, when nobody waited for it any more."""
    if not opening.cancelled() and opening.exception() is None:
        closing = asyncio.create_task(opening.result().close())
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()
