"""Fill a disk: refuse running servers whatever a file of theirs would grow by."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.embedded.server import Server
from bench import cpu


def fill(server: Server, seconds: float) -> None:
    """Leave a server no room for so long, and start it when there is room again.

    Raises: AssertionError — it went on without.
    """
    with _full(server):
        time.sleep(seconds)
    assert server.pid is None, f"{server.name} goes on without a disk"
    server.start()


def said(seconds: float) -> str:
    """Say how that was injected."""
    return f"no file of its may grow for {seconds:.0f} s, so that it ends at its next write; then a start"


@contextmanager
def _full(server: Server) -> Iterator[None]:
    """Refuse a server every write beyond a file's first byte until the block ends, and all processes that it starts.

    It meets `EFBIG` where a full disk says `ENOSPC`, and handles both alike.
    """
    assert server.pid is not None
    # First, so that what it starts from now on inherits it.
    _bound(server.pid, "1")
    family = cpu.family(server.pid)
    for pid in family - {server.pid}:
        # A process that ends just now writes nothing more.
        with suppress(FileNotFoundError, subprocess.CalledProcessError):
            _bound(pid, "1")
    try:
        yield
    finally:
        for pid in family & cpu.family(server.pid or 0):
            # It may end just now.
            with suppress(OSError, subprocess.CalledProcessError):
                _bound(pid, "unlimited")


def _bound(pid: int, size: str) -> None:
    """Bound the files of a process, as its owner: nobody else may, not even root everywhere."""
    owner = Path(f"/proc/{pid}").stat()
    subprocess.run(["prlimit", f"--pid={pid}", f"--fsize={size}:"], check=True, user=owner.st_uid, group=owner.st_gid)
