"""See that a data directory is this user's to work in: PostgreSQL starts on no other, and says so in six lines.

Law: rights are widened or given away only as root, and never for the data of a server that runs.
"""

import os
import pwd
import stat
from pathlib import Path

_PRIVATE = 0o700


class ForeignDirectoryError(RuntimeError):
    """Refuse a data directory that this user may not work in, and say what to do."""


def claim(directory: Path) -> None:
    """Refuse a directory that another user owns, or that cannot be written. Raises: ForeignDirectoryError."""
    if not directory.is_dir():
        raise ForeignDirectoryError(f"{directory} is no directory: name another with HUOMA_DATA_DIR.")
    owner, us = directory.stat().st_uid, os.geteuid()
    if us not in (0, owner):
        raise ForeignDirectoryError(
            f"{directory} belongs to {_name(owner)} and this is {_name(us)}: as root, run `chown -R {us} {directory}`."
        )
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise ForeignDirectoryError(f"{directory} cannot be written: make it writable, or set HUOMA_DATA_DIR.")


def give(tree: Path, owner: tuple[int, int]) -> None:
    """Give a tree to a user, as root must when it was copied. Cost: one look when it is theirs; else all its files."""
    if tree.stat().st_uid == owner[0]:
        return
    for folder, _, files in os.walk(tree):
        for path in (folder, *(os.path.join(folder, name) for name in files)):  # noqa: PTH118 - many files
            os.chown(path, *owner, follow_symlinks=False)


def make_private(directory: Path) -> None:
    """Take the rights of others away, which PostgreSQL insists on and a copy may have added."""
    if stat.S_IMODE(directory.stat().st_mode) & 0o077:
        directory.chmod(_PRIVATE)


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
