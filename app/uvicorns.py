"""Look after several processes of uvicorn's, and replace them one after another when told to (SIGHUP)."""

import logging
import os
import signal
import socket
import threading

from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from app.leaving import HAND_OVER, SUCCESSOR_SECONDS
from app.telemetry import say


class Uvicorns(Multiprocess):
    """Keep as many processes as the configuration says, all listening on one socket that is open here, too.

    One that dies, or gives no sign of life for as long as a start may take, is followed by another.
    On SIGHUP each is replaced: the next one begins when a new one serves and the old one has left. If a new one does
    not come about, all stays as it is. An old one that does not leave within `leave_seconds` is killed.
    """

    def __init__(self, config: Config, listener: socket.socket, *, leave_seconds: float) -> None:
        super().__init__(config, [listener])
        self._leave_seconds = leave_seconds
        for number in (signal.SIGTERM, signal.SIGINT):
            # Also while processes are replaced. In a thread: a handler must not wait for a lock that it broke into.
            signal.signal(number, lambda *_: threading.Thread(target=self.should_exit.set).start())

    def init_processes(self) -> None:
        """Start them all."""
        self.processes = [self._started() for _ in range(self.processes_num)]

    def keep_subprocess_alive(self) -> None:
        """Look at each once."""
        for index, old in enumerate(self.processes):
            if self.should_exit.is_set() or old.is_alive(self.config.timeout_worker_healthcheck):
                continue
            old.kill()
            old.join()
            say("web_process_ended", level=logging.ERROR, process=old.pid, status=old.exitcode)
            if old.exitcode == STARTUP_FAILURE:
                # The next would not start, either.
                self.should_exit.set()
            elif not self.should_exit.is_set():
                self.processes[index] = self._started()

    def handle_ttin(self) -> None:
        """Keep one more."""
        self.processes_num += 1
        self.processes.append(self._started())

    def restart_all(self) -> None:
        """Replace each process in turn."""
        for index, old in enumerate(self.processes):
            new = self._started()
            if not new.wait_until_ready(SUCCESSOR_SECONDS, self.should_exit):
                new.kill()
                new.join()
                if not self.should_exit.is_set():
                    say("web_process_not_replaced", process=old.pid)
                return
            self.processes[index] = new
            if old.pid is not None and old.process.is_alive():
                os.kill(old.pid, HAND_OVER)
            # One that stands still hears nothing, and is what an operator replaces.
            old.process.join(self._leave_seconds)
            if old.process.is_alive():
                old.process.kill()
                old.process.join()
            say("web_process_replaced", process=old.pid, by=new.pid)

    def _started(self) -> Process:
        # No class of ours: it would travel to the child by its name, which another version may not know.
        process = Process(self.config, self.sockets)
        process.start()
        # Were its end of the line open here, too, nobody would hear that it died while it is asked for a sign of life.
        process.child_conn.close()
        return process
