"""Become a server that dies with its parent: `python -I -S launch.py PARENT SIGNAL UID:GID COMMAND…`.

Law: standard library only, and `exec` at the end, so that the process id we were started with is the server's own.
A file of its own rather than `preexec_fn`, which may deadlock in a parent that has threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Drop privileges, ask the kernel for a signal at the parent's death, and exec the command."""
    parent, signal, owner, *command = sys.argv[1:]
    if owner:
        uid, gid = map(int, owner.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After setuid, which would take the wish away again.
    follow(int(parent), int(signal))
    os.execv(command[0], command)  # noqa: S606 - the command is an absolute path that our own code built


def follow(parent: int, signal: int) -> None:
    """Ask the kernel for a signal when the parent dies.

    Raises: SystemExit — it is dead already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)
    # A parent that died before the wish was made sends no signal.
    if os.getppid() != parent:
        sys.exit("the parent process is gone")


if __name__ == "__main__":
    main()
