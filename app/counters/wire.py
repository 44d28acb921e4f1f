"""Carry the scripts of scans to Redis: one connection, one write and one read a call.

redis-py spends ten times as much on a call, and most of it in Python; where every scan waits for one, that is half of
what a scan costs (docs/adr/0021-hot-path.md). It still tells where the server is, and does everything that is no scan.
"""

import asyncio
import re
from collections import deque
from typing import Any, Final, cast

import hiredis
from redis.asyncio import Redis, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

# hiredis wants a tuple; what may be in it, it says itself.
Command = tuple[Any, ...]
_NO_SCRIPT: Final = "NOSCRIPT "
# Said by a server that is a master no more: another is, and only a new connection can find it.
_DEMOTED: Final = re.compile(r"(?:^|: -)(?:READONLY|MASTERDOWN) ")
# Said to a connection, whatever it asked.
_SHUT_OUT: Final = ("ERR max number of clients", "NOAUTH ", "CLUSTERDOWN ")


class Wire:
    """Run scripts over one connection, opened when first needed and again after it broke.

    Nothing is ever sent twice. Calls are answered in the order in which they were made, so that one that takes too long
    takes all that wait behind it along. Then one call at a time finds out whether Redis is back, and the others are
    told at once that it is not: a line counts as open when the other end has said something.
    """

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout = timeout_seconds
        self._line: _Line | None = None
        self._dialling: asyncio.Task[_Line] | None = None
        self._silent = False

    async def evalsha(self, sha: str, numkeys: int, *rest: str | float | bytes) -> Any:
        """Run a script by its hash.

        Raises: RedisError, OSError, TimeoutError — as redis-py does; some or all of it may have been done.
        """
        return await self._call(("EVALSHA", sha, numkeys, *rest))

    async def eval(self, script: str, numkeys: int, *rest: str | float | bytes) -> Any:
        """Run a script by its text. Raises: as `evalsha`."""
        return await self._call(("EVAL", script, numkeys, *rest))

    async def aclose(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.hang_up()

    async def _call(self, command: Command) -> Any:
        line = self._line
        if line is None or line.broken:
            if self._silent and self._dialling is not None:
                raise RedisConnectionError("Redis is silent, and somebody asks it already.")
            line = await self._dial()
        try:
            return await line.ask(command)
        except TimeoutError:
            self._silent = True
            raise

    async def _dial(self) -> "_Line":
        """Connect once for all who want to."""
        if self._dialling is None:
            self._dialling = asyncio.create_task(self._connect())
            self._dialling.add_done_callback(self._dialled)
        return await asyncio.shield(self._dialling)

    def _dialled(self, dialling: "asyncio.Task[_Line]") -> None:
        self._dialling = None
        if not dialling.cancelled():
            self._silent = isinstance(dialling.exception(), TimeoutError)
            if dialling.exception() is None:
                self._line = dialling.result()

    async def _connect(self) -> "_Line":
        loop = asyncio.get_running_loop()
        # Never connected itself: it knows what the address in the settings says.
        told: Any = self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        async with asyncio.timeout(self._timeout):
            if isinstance(told, UnixDomainSocketConnection):
                _, line = await loop.create_unix_connection(lambda: _Line(self._timeout), told.path)
            else:
                tls = told.ssl_context.get() if isinstance(told, SSLConnection) else None
                _, line = await loop.create_connection(lambda: _Line(self._timeout), told.host, told.port, ssl=tls)
            try:
                for command in _greeting(told):
                    await line.ask(command)
            except ResponseError as error:
                line.hang_up()
                raise RedisConnectionError(f"Redis does not let us in: {error}") from error
            except BaseException:
                line.hang_up()
                raise
        return line


def _greeting(told: Any) -> list[Command]:
    """Say who we are and which database we want, where the address names them."""
    # The kernel opens connections for a server that is stopped, so that only an answer proves that somebody is there.
    greeting: list[Command] = [("PING",)]
    if told.password:
        greeting.insert(0, ("AUTH", *filter(None, (told.username, told.password))))
    if told.db:
        greeting.append(("SELECT", told.db))
    return greeting


class _Line(asyncio.Protocol):
    """Be one connection: what was asked first is answered first."""

    def __init__(self, timeout: float) -> None:
        self.broken = False
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._replies = hiredis.Reader(encoding="utf-8", replyError=_error)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None

    async def ask(self, command: Command) -> Any:
        """Send a command and wait for its reply, not too long."""
        if self.broken or self._transport is None:
            raise RedisConnectionError("The connection is closed.")
        spelt = hiredis.pack_command(command)
        answer = self._loop.create_future()
        self._waiting.append(answer)
        overdue = self._loop.call_later(self._timeout, self._give_up, answer)
        try:
            self._transport.write(spelt)
            return await answer
        finally:
            overdue.cancel()

    def hang_up(self) -> None:
        """Close the connection; whoever waits is told."""
        self.broken = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # Event loops bring transports of their own, which need not descend from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait that no reply will come."""
        self.broken = True
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(RedisConnectionError(f"The connection was lost: {exc or 'closed'}."))
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait, in order."""
        try:
            self._replies.feed(data)
            while (reply := self._replies.gets()) is not False:
                self._hand_over(reply)
        except hiredis.ProtocolError:
            self.hang_up()

    def _hand_over(self, reply: Any) -> None:
        answer = self._waiting.popleft()
        if isinstance(reply, RedisError):
            if _DEMOTED.search(str(reply)):
                self.hang_up()
            if not answer.done():
                answer.set_exception(reply)
        elif not answer.done():
            answer.set_result(reply)

    def _give_up(self, answer: "asyncio.Future[Any]") -> None:
        if not answer.done():
            answer.set_exception(TimeoutError())
        # Its reply may still come, and must not be taken for another's.
        self.hang_up()


def _error(text: str) -> RedisError:
    if text.startswith(_SHUT_OUT):
        return RedisConnectionError(text)
    return NoScriptError(text) if text.startswith(_NO_SCRIPT) else ResponseError(text)
