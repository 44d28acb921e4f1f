"""Start everything with one command, as a newcomer does, and stop it again."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from app.embedded.locks import until
from app.settings import Server
from tests.running import PHONE, server_folder


class Up:
    """One `huoma up`, and what it has printed."""

    def __init__(self, folder: Path, port: str = "0", server: Server = Server.UVICORN, **more: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HUOMA_")}
        environment |= {"HUOMA_DATA_DIR": str(folder), "HUOMA_PORT": port, "HUOMA_SERVER": server}
        environment |= {"PYTHONUNBUFFERED": "1", **more}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "up"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.printed = ""
        self.ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.printed += line
            if "/docs" in line:
                self.ready.set()
        self.ready.set()

    @property
    def demo(self) -> str:
        return re.search(r"demo code +(\S+)", self.printed)[1]  # type: ignore[index]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end and the last word."""
        status = self.process.wait(60)
        self._reader.join(10)
        return status


@contextmanager
def up(folder: Path, server: Server = Server.UVICORN, **environment: str) -> Iterator[Up]:
    started = Up(folder, server=server, **environment)
    try:
        assert started.ready.wait(90)
        assert started.process.poll() is None, started.printed
        yield started
    finally:
        if started.process.poll() is None:
            started.stop()


def scan(url: str) -> str:
    return httpx.get(url, headers={"User-Agent": PHONE}, trust_env=False).headers["x-huoma-outcome"]


def processes_with(text: str) -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            told = (folder / "cmdline").read_text() + (folder / "environ").read_text(errors="replace")
            if int(folder.name) != os.getpid() and text in told:
                found.append(told)
    return found


def server_in(folder: Path) -> int:
    """Name the process of the private server that lives in a directory."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            command = (process / "cmdline").read_text()
            program = Path(command.split("\0")[0].split(" ")[0]).name
            if str(folder) in command and program.startswith(("redis", "valkey", "postgres")):
                found.append(int(process.name))
    return min(found)


def command_of(folder: Path, name: str, not_this: int = 0) -> int:
    """Name the process of one of our own commands, 0 when there is none."""
    for process in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            command = (process / "cmdline").read_text().rstrip("\0").split("\0")
            ours = command[-1] == name and str(folder) in (process / "environ").read_text(errors="replace")
            if ours and int(process.name) != not_this:
                return int(process.name)
    return 0


def answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return scan(url) == "claimed"
    return False


def test_one_command_starts_a_demo_that_scans_and_stops_without_a_trace() -> None:
    with server_folder() as folder:
        with up(folder) as first:
            assert scan(first.demo) == "claimed"
            key = re.search(r"shown this once: (hm_\w+)", first.printed)[1]  # type: ignore[index]
            assert processes_with(str(folder))
            assert first.stop() == 0
        assert processes_with(str(folder)) == []
        assert "Traceback" not in first.printed

        with up(folder, PYTHONIOENCODING="ascii") as second:
            assert scan(second.demo) == "claimed"
            assert "??" not in second.printed, "a terminal that cannot show the code shows none"
            api = second.demo.removesuffix("/demo") + "/api/v1"
            codes = httpx.get(f"{api}/codes", headers={"Authorization": f"Bearer {key}"}, trust_env=False).json()
            assert [code["slug"] for code in codes["items"]] == ["demo"]
            assert second.stop(signal.SIGINT) == 0
        assert processes_with(str(folder)) == []


def test_two_live_side_by_side_but_never_in_one_directory() -> None:
    with server_folder() as one, server_folder() as other, up(one) as first, up(other) as second:
        assert scan(first.demo) == scan(second.demo) == "claimed"
        intruder = Up(one)
        assert intruder.ended() == 2
        assert "is in use by another huoma" in intruder.printed
        assert scan(first.demo) == "claimed"


def test_a_port_in_use_is_explained_before_anything_is_made() -> None:
    with server_folder() as folder, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        intruder = Up(folder, str(holder.getsockname()[1]))
        assert intruder.ended() == 2
        assert f"port {holder.getsockname()[1]}: " in intruder.printed
        assert "Traceback" not in intruder.printed
        assert not list(folder.iterdir())


def test_nothing_outlives_a_killed_parent() -> None:
    with server_folder() as folder:
        with up(folder) as first:
            first.process.kill()
            first.process.wait()
            deadline = threading.Event()
            for _ in range(100):
                if not processes_with(str(folder)):
                    break
                deadline.wait(0.1)
            assert processes_with(str(folder)) == []
        with up(folder) as second:
            assert scan(second.demo) == "claimed"


def test_whatever_dies_is_started_again() -> None:
    # A web process that outlived `serve` would keep the port.
    with server_folder() as folder, up(folder, Server.GRANIAN) as first:
        assert scan(first.demo) == "claimed"
        killed = command_of(folder, "serve")
        assert killed
        os.kill(killed, signal.SIGKILL)
        assert until(lambda: command_of(folder, "serve", killed) > 0 and answers(first.demo), 60)
        for name in ("redis", "postgres"):
            os.kill(server_in(folder / name), signal.SIGKILL)
        assert until(lambda: scan(first.demo) == "claimed", 30)
        assert first.process.poll() is None
