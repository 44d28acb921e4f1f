"""Be a stranger on a socket: send bytes that no client would send, and read what comes back."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import pytest

from app.settings import Server
from tests.running import Service, running_service, server_folder

PATIENCE_SECONDS: Final = 60
WAIT_SECONDS: Final = 3
# So that a busy machine is not taken for servers that are away.
PATIENT: Final[dict[str, Any]] = {"redis_timeout_seconds": 20, "database_connect_seconds": 20}
STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Stranger:
    """Be one connection."""

    def __init__(self, service: Service, *, buffer: int = 0) -> None:
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(("127.0.0.1", service.port))

    def send(self, data: bytes) -> bool:
        """Send; False when he is not listened to any more."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def rest(self, patience: float = PATIENCE_SECONDS) -> bytes:
        """Read until the other side hangs up, or for so long."""
        told, end = b"", time.monotonic() + patience
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                piece = self.socket.recv(65_536)
            except TimeoutError:
                break
            except OSError:
                return told
            if not piece:
                return told
            told += piece
        return told

    def hung_up(self, patience: float = PATIENCE_SECONDS) -> bool:
        """Tell whether the other side hangs up in time, whatever it says before."""
        end = time.monotonic() + patience
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if not self.socket.recv(65_536):
                    return True
            except TimeoutError:
                return False
            except OSError:
                return True
        return False

    def close(self) -> None:
        self.socket.close()


def told(service: Service, sent: bytes, patience: float = 1.0) -> tuple[list[int], bytes]:
    """Send bytes on a connection of their own; answer with the statuses that came back, and all of it."""
    with closing(Stranger(service)) as stranger:
        stranger.send(sent)
        answer = stranger.rest(patience)
    return [int(one) for one in STATUS.findall(answer)], answer


@pytest.fixture(scope="module")
def everything() -> Iterator[Service]:
    settings: dict[str, Any] = {
        "keep_alive_seconds": WAIT_SECONDS,
        "body_seconds": WAIT_SECONDS,
        "redis_timeout_seconds": 20,
    }
    with server_folder() as folder, running_service(folder, server=Server.UVICORN, **settings) as service:
        yield service


@pytest.fixture(scope="module", params=list(Server))
def service(everything: Service, request: pytest.FixtureRequest) -> Service:
    """Run one web process under one server after the other."""
    everything.serve_under(request.param)
    return everything
