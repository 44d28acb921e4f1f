"""Put the web process together: the one place that knows who needs whom."""

import asyncio
import contextlib
import gc
import multiprocessing
import random
from collections.abc import Callable
from datetime import datetime
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app import telemetry
from app.counters.wire import Wire
from app.domain.errors import CountersAway
from app.domain.token import Signer
from app.embedded import launch
from app.leaving import NOW, Leaving, Mortal
from app.parts import build_parts
from app.qr.reader import Reader
from app.services.activity import Activity
from app.services.batching import Batcher
from app.services.scanning import Scanner
from app.services.showing import Pictures
from app.services.timekeeping import Clock, utc_now
from app.settings import Settings
from app.web.api import ApiContext, build_api
from app.web.operations import install_operations
from app.web.scan import ScanApp

GC_THRESHOLDS: Final = (20_000, 50, 50)


class Web:
    """Be the ASGI application of one process, with its beginning and its end."""

    def __init__(
        self,
        settings: Settings,
        wall: Callable[[], datetime] = utc_now,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.parts = build_parts(settings, wall, clock=clock, watchful=True)
        clock = self.parts.clock
        self.reader = Reader()
        self.wire = Wire(
            self.parts.redis,
            timeout_seconds=settings.redis_timeout_seconds,
            replicas=settings.redis_replicas,
            clock=clock if isinstance(clock, Clock) else None,
        )
        self.activity = Activity(self.parts.redis, clock)
        self.batcher = Batcher(self.wire, clock, self.activity.note)
        api = build_api(
            ApiContext.of(
                database=self.parts.database,
                redis=self.parts.redis,
                publisher=self.parts.recaller,
                reader=self.reader,
                public_url=settings.url,
                clock=clock,
                pseudonyms=self.parts.pseudonyms,
                caption_font=settings.caption_font,
            ),
            settings.body_seconds,
        )
        self.leaving = Leaving(settings.linger_seconds)
        self._beside: list[asyncio.Task[None]] = []
        install_operations(
            api,
            self.parts.database,
            self.parts.redis,
            self.parts.watcher,
            lambda: self.leaving.begun,
            self.parts.keeper,
            self.parts.inspector,
        )
        scanner = Scanner(self.parts.recaller, self.batcher, Signer(settings.secrets()), clock)
        app = ScanApp(scanner, Pictures(self.parts.database), api, settings.url, settings.files())
        # Here and not in the server, so that any server will do.
        self.app: ASGIApp = ProxyHeadersMiddleware(app, settings.proxies())  # type: ignore[arg-type, assignment]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or live through the server's start and stop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self.app(scope, receive, self.leaving.closing(send) if self.leaving.begun else send)

    async def close(self) -> None:
        """Finish what is under way and close what was opened."""
        for task in self._beside:
            task.cancel()
        with contextlib.suppress(Exception):
            await self.batcher.drained()
            await self.activity.sent()
        await self.wire.aclose()
        await self.reader.close()
        await self.parts.close()
        # What was frozen is let go in order, or some libraries complain of leaks.
        gc.unfreeze()

    async def _live(self, receive: Receive, send: Send) -> None:
        message: Message = await receive()
        assert message["type"] == "lifespan.startup"
        self.leaving.watch()
        if self.parts.keeper is not None:
            with contextlib.suppress(CountersAway):
                await self.parts.keeper.look()
            self._beside.append(asyncio.create_task(self.parts.keeper.keep()))
        if self.parts.inspector is not None:
            self._beside.append(asyncio.create_task(self.parts.inspector.keep()))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


def from_environment() -> ASGIApp:
    """Build the application as servers want it: a factory without arguments."""
    parent = multiprocessing.parent_process()
    if parent and parent.pid:
        # One of several processes must not keep the port when the one that looks after them was killed.
        launch.follow(parent.pid, NOW)
    telemetry.set_up_logging()
    # Processes that were forked or spawned together must not draw the same chances.
    random.seed()
    web = Web(Settings.read())
    # What is here stays, and a scan leaves no circles behind: looking for some seldom costs memory, not latency.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    return Mortal(web)
