"""Fill a disk: refuse running servers whatever a file of theirs would grow by."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.embedded.server import Server
from bench import cpu


@contextmanager
def full(server: Server) -> Iterator[None]:
    """Refuse a server every write beyond a file's first byte until the block ends, and all processes that it starts.

    It meets `EFBIG` where a full disk says `ENOSPC`, and handles both alike.
    """
    assert server.pid is not None
    family = cpu.family(server.pid)
    for pid in family:
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
