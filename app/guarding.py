"""Hold uvicorn's connections to a size and a time: what a stranger sends before there is a request is bounded here.

uvicorn itself reads heads of any length for as long as they last, and waits for ever for who does not read. granian
bounds heads by itself; how long a body may take is bounded for both by `web/doors.py`.
"""

import asyncio
import contextlib
import fcntl
import heapq
import re
import sys
import termios
from collections.abc import Sequence
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.web import pages

# Twenty seat cookies are some 3 kB.
HEAD_BYTES_MAX: Final = 64 * 1024
# Of a request line that is put right.
_LINE_BYTES_MAX: Final = 8 * 1024
_BARE: Final = re.compile(rb"[\x80-\xff]")
# As many as granian takes.
HEAD_FIELDS_MAX: Final = 100
# Requests on one connection that wait for the answers to those before.
PIPELINED_MAX: Final = 16
# Who takes less of an answer does not read it; a phone on a bad line takes more.
READ_BYTES_A_SECOND: Final = 512
# One in so many of all connections is closed when there are too many.
_SHARE_CLOSED: Final = 16
# What stands around a name and a value, or around a path.
_LINE_BYTES: Final = 4
_REFUSED: Final = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class Guarded(HttpToolsProtocol):
    """Be one connection, and close it when its head is too long or too slow, or nobody reads its answers.

    A head may take as long as an idle connection may last. Beyond `connections_max` in one process, those that have
    waited longest without a request are closed.
    Cost: an addition and a comparison for each read; a timer for each connection.
    """

    def __init__(self, config: Config, *, connections_max: int, **rest: Any) -> None:
        super().__init__(config, **rest)
        self._wait_seconds = max(1, config.timeout_keep_alive)
        self._connections_max = connections_max
        self.waiting_since = 0.0
        self._paused_since = 0.0
        # Of the last answer, at the last look.
        self._unread: int | None = None
        # What came since the last head ended or the last piece of a body: heads, trailers, and what is between pieces.
        self._loose_bytes = 0
        self._too_large = False
        self._refused = False
        # Whether what comes next begins a request.
        self._between = True
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self.waiting_since = self.loop.time()
        self._look = self.loop.call_later(self._wait_seconds, self._watch)
        if len(self.connections) > self._connections_max:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, as long as what is neither a request nor its body stays short."""
        if self._refused:
            return
        self._loose_bytes += len(data)
        if self._between and not data.isascii():
            data = _encoded(data)
        super().data_received(data)
        if self._loose_bytes > HEAD_BYTES_MAX and not self._refused:
            self._refuse(431)

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._between = False
        self.waiting_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """End a head, and begin what it asks for."""
        # What came with it may be a body, so the head itself is measured only where it may be too long.
        long = self._loose_bytes > HEAD_BYTES_MAX and _length(self.url, self.headers) > HEAD_BYTES_MAX
        if long or len(self.headers) > HEAD_FIELDS_MAX or len(self.pipeline) >= PIPELINED_MAX:
            self._too_large = True
            raise ValueError("too large")
        self._loose_bytes = 0
        super().on_headers_complete()
        # Fields that follow a body are nobody's: the application has read the head already.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._loose_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._loose_bytes, self._between = 0, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin to wait for the next head, and for the answer to be taken."""
        self.waiting_since = self.loop.time()
        self._unread = None
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note since when nobody takes what is sent."""
        self._paused_since = self.loop.time()
        super().pause_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, or was too large."""
        del msg
        self._refuse(431 if self._too_large else 400)

    def _refuse(self, status: int) -> None:
        """Say so and hang up; answers to requests before are neither overtaken nor cut."""
        self._refused = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                cycle.keep_alive = False
                return
            if self.pipeline or cycle.response_started:
                self.transport.close()
                return
        # A person may have sent what cannot be read: an address out of a text, in bytes that no browser sends.
        body = pages.unknown_page(language=pages.Language.ZH) if status == 400 else _REFUSED[status]
        headers = pages.HEADERS if status == 400 else ((b"content-type", b"text/plain; charset=utf-8"),)
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(
            b"HTTP/1.1 %d %s\r\n%scontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status, _REFUSED[status], head, len(body), body)
        )
        self.transport.close()

    def _watch(self) -> None:
        """Look whether the connection still does what it is for, and when to look again."""
        now, unread = self.loop.time(), self._untaken()
        due = self.waiting_since + self._wait_seconds
        if not self.idle:
            if self.flow.write_paused and now - self._paused_since >= self._wait_seconds:
                self.transport.abort()
            due = now + self._wait_seconds
        elif now >= due:
            if unread and self._unread is not None and self._unread - unread < READ_BYTES_A_SECOND * self._wait_seconds:
                self.transport.abort()
            elif not unread and self._loose_bytes and not self._refused:
                self._refuse(408)
            elif not unread:
                self.transport.close()
            self._unread, self.waiting_since, due = unread, now, now + self._wait_seconds
        self._look = self.loop.call_at(due, self._watch)

    def _untaken(self) -> int:
        """Count what was answered and has not arrived: what waits here, and what waits in the kernel."""
        waiting, length = self.transport.get_write_buffer_size(), bytearray(4)
        connection = self.transport.get_extra_info("socket")
        if sys.platform == "linux" and connection is not None:
            with contextlib.suppress(OSError):
                fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, length)
        return waiting + int.from_bytes(length, sys.byteorder)

    @property
    def idle(self) -> bool:
        """Tell whether nothing is being answered here."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> None:
        others: list[Guarded] = [one for one in self.connections if isinstance(one, Guarded) and one.idle]
        for one in heapq.nsmallest(1 + len(others) // _SHARE_CLOSED, others, key=lambda one: one.waiting_since):
            one.transport.abort()


def _encoded(data: bytes) -> bytes:
    """Percent-encode the bytes outside ASCII in a request line, as a browser does; some programs send them bare."""
    line, end, rest = data.partition(b"\r\n")
    if len(line) > _LINE_BYTES_MAX or not line.startswith((b"GET ", b"HEAD ")):
        return data
    return _BARE.sub(lambda found: b"%%%02X" % found[0][0], line) + end + rest


def _length(url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) + _LINE_BYTES for name, value in headers)
