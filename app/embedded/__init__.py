"""Private PostgreSQL and Redis for `huoma up` and for tests: real servers, nothing to install.

Law: a data directory has one owner at a time, and no server outlives its owner.
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from app.embedded.locks import acquired, is_held
from app.embedded.ownership import ForeignDirectoryError, claim
from app.embedded.postgres import PostgresServer
from app.embedded.redis import RedisServer
from app.embedded.server import ServerFailedError

__all__ = [
    "DirectoryInUseError",
    "EmbeddedServers",
    "ForeignDirectoryError",
    "PostgresServer",
    "RedisServer",
    "ServerFailedError",
]
__all__ += ["Servers", "running"]

# Long enough for a `running()` elsewhere to let go of its glance at the lock.
GLANCE_SECONDS = 0.5


class DirectoryInUseError(RuntimeError):
    """Refuse a data directory that another living process owns."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where both servers listen.

    Shapes: `postgresql+asyncpg://…` for SQLAlchemy's async engine and `unix://…` for redis-py; unix sockets, no port.
    """

    database_url: str
    redis_url: str


class EmbeddedServers:
    """Own one data directory and the two servers in it, from `start` to `stop`.

    The parts are public, so that a test may kill one and start it again: `servers.redis.kill()`, `.redis.start()`.
    On Linux the kernel stops both servers when this process dies, however it dies; elsewhere only `stop` does.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self.postgres = PostgresServer(self.data_dir / "postgres")
        self.redis = RedisServer(self.data_dir / "redis")
        self._cleanup = ExitStack()

    @property
    def has_data(self) -> bool:
        """Return whether they were started here before."""
        return self.postgres.data.exists()

    @property
    def servers(self) -> Servers:
        """Where both listen, once started."""
        return Servers(database_url=self.postgres.url, redis_url=self.redis.url)

    def start(self) -> Servers:
        """Start both servers on what the directory holds, or on an empty beginning.

        Raises: DirectoryInUseError — another process owns the directory; ServerFailedError — a server does not come up.
        Cost: about half a second; some seconds the first time.
        """
        with ExitStack() as started:
            self._own(started)
            for server in (self.postgres, self.redis):
                started.callback(server.stop)
                server.start()
            note = _note(self.data_dir)
            started.callback(note.unlink, missing_ok=True)
            note.write_text(json.dumps(asdict(self.servers)))
            self._cleanup = started.pop_all()
        return self.servers

    @property
    def whole(self) -> bool:
        """Tell whether both run."""
        return None not in (self.postgres.pid, self.redis.pid)

    def revive(self) -> Iterator[str]:
        """Start again what has died since, on the data it had; say so, and what did not come up: the next time it may.

        Cost: nothing when both run.
        """
        for server in (self.postgres, self.redis):
            if server.pid is None:
                yield f"{server.name} ended by itself; starting it again."
                try:
                    server.start()
                except (ServerFailedError, ForeignDirectoryError, OSError) as error:
                    yield f"{server.name}: {error}"

    def stop(self) -> None:
        """Stop what was started, in reverse order, each in its own orderly way; harmless when nothing runs."""
        self._cleanup.close()

    def _own(self, started: ExitStack) -> None:
        with suppress(FileExistsError):
            try:
                self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
                raise ForeignDirectoryError(
                    f"{self.data_dir} cannot be made ({error.strerror}): name another directory with HUOMA_DATA_DIR."
                ) from error
        claim(self.data_dir)
        lock = acquired(_lock(self.data_dir), GLANCE_SECONDS)
        if lock is None:
            holder = _lock(self.data_dir).read_text().strip() or "unknown"
            raise DirectoryInUseError(
                f"{self.data_dir} is in use by another huoma (process {holder}): stop it, or name another directory "
                "with HUOMA_DATA_DIR."
            )
        started.callback(os.close, lock)
        os.truncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        # A note left by a killed owner would promise servers that are not up yet.
        _note(self.data_dir).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def running(data_dir: Path) -> Servers | None:
    """Find the servers that another process, or this one, has up in a data directory; None when there are none."""
    with suppress(FileNotFoundError):
        if is_held(_lock(data_dir.absolute())):
            return Servers(**json.loads(_note(data_dir.absolute()).read_text()))
    return None


def _lock(data_dir: Path) -> Path:
    return data_dir / "lock"


def _note(data_dir: Path) -> Path:
    return data_dir / "running.json"
