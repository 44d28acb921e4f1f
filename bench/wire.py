"""Speak just enough HTTP/1.1 to be a crowd of phones: `GET` over kept connections, nothing else."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """Hold one answer.

    Shapes: `headers` by name in lower case, the last of several; `head_bytes` is what stood before the body;
    `cookies` as they were set.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    head_bytes: int
    cookies: Sequence[str] = ()

    @property
    def outcome(self) -> str:
        """Name what the visitor was told."""
        return self.headers.get("x-huoma-outcome", "")


class Connection:
    """Ask one thing after another over one connection. Understands bodies with a `Content-Length` only."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, agent: str) -> None:
        self._reader = reader
        self._writer = writer
        self._agent = agent

    async def get(self, path: str, **headers: str) -> Reply:
        """Ask for a path.

        Raises: OSError, asyncio.IncompleteReadError — the other side hung up.
        """
        said = {"host": "localhost", "user-agent": self._agent, **headers}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()), "", ""]
        self._writer.write("\r\n".join(lines).encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").rstrip().split("\r\n")
        met = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in fields)}
        body = await self._reader.readexactly(int(met.get("content-length", 0)))
        cookies: Sequence[str] = ()
        if "set-cookie" in met:
            cookies = [line.partition(":")[2].strip() for line in fields if line[:11].lower() == "set-cookie:"]
        return Reply(int(status.split(" ", 2)[1]), met, body, len(head), cookies)


@asynccontextmanager
async def connected(host: str, port: int, agent: str) -> AsyncIterator[Connection]:
    """Open a connection until the block ends."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield Connection(reader, writer, agent)
    finally:
        writer.close()
        await writer.wait_closed()
