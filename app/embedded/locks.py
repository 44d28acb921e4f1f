"""Locks that die with their holders.

Law: a lock is an open file, never a process id; ids are reused, and what is written in the file is only for people.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

POLL_SECONDS = 0.02


def acquired(path: Path, patience_seconds: float) -> int | None:
    """Take an exclusive lock and return the file descriptor that holds it, or None when patience runs out.

    Shapes: the lock lasts until every copy of the descriptor is closed, in children that inherited it too.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if until(lambda: _locked(descriptor, fcntl.LOCK_EX), patience_seconds):
        return descriptor
    os.close(descriptor)
    return None


def is_held(path: Path) -> bool:
    """Tell whether anybody holds the lock.

    Raises: FileNotFoundError — there is no such lock.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return not _locked(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def until(done: Callable[[], bool], patience_seconds: float) -> bool:
    """Ask again and again until it is done; False when patience runs out."""
    deadline = time.monotonic() + patience_seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
