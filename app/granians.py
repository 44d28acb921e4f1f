"""Look after several processes of granian's on one socket, and replace them one after another when told to (SIGHUP)."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Sequence
from multiprocessing.reduction import DupFd
from typing import Any

from granian._granian import SocketHolder
from granian.server.mp import MPServer, WorkerProcess

from app.leaving import HAND_OVER, SUCCESSOR_SECONDS
from app.telemetry import say

_ASK_SECONDS = 0.05


class Shared:
    """Be a listening socket that processes inherit, instead of one that each opens for itself.

    The kernel would refuse whoever waits at a socket that its process closes; at this one he waits for another process.
    """

    def __init__(self, listener: socket.socket, backlog: int) -> None:
        self._listener = listener
        self._backlog = backlog

    def __reduce__(self) -> tuple[Callable[..., SocketHolder], tuple[Any, int]]:
        """Travel to a process that is being spawned, and arrive as what granian calls a socket."""
        return _arrived, (DupFd(self._listener.fileno()), self._backlog)


def _arrived(number: Any, backlog: int) -> SocketHolder:
    return SocketHolder(number.detach(), False, backlog)  # type: ignore[call-arg]


class Granians(MPServer):
    """Keep as many processes as there were at first, all listening on one socket that is open here, too.

    On SIGHUP each is replaced: the next one begins when a new one is there and the old one has left. If a new one does
    not come about, all stays as it is. A process that died is replaced, too.
    """

    def __init__(self, *arguments: Any, listener: socket.socket, **knobs: Any) -> None:
        super().__init__(*arguments, **knobs)
        self._listener = listener
        # Set by a process once it has the application.
        self.ready = multiprocessing.Event()

    def _init_shared_socket(self) -> None:
        self._ssp, self._sso = None, None
        self._shd = Shared(self._listener, self.backlog)  # type: ignore[assignment]

    def _respawn_workers(self, workers: Sequence[int], spawn_target: Any, target_loader: Any, delay: float = 0) -> None:
        del delay
        for index in workers:
            if self.interrupt_signal:
                return
            self.respawned_wrks[index] = time.monotonic()
            old = self.wrks[index]
            self.ready.clear()
            new = self._spawn_worker(index, spawn_target, target_loader)
            # Nobody else looks after it until it serves.
            new.interrupt_by_parent = True
            new.start()  # type: ignore[no-untyped-call]
            if not self._came_about(new):
                new.inner.kill()
                if self.interrupt_signal:
                    return
                if old.inner.is_alive():
                    say("web_process_not_replaced", process=old.inner.pid)
                    return
                # As if it had died later: tried again, or given up.
                self.interrupt_children.append(index)
                self.main_loop_interrupt.set()
                continue
            new.interrupt_by_parent = False
            self.wrks[index] = new
            self._let_go(old)
            say("web_process_replaced", process=old.inner.pid, by=new.inner.pid)

    def _came_about(self, new: WorkerProcess) -> bool:
        until = time.monotonic() + SUCCESSOR_SECONDS
        while new.inner.is_alive() and not self.interrupt_signal and time.monotonic() < until:
            if self.ready.wait(_ASK_SECONDS):
                return True
        return False

    def _let_go(self, old: WorkerProcess) -> None:
        old.interrupt_by_parent = True
        if old.inner.is_alive():
            os.kill(old.inner.pid, HAND_OVER)
        old.inner.join(self.workers_kill_timeout)
        if old.inner.is_alive():
            old.inner.kill()
            old.inner.join()
