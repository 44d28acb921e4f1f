"""Drive a real Chromium through its debugging pipe: exact phone viewports, one fresh visitor per page."""

import asyncio
import base64
import io
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import pytest
import uvicorn
from PIL import Image
from starlette.types import ASGIApp

WECHAT_IOS: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Mobile/15E148 MicroMessenger/8.0.59(0x18003b28) NetType/WIFI Language/zh_CN"
)
SMALL_PHONE: Final = (320, 568)
LARGE_PHONE: Final = (412, 915)

Size = tuple[int, int]
Serve = Callable[[ASGIApp], Awaitable[str]]

_FLAGS: Final = (
    *("--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
# Chromium wants its pipe at the file descriptors 3 and 4 exactly; this moves ours there and becomes Chromium.
_MOVE_PIPE: Final = (
    "import fcntl, os, sys; a, b = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]); "
    "os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_PATIENCE_SECONDS: Final = 30


class Page:
    """Be one visitor: own cookies, own screen, own user agent.

    Shapes: `complaints` are console errors, policy violations and exceptions; `requests` are URLs; both in order.
    """

    def __init__(self, chromium: "Chromium", session: str) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._chromium = chromium
        self._session = session
        self._loads: asyncio.Queue[None] = asyncio.Queue()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command of the debugging protocol to this page."""
        return await self._chromium.call(method, self._session, **params)

    async def go(self, url: str) -> Self:
        """Open a URL and wait until it has loaded, pictures too."""
        answer = await self.call("Page.navigate", url=url)
        assert not answer.get("errorText"), answer
        return await self.loaded()

    async def loaded(self) -> Self:
        """Wait for the next load, such as one that the page begins by itself."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await self._loads.get()
        return self

    async def screenshot(self) -> Image.Image:
        """Take what is on the screen, in device pixels."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return Image.open(io.BytesIO(base64.b64decode(answer["data"])))

    async def dom(self) -> str:
        """Write the document out as it stands."""
        return str(await self.evaluate("document.documentElement.outerHTML"))

    async def evaluate(self, expression: str) -> Any:
        """Run JavaScript as the debugger, whatever the page's policy says, and return its value."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def hear(self, method: str, params: dict[str, Any]) -> None:
        """Take note of an event of the debugging protocol."""
        match method:
            case "Page.loadEventFired":
                self._loads.put_nowait(None)
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Log.entryAdded" if params["entry"]["level"] in {"warning", "error"}:
                self.complaints.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(params["exceptionDetails"]["text"])
            case "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(params["args"]))
            case _:
                pass


class Chromium:
    """Be one running browser, shared by all tests; every page of it is another visitor."""

    def __init__(self, commands: asyncio.StreamWriter, answers: asyncio.StreamReader) -> None:
        self._commands = commands
        self._answers = answers
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._count = 0

    async def screenshot(self, url: str, size: Size = LARGE_PHONE, user_agent: str = WECHAT_IOS) -> Image.Image:
        """Open a URL as a new visitor and take what is on the screen."""
        async with self.page(size, user_agent) as page:
            return await (await page.go(url)).screenshot()

    async def dom(self, url: str, user_agent: str = WECHAT_IOS) -> str:
        """Open a URL as a new visitor and write the document out."""
        async with self.page(user_agent=user_agent) as page:
            return await (await page.go(url)).dom()

    @asynccontextmanager
    async def page(
        self,
        size: Size = LARGE_PHONE,
        user_agent: str = WECHAT_IOS,
        *,
        dark: bool = False,
        language: str = "zh-CN",
        scale: float = 2,
        scripts: bool = True,
    ) -> AsyncIterator[Page]:
        """Open an empty page as a new visitor.

        Units: `size` in CSS pixels, the viewport exactly; `scale` in device pixels for each.
        """
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        session = (await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True))["sessionId"]
        page = self._pages[session] = Page(self, session)
        try:
            for domain in ("Page", "Network", "Log", "Runtime"):
                await page.call(f"{domain}.enable")
            await page.call(
                "Emulation.setDeviceMetricsOverride",
                width=size[0],
                height=size[1],
                deviceScaleFactor=scale,
                mobile="Mobile" in user_agent,
            )
            await page.call("Emulation.setUserAgentOverride", userAgent=user_agent, acceptLanguage=language)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            await page.call("Emulation.setEmulatedMedia", features=[scheme])
            await page.call("Emulation.setScriptExecutionDisabled", value=not scripts)
            yield page
        finally:
            await self.call("Target.disposeBrowserContext", browserContextId=context)
            del self._pages[session]

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send one command of the debugging protocol and wait for its result."""
        self._count += 1
        command: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if session is not None:
            command["sessionId"] = session
        answer = self._waiting[self._count] = asyncio.get_running_loop().create_future()
        self._commands.write(json.dumps(command).encode() + b"\0")
        async with asyncio.timeout(_PATIENCE_SECONDS):
            message = await answer
        assert "error" not in message, (method, message["error"])
        result: dict[str, Any] = message["result"]
        return result

    async def listen(self) -> None:
        """Hand out what Chromium says, until it is gone."""
        with suppress(asyncio.IncompleteReadError):
            while True:
                message = json.loads((await self._answers.readuntil(b"\0"))[:-1])
                if "id" in message:
                    self._waiting.pop(message["id"]).set_result(message)
                elif page := self._pages.get(message.get("sessionId", "")):
                    page.hear(message["method"], message["params"])
        for answer in self._waiting.values():
            answer.set_exception(ConnectionError("Chromium is gone."))


@asynccontextmanager
async def _start(path: str, profile: Path) -> AsyncIterator[Chromium]:
    """Run Chromium on a fresh profile, and end it."""
    loop = asyncio.get_running_loop()
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _MOVE_PIPE, str(theirs_in), str(theirs_out)),
        *(path, *_FLAGS, f"--user-data-dir={profile}"),
        pass_fds=(theirs_in, theirs_out),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    # A screenshot is one message of a megabyte or more.
    answers = asyncio.StreamReader(limit=2**26)
    reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(answers), os.fdopen(ours_in, "rb"))
    writing, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(ours_out, "wb"))
    chromium = Chromium(asyncio.StreamWriter(writing, protocol, None, loop), answers)
    listening = asyncio.create_task(chromium.listen())
    try:
        yield chromium
    finally:
        await chromium.call("Browser.close")
        await process.wait()
        await listening
        writing.close()
        reading.close()


@pytest.fixture(scope="session")
async def chromium(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chromium]:
    """Run a real Chromium for all tests; without one they are skipped here, and fail where `CI` is set."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        reason = "No Chromium on PATH (apt-get install chromium)."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    async with _start(path, tmp_path_factory.mktemp("chromium")) as running:
        yield running


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Any:
        """Leave Ctrl-C to pytest."""
        yield


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve ASGI applications on free loopback ports; each call returns the origin of one."""
    async with AsyncExitStack() as running:

        async def start(app: ASGIApp) -> str:
            listener = running.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            server = _Server(uvicorn.Config(app, lifespan="off", log_level="error"))
            task = asyncio.create_task(server.serve(sockets=[listener]))

            async def stop() -> None:
                # Chromium keeps connections open for later; nobody waits for them here.
                server.force_exit = server.should_exit = True
                await task

            running.push_async_callback(stop)
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        yield start
