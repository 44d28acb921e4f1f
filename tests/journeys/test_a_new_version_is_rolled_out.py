"""Replace and stop web processes while visitors come: not one request fails, and nobody asks twice."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.embedded.locks import until
from app.settings import Server
from tests.running import PHONE, Service, free_port, make_code, running_service, server_folder, web_processes

# Processes that start on a busy machine take their time.
PATIENCE_SECONDS = 240
pytestmark = pytest.mark.timeout(2 * PATIENCE_SECONDS)
LINGER_SECONDS = 2
VISITORS = 9
# As a phone far away, between being connected and asking.
FAR_SECONDS = 0.3


@pytest.fixture(scope="module")
def everything() -> Iterator[Service]:
    settings: dict[str, Any] = {
        "server": Server.UVICORN,
        "redis_timeout_seconds": 20,
        "linger_seconds": LINGER_SECONDS,
    }
    with server_folder() as folder, running_service(folder, workers=1, **settings) as service:
        yield service


@pytest.fixture(scope="module", params=list(Server))
def service(everything: Service, request: pytest.FixtureRequest) -> Service:
    """Run one web process under one server after the other."""
    everything.serve_under(request.param)
    return everything


@dataclass
class Crowd:
    """What visitors met: how many answers, and in what words everything else."""

    answers: int = 0
    failures: list[str] = field(default_factory=list)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, bool]:
    """Ask once on a connection; answer with the status, and whether the connection ends with it."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nUser-Agent: {PHONE}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    await reader.readexactly(length)
    return int(head.split()[1]), "connection: close" in head


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


@asynccontextmanager
async def crowd(path: str, port: Callable[[], int]) -> AsyncIterator[Crowd]:
    """Send visitors while the block lasts: some stay connected, some are far away, and none tries again."""
    met, over = Crowd(), asyncio.Event()

    async def come(*, stay: bool, far: bool) -> None:
        while not over.is_set():
            try:
                async with connected(port()) as connection:
                    leave = False
                    await asyncio.sleep(FAR_SECONDS if far else 0)
                    while not leave and not over.is_set():
                        status, told = await asyncio.wait_for(ask(*connection, path), PATIENCE_SECONDS)
                        if status != 200:
                            met.failures.append(str(status))
                        met.answers += 1
                        leave = told or not stay
                        await asyncio.sleep(0.05)
            except (OSError, EOFError, TimeoutError) as error:
                met.failures.append(repr(error))

    coming = [asyncio.create_task(come(stay=i % 3 == 0, far=i % 3 == 1)) for i in range(VISITORS)]
    try:
        yield met
    finally:
        over.set()
        await asyncio.gather(*coming)


async def some(met: Crowd) -> None:
    """Wait until more visitors were answered."""
    answered = met.answers
    async with asyncio.timeout(PATIENCE_SECONDS):
        while met.answers < answered + 3 * VISITORS:
            await asyncio.sleep(0.05)


def test_every_process_is_replaced_and_no_request_fails(service: Service) -> None:
    _, slug = make_code(service, "poster", [1_000_000])

    async def story() -> Crowd:
        before = set(web_processes(service))
        async with crowd(f"/{slug}", lambda: service.port) as met:
            await some(met)
            service.children["serve"].send_signal(signal.SIGHUP)
            await asyncio.to_thread(until, lambda: not before & set(web_processes(service)), PATIENCE_SECONDS)
            await some(met)
        assert before
        assert not before & set(web_processes(service))
        return met

    met = asyncio.run(story())
    assert met.failures == []
    assert len(web_processes(service)) == 1


def test_what_cannot_start_replaces_nothing(service: Service) -> None:
    before = set(web_processes(service))
    _, slug = make_code(service, "poster", [1_000_000])
    new: set[int] = set()

    def came() -> bool:
        new.update(set(web_processes(service)) - before)
        return bool(new)

    service.children["serve"].send_signal(signal.SIGHUP)
    assert until(came, PATIENCE_SECONDS)
    os.kill(new.pop(), signal.SIGKILL)
    assert until(lambda: set(web_processes(service)) == before, PATIENCE_SECONDS)
    with httpx.Client(base_url=service.url, headers={"User-Agent": PHONE}, trust_env=False) as visitor:
        assert visitor.get(f"/{slug}").headers["x-huoma-outcome"] == "claimed"


def test_a_process_that_stands_still_is_replaced_too(service: Service) -> None:
    service.stop("serve")
    hurried = {**service.environment, "HUOMA_SHUTDOWN_SECONDS": "1", "HUOMA_LINGER_SECONDS": "0"}
    serving = subprocess.Popen([sys.executable, "-m", "app.cli", "serve"], env=hurried)
    service.children["serve"] = serving
    before: set[int] = set()
    try:
        service.wait_until_ready()
        before |= set(web_processes(service))
        for process in before:
            os.kill(process, signal.SIGSTOP)
        serving.send_signal(signal.SIGHUP)
        assert until(lambda: not before & set(web_processes(service)), 60)
        service.wait_until_ready()
        assert service.stop("serve") == 0
    finally:
        for process in before:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        service.children.pop("serve", None)
        serving.kill()
        serving.wait()
    service.start("serve")
    service.wait_until_ready()


def test_one_of_two_services_stops_and_no_request_fails(service: Service, tmp_path: Path) -> None:
    _, slug = make_code(service, "poster", [1_000_000])
    other = free_port()
    environment = {**service.environment, "HUOMA_PORT": str(other)}
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "app.cli", "serve"]
        stopping = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    said: list[int] = []

    async def ready(client: httpx.AsyncClient, port: int) -> bool:
        try:
            answer = await client.get(f"http://127.0.0.1:{port}/readyz", headers={"Connection": "close"})
        except httpx.TransportError:
            return False
        said.append(answer.status_code)
        return answer.is_success

    async def story() -> Crowd:
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as balancer:
            while not await ready(balancer, other):
                assert stopping.poll() is None
                await asyncio.sleep(0.1)
            open_port = other
            async with crowd(f"/{slug}", lambda: open_port) as met:
                await some(met)
                said.clear()
                stopping.terminate()
                while await ready(balancer, other):
                    await asyncio.sleep(0.05)
                open_port = service.port
                await asyncio.to_thread(stopping.wait, PATIENCE_SECONDS)
                await some(met)
            return met

    try:
        met = asyncio.run(story())
    finally:
        stopping.kill()
    assert met.failures == []
    assert said[-1] == 503, "it says that it is to stop while it still answers"
    assert stopping.returncode == 0
    printed = (tmp_path / "log").read_text().splitlines()
    assert [line for line in printed if not line.startswith("{")] == [], "libraries do not complain of what is left"
