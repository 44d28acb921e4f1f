"""Run the web processes until told to stop. The only file that names a web server's knobs."""

import importlib.util
import multiprocessing
import os
import resource
import socket
import tempfile
from functools import partial
from multiprocessing.synchronize import Event
from typing import TYPE_CHECKING, Final, assert_never

from app import telemetry
from app.guarding import HEAD_BYTES_MAX
from app.qr.lettering import find_font
from app.settings import PREFIX, Server, Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

APPLICATION: Final = "app.main:from_environment"
BACKLOG: Final = 2048
# A process that starts on a busy machine answers late; after 5 seconds uvicorn would start it anew, again and again.
START_SECONDS: Final = 30
# What a process takes, when nothing is in flight any more, to close what it has opened.
END_SECONDS: Final = 5
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
    """Serve with as many processes as the settings say, on one socket that stays open while they come and go.

    SIGTERM and SIGINT stop them in order; SIGHUP replaces one after another.
    Raises: ValueError — as `check_settings`, or the port is taken.
    """
    check_settings(settings)
    os.environ.update(settings.environment())
    with _listen(settings) as listener, tempfile.TemporaryDirectory(prefix="huoma-metrics-") as folder:
        telemetry.set_up_logging()
        if settings.workers > 1:
            # Read by the client library when the web processes import it: the metrics of all are summed up there.
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        match settings.server:
            case Server.UVICORN:
                _serve_with_uvicorn(settings, listener)
            case Server.GRANIAN:
                _serve_with_granian(settings, listener)
            case _:
                assert_never(settings.server)


def check_settings(settings: Settings) -> None:
    """Refuse what would end every web process.

    Raises: ValueError — the server is not installed, or the font of captions is none.
    """
    if settings.server is Server.GRANIAN and importlib.util.find_spec("granian") is None:
        raise ValueError("The web server granian is not installed; `pip install granian` does it.")
    find_font(settings.caption_font)


def free_port(settings: Settings) -> int:
    """Make sure that the port is free, or find one when any will do.

    Raises: ValueError — somebody else listens there.
    """
    with _listen(settings) as probe:
        return int(probe.getsockname()[1])


def _listen(settings: Settings) -> socket.socket:
    """Open the port, for this process and those it will start.

    Raises: ValueError — somebody else listens there, or there is no such address.
    """
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        kind = socket.SOCK_STREAM
        address = socket.getaddrinfo(settings.host, settings.port, family, kind)[0][4]
        listener = socket.socket(family, kind)
    except (OSError, OverflowError) as error:
        raise _cannot_listen(settings, error) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise _cannot_listen(settings, error) from None
    return listener


def _cannot_listen(settings: Settings, error: Exception) -> ValueError:
    said = getattr(error, "strerror", None) or error
    return ValueError(
        f"Cannot listen on {settings.host} port {settings.port}: {said}. Choose another with {PREFIX}PORT."
    )


def _serve_with_uvicorn(settings: Settings, listener: socket.socket) -> None:
    from uvicorn import Config

    from app.guarding import Guarded
    from app.uvicorns import Uvicorns

    config = Config(
        APPLICATION,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="auto",
        http=partial(Guarded, connections_max=connections_max(settings)),  # type: ignore[arg-type]  # It is only called.
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=int(settings.shutdown_seconds),
        timeout_worker_healthcheck=START_SECONDS,
    )
    leave_seconds = settings.linger_seconds + settings.shutdown_seconds + END_SECONDS
    Uvicorns(config, listener, leave_seconds=leave_seconds).run()


def _serve_with_granian(settings: Settings, listener: socket.socket) -> None:
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    from app.granians import Granians

    # A fork would have imported the metrics before their directory was named.
    multiprocessing.set_start_method("spawn", force=True)
    address, port, *_ = listener.getsockname()
    server = Granians(
        APPLICATION,
        address=address,
        port=port,
        listener=listener,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=connections_max(settings),
        http1_settings=HTTP1Settings(
            keep_alive=True,
            header_read_timeout=settings.keep_alive_seconds * 1000,
            max_buffer_size=HEAD_BYTES_MAX,
        ),
        log_level=LogLevels.warning,
        log_dictconfig=_GRANIAN_LOG,
        respawn_failed_workers=True,
        workers_kill_timeout=max(1, int(settings.linger_seconds + settings.shutdown_seconds)),
    )
    server.serve(target_loader=partial(application, server.ready), wrap_loader=False)


def application(ready: Event) -> "ASGIApp":
    """Build the application in a process of granian's, which would look for it in the current directory first."""
    from app.main import from_environment

    web = from_environment()
    ready.set()
    return web


def connections_max(settings: Settings) -> int:
    """Count the connections that a process has files for: those beyond wait with the kernel.

    Without files granian would go on asking for them as fast as it can.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return _CONNECTIONS_MAX
    others = _OTHER_FILES + settings.redis_connections + settings.database_connections
    return max(_CONNECTIONS_MIN, min(_CONNECTIONS_MAX, files - others))
