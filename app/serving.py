"""Run the web processes until told to stop. The only file that names a web server's knobs."""

import importlib.util
import multiprocessing
import os
import resource
import signal
import socket
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from app import telemetry
from app.settings import PREFIX, Server, Settings

if TYPE_CHECKING:
    from app.main import Web

APPLICATION: Final = "app.main:from_environment"
BACKLOG: Final = 2048
# A process that starts on a busy machine answers late; after 5 seconds uvicorn would start it anew, again and again.
START_SECONDS: Final = 30
# Twenty seat cookies are some 3 kB.
HEAD_BYTES_MAX: Final = 64 * 1024
# Open files of a process that are no connections.
_OTHER_FILES: Final = 64
_CONNECTIONS_MIN: Final = 64
_CONNECTIONS_MAX: Final = 1_000_000
_GRANIAN_LOG: Final = {
    "formatters": {},
    "handlers": {},
    # Its own handlers would write another format, and to standard output.
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}


def serve(settings: Settings) -> None:
    """Serve with as many processes as the settings say; SIGTERM and SIGINT stop them in order.

    Raises: ValueError — the server is not installed, or the port is taken.
    """
    os.environ.update(settings.environment())
    with tempfile.TemporaryDirectory(prefix="huoma-metrics-") as folder:
        if settings.workers > 1:
            # Read by the client library when the web processes import it: the metrics of all are summed up there.
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        match settings.server:
            case Server.UVICORN:
                _serve_with_uvicorn(settings)
            case Server.GRANIAN:
                _serve_with_granian(settings)
            case _:
                assert_never(settings.server)


def free_port(settings: Settings) -> int:
    """Make sure that the port is free, or find one when any will do.

    Raises: ValueError — somebody else listens there.
    """
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except (OSError, OverflowError) as error:
            raise ValueError(
                f"Cannot listen on {settings.host} port {settings.port}: {error}. Choose another with {PREFIX}PORT."
            ) from None
        return int(probe.getsockname()[1])


def _serve_with_uvicorn(settings: Settings) -> None:
    import uvicorn

    # uvicorn stops in order and then raises the signal once more, for whoever was there before; nobody was.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    uvicorn.run(
        APPLICATION,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="auto",
        http="httptools",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=int(settings.shutdown_seconds),
        timeout_worker_healthcheck=START_SECONDS,
    )


def _serve_with_granian(settings: Settings) -> None:
    if importlib.util.find_spec("granian") is None:
        raise ValueError("The web server granian is not installed; `pip install granian` does it.")
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    # Each of its processes listens for itself, so it would share a port with strangers and take one free port for each.
    settings = replace(settings, port=free_port(settings))
    # A fork would have imported the metrics before their directory was named.
    multiprocessing.set_start_method("spawn", force=True)
    server = Granian(
        APPLICATION,
        address=_address(settings),
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=connections_max(settings),
        http1_settings=HTTP1Settings(
            keep_alive=settings.keep_alive_seconds > 0,
            header_read_timeout=max(1, settings.keep_alive_seconds) * 1000,
            max_buffer_size=HEAD_BYTES_MAX,
        ),
        log_level=LogLevels.warning,
        log_dictconfig=_GRANIAN_LOG,
        respawn_failed_workers=True,
        workers_kill_timeout=max(1, int(settings.shutdown_seconds)),
    )
    telemetry.set_up_logging()
    server.serve(target_loader=application, wrap_loader=False)


def application() -> "Web":
    """Build the application in a process of granian's, which would look for it in the current directory first."""
    from app.main import from_environment

    return from_environment()


def _address(settings: Settings) -> str:
    """Look the host up: granian takes numbers only."""
    return str(socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][4][0])


def connections_max(settings: Settings) -> int:
    """Count the connections that a process has files for: those beyond wait with the kernel.

    Without files granian would go on asking for them as fast as it can.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return _CONNECTIONS_MAX
    others = _OTHER_FILES + settings.redis_connections + settings.database_connections
    return max(_CONNECTIONS_MIN, min(_CONNECTIONS_MAX, files - others))
