"""One server process of ours: launched, awaited, stopped, killed.

Law: a server and every process it forks hold the server's lock, so a free lock means that nothing of it is left.
"""

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from pathlib import Path

from app.embedded import launch
from app.embedded.locks import acquired, until
from app.embedded.ownership import claim

# sockaddr_un holds 103 bytes and a zero on macOS, 107 and a zero on Linux. Source: unix(4), unix(7).
SOCKET_PATH_BYTES = 103
# A predecessor may still be writing its last; a long log may have to be replayed.
PREDECESSOR_SECONDS = 30.0
START_SECONDS = 180.0
STOP_SECONDS = 30.0
LOG_TAIL_BYTES = 4000
# A file in a short directory for sockets that names the directory which it was made for.
_OWNER = "of"
_GRAVE = re.compile(r"FATAL|PANIC|[Ff]atal|[Bb]ad file format|Can't|Failed")


class ServerFailedError(RuntimeError):
    """Say why a server is not up."""


class Server(ABC):
    """Run one server in one directory, which holds its data, its lock, its log and its socket."""

    name: str
    socket_name: str
    stop_signal: signal.Signals

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.data = self.directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect; the same from the first `start` to `stop`, through any number of `kill`s."""

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def sockets(self) -> Path:
        """The directory of the unix socket, known once started."""
        if self._sockets is None:
            raise ServerFailedError(f"{self.name} has not been started")
        return self._sockets

    def start(self) -> None:
        """Start the server and return when it answers; harmless when it runs.

        Raises: ServerFailedError — it exits, does not answer in time, or one in the same directory does not go away.
        """
        if self.pid is not None:
            return
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._owner() is None:
            claim(self.directory)
        lock = self._lock()
        try:
            self._sockets = self._sockets or self._socket_directory()
            self._prepare()
            self._process = self._launched(lock)
        finally:
            os.close(lock)
        until(lambda: self.pid is None or self._ready(), START_SECONDS)
        if self.pid is None or not self._ready():
            self.kill()
            raise ServerFailedError(f"{self.name} did not start ({self._last_words()}); see {self.directory / 'log'}")

    def stop(self) -> None:
        """Stop the server in its orderly way, by force when that takes too long; harmless when it does not run."""
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            self.kill()
            # Whatever it forked is gone, too, when the lock is free.
            os.close(self._lock())
        self._forget_sockets()

    def kill(self) -> None:
        """Kill the server as `kill -9` does. Its data and its URL stay for the next `start`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @abstractmethod
    def _prepare(self) -> None:
        """Make the data directory fit to start on."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Name the executable by its absolute path, and its arguments."""

    @abstractmethod
    def _ready(self) -> bool:
        """Tell whether the server we launched takes commands."""

    def _owner(self) -> tuple[int, int] | None:
        """Name the user and group to run as when it cannot be ours."""
        return None

    def _lock(self) -> int:
        lock = acquired(self.directory / "lock", PREDECESSOR_SECONDS)
        if lock is None:
            raise ServerFailedError(f"another {self.name} still runs in {self.directory}")
        return lock

    def _socket_directory(self) -> Path:
        self._forget_sockets()
        fits = len(os.fsencode(self.directory / self.socket_name)) <= SOCKET_PATH_BYTES
        # SQLAlchemy takes a comma in `host` for a list and a colon for a port, escaped or not.
        if fits and not set(",:") & set(str(self.directory)):
            return self.directory
        # /tmp by name: macOS's own temporary directory is too long as well.
        short = Path(tempfile.mkdtemp(prefix="huoma-", dir="/tmp"))
        if owner := self._owner():
            os.chown(short, *owner)
        (short / _OWNER).write_text(str(self.directory))
        self._away.symlink_to(short)
        return short

    @property
    def _away(self) -> Path:
        # The link remembers the short directory for whoever starts after a crash and has to clear it away.
        return self.directory / "sockets"

    def _forget_sockets(self) -> None:
        if self._away.is_symlink():
            short = self._away.readlink()
            # In a copy of a directory the link still leads to the sockets of the original, which may run.
            with suppress(OSError):
                if (short / _OWNER).read_text() == str(self.directory):
                    shutil.rmtree(short, ignore_errors=True)
            self._away.unlink()
        self._sockets = None

    def _launched(self, lock: int) -> "subprocess.Popen[bytes]":
        log = self.directory / "log"
        if log.exists():
            log.replace(self.directory / "log.before")
        owner = ":".join(map(str, self._owner() or ()))
        command = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(int(self.stop_signal)), owner]
        with log.open("wb") as output:
            return _in_lasting_thread(
                lambda: subprocess.Popen(  # noqa: S603 - every word is ours
                    command + self._command(),
                    cwd=self.directory,
                    env=environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[lock],
                    # Ctrl-C in the terminal must reach us and not the servers, which go last.
                    start_new_session=True,
                )
            )

    def _last_words(self) -> str:
        lines = (self.directory / "log").read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").splitlines()
        grave = [line for line in lines if _GRAVE.search(line)]
        return (grave or [line for line in lines if line.strip()] or ["it said nothing"])[-1].strip()


def environment() -> dict[str, str]:
    """Give servers a small environment: `PG*` would move the socket, `LC_*` may name a locale that is not installed."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    return kept | {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _in_lasting_thread(work: Callable[[], "subprocess.Popen[bytes]"]) -> "subprocess.Popen[bytes]":
    # The kernel takes the end of the *thread* that forked for the death of the parent (prctl(2), PR_SET_PDEATHSIG),
    # and a caller may live in a short-lived worker thread.
    result: Future[subprocess.Popen[bytes]] = Future()
    _jobs(os.getpid()).put((work, result))
    return result.result()


_Job = tuple[Callable[[], "subprocess.Popen[bytes]"], "Future[subprocess.Popen[bytes]]"]


@cache
def _jobs(_process: int) -> "queue.SimpleQueue[_Job]":
    jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()

    def work_on() -> None:
        while True:
            work, result = jobs.get()
            try:
                result.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
                result.set_exception(error)

    threading.Thread(target=work_on, name="embedded-servers", daemon=True).start()
    return jobs
