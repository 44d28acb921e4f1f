"""Carry the scripts of scans to Redis: one connection to each server, one write and one read a call.

redis-py spends ten times as much on a call, and most of it in Python; where every scan waits for one, that is half of
what a scan costs (docs/adr/0021-hot-path.md). It still tells where the server is, and does everything that is no scan.
"""

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

import hiredis
from redis.asyncio import Redis, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from app.counters import clocks
from app.counters.address import Host
from app.counters.cluster import Cluster
from app.counters.node import MasterPool, insist, wait_ms

# hiredis wants a tuple; what may be in it, it says itself.
Command = tuple[Any, ...]
_SAYS: Final[dict[str, type[RedisError]]] = {
    "NOSCRIPT": NoScriptError,
    "TRYAGAIN": TryAgainError,
    "CLUSTERDOWN": ClusterDownError,
}
# Said by a server that is a master no more: another is, and only a new connection can find it.
_DEMOTED: Final = re.compile(r"(?:^|: -)(?:READONLY|MASTERDOWN) ")
# Said to a connection, whatever it asked.
_SHUT_OUT: Final = ("ERR max number of clients", "NOAUTH ")
# Said by a cluster's server that has run nothing; the rest of MOVED and ASK says who would.
_ELSEWHERE: Final = {"MOVED": MovedError, "ASK": AskError}


class Wire:
    """Run scripts over one connection to each server, opened when first needed and again after it broke.

    Nothing that may have been run is ever sent twice. Calls are answered in the order in which they were made, so that
    one that takes too long takes all that wait behind it along. Then one call at a time finds out whether that server
    is back, and the others are told at once that it is not: a line is open once the other end has said something.
    With `replicas`, a call is answered once so many have what it has written: `WAIT` goes behind it in the same write.
    With `clock`, each new connection first asks the server for its time, and a call that was made before the clock was
    set by it is not sent: its `now` may be wrong by an hour.
    """

    def __init__(
        self, redis: Redis, *, timeout_seconds: float, replicas: int = 0, clock: clocks.Listener | None = None
    ) -> None:
        self._redis = redis
        self._timeout = timeout_seconds
        self._replicas = replicas
        self._clock = clock
        # By the server of a cluster; None where there is one, or one that sentinels name.
        self._lines: dict[Host | None, _Line] = {}
        self._dialling: dict[Host | None, asyncio.Task[_Line]] = {}
        self._silent: set[Host | None] = set()

    async def evalsha(self, sha: str, numkeys: int, *rest: str | float | bytes) -> Any:
        """Run a script by its hash.

        Raises: RedisError, OSError, TimeoutError — as redis-py does; some or all of it may have been done.
        NotHeardError — all of it was done, and fewer than `replicas` know.
        """
        return await self._call(("EVALSHA", sha, numkeys, *rest))

    async def eval(self, script: str, numkeys: int, *rest: str | float | bytes) -> Any:
        """Run a script by its text. Raises: as `evalsha`."""
        return await self._call(("EVAL", script, numkeys, *rest))

    async def aclose(self) -> None:
        """Hang up."""
        for line in self._lines.values():
            line.hang_up()

    async def _call(self, command: Command) -> Any:
        if isinstance(self._redis, Cluster):
            return await self._redis.follow(str(command[3]), lambda host, asking: self._send(host, command, asking))
        return await self._send(None, command)

    async def _send(self, host: Host | None, command: Command, asking: bool = False) -> Any:  # noqa: FBT001, FBT002
        line = self._lines.get(host)
        if line is None or line.broken:
            if host in self._silent and host in self._dialling:
                raise RedisConnectionError("Redis is silent, and somebody asks it already.")
            line = await self._dial_in_time(host)
        try:
            if asking or self._replicas:
                return await self._ask_and_wait(line, command, asking=asking)
            return await line.ask(command)
        except TimeoutError:
            self._silent.add(host)
            raise

    async def _ask_and_wait(self, line: "_Line", command: Command, *, asking: bool) -> Any:
        commands = [("ASKING",), command] if asking else [command]
        if self._replicas:
            commands.append(("WAIT", self._replicas, wait_ms(self._timeout)))
        replies = await line.ask_together(commands)
        reply, last = replies[int(asking)], replies[-1]
        # When time is over the last is given up, and takes the others along.
        if isinstance(last, TimeoutError):
            raise last
        if isinstance(reply, BaseException):
            raise reply
        if self._replicas:
            insist(last, self._replicas)
        return reply

    async def _dial_in_time(self, host: Host | None) -> "_Line":
        steps = self._clock.steps if self._clock else 0
        line = await self._dial(host)
        if self._clock and self._clock.steps != steps:
            raise RedisConnectionError("The clock was set; what is asked again has the right time.")
        return line

    async def _dial(self, host: Host | None) -> "_Line":
        """Connect once for all who want to."""
        dialling = self._dialling.get(host)
        if dialling is None:
            dialling = self._dialling[host] = asyncio.create_task(self._connect(host))
            dialling.add_done_callback(partial(self._dialled, host))
        return await asyncio.shield(dialling)

    def _dialled(self, host: Host | None, dialling: "asyncio.Task[_Line]") -> None:
        del self._dialling[host]
        if dialling.cancelled():
            return
        if isinstance(dialling.exception(), TimeoutError):
            self._silent.add(host)
        else:
            self._silent.discard(host)
        if dialling.exception() is None:
            self._lines[host] = dialling.result()

    async def _connect(self, host: Host | None) -> "_Line":
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout):
            told = await self._told(host)
            if isinstance(told, UnixDomainSocketConnection):
                _, line = await loop.create_unix_connection(lambda: _Line(self._timeout), told.path)
            else:
                tls = told.ssl_context.get() if isinstance(told, SSLConnection) else None
                _, line = await loop.create_connection(lambda: _Line(self._timeout), told.host, told.port, ssl=tls)
            try:
                for command in _greeting(told):
                    await line.ask(command)
                await self._ask_time(host, line)
            except ResponseError as error:
                line.hang_up()
                raise RedisConnectionError(f"Redis does not let us in: {error}") from error
            except BaseException:
                line.hang_up()
                raise
        return line

    async def _ask_time(self, host: Host | None, line: "_Line") -> None:
        if self._clock is None:
            return
        asked_at = self._clock.ticks()
        # A server that forbids the question leaves the time to the others.
        with suppress(ResponseError):
            self._clock.hear(clocks.name_of(host), clocks.seconds(await line.ask(("TIME",))), asked_at)

    async def _told(self, host: Host | None) -> Any:
        """Make a connection that is never connected: it knows what the address in the settings says."""
        redis = self._redis.node(host) if host and isinstance(self._redis, Cluster) else self._redis
        pool = redis.connection_pool
        told: Any = pool.make_connection()  # type: ignore[no-untyped-call]
        if isinstance(pool, MasterPool):
            told.host, told.port = await pool.get_master_address()
        return told


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
        answer = self._loop.create_future()
        overdue = self._send(hiredis.pack_command(command), answer)
        try:
            return await answer
        finally:
            overdue.cancel()

    async def ask_together(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one write, and wait for their replies, not too long; errors are told in their places."""
        answers = [self._loop.create_future() for _ in commands]
        overdue = self._send(b"".join(map(hiredis.pack_command, commands)), *answers)
        try:
            return await asyncio.gather(*answers, return_exceptions=True)
        finally:
            overdue.cancel()

    def _send(self, spelt: bytes, *answers: "asyncio.Future[Any]") -> asyncio.TimerHandle:
        if self.broken or self._transport is None:
            raise RedisConnectionError("The connection is closed.")
        self._transport.write(spelt)
        self._waiting.extend(answers)
        return self._loop.call_later(self._timeout, self._give_up, answers[-1])

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
    word, _, rest = text.partition(" ")
    if word in _ELSEWHERE:
        return _ELSEWHERE[word](rest)
    return _SAYS.get(word, ResponseError)(text)
