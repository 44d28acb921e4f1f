"""Look after several processes of uvicorn's, and replace them one after another when told to (SIGHUP)."""

import os
import signal
import socket
import threading

from uvicorn import Config
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from app.leaving import HAND_OVER, SUCCESSOR_SECONDS
from app.telemetry import say


class Uvicorns(Multiprocess):
    """Keep as many processes as the configuration says, all listening on one socket that is open here, too.

    On SIGHUP each is replaced: the next one begins when a new one serves and the old one has left. If a new one does
    not come about, all stays as it is. An old one that does not leave within `leave_seconds` is killed.
    """

    def __init__(self, config: Config, listener: socket.socket, *, leave_seconds: float) -> None:
        super().__init__(config, [listener])
        self._leave_seconds = leave_seconds
        for number in (signal.SIGTERM, signal.SIGINT):
            # Also while processes are replaced. In a thread: a handler must not wait for a lock that it broke into.
            signal.signal(number, lambda *_: threading.Thread(target=self.should_exit.set).start())

    def restart_all(self) -> None:
        """Replace each process in turn."""
        for index, old in enumerate(self.processes):
            new = Process(self.config, self.sockets)
            new.start()
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
