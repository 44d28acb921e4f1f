"""Run the real thing for tests: servers, web processes and worker as child processes, and visitors over HTTP."""

import asyncio
import atexit
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from app.embedded import EmbeddedServers

PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Mobile/15E148 MicroMessenger/8.0.59(0x18003b28) NetType/WIFI Language/zh_CN"
)
KEY = "hm_" + "k" * 40
READY_SECONDS = 60


@dataclass
class Service:
    """One running huoma: `url`, the admin's API client, and the processes to be stopped or killed."""

    servers: EmbeddedServers
    port: int
    environment: dict[str, str]
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    log: Path | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url + "/api/v1", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=30
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def start(self, name: str) -> None:
        """Start `serve` or `worker`."""
        with self.log.open("ab") if self.log else nullcontext() as log:
            self.children[name] = subprocess.Popen(
                [sys.executable, "-m", "app.cli", name], env=self.environment, stdout=log, stderr=log
            )

    def stop(self, name: str) -> int:
        """Stop a process as an operator does; answer with its exit status."""
        child = self.children.pop(name)
        child.terminate()
        return child.wait(60)

    def serve_under(self, server: str) -> None:
        """Let the web processes run under a server, whatever they run under now, and wait until they are ready."""
        if server != self.environment["HUOMA_SERVER"]:
            self.environment["HUOMA_SERVER"] = server
            if "serve" in self.children:
                self.stop("serve")
        if "serve" not in self.children:
            self.start("serve")
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            with suppress(httpx.TransportError):
                if httpx.get(self.url + "/readyz", trust_env=False).is_success:
                    return
            time.sleep(0.1)
        raise AssertionError("not ready in time")

    def wait_until_drained(self) -> None:
        """Wait until the record has everything; the worker must run."""
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            result = self.run("verify")
            if result.returncode == 0:
                return
        raise AssertionError(result.stdout + result.stderr)


@contextmanager
def running_service(folder: Path, *, workers: int = 1, log: Path | None = None, **settings: Any) -> Iterator[Service]:
    """Run private servers, `workers` web processes and a worker, until the block ends; `log` takes what they print."""
    with EmbeddedServers(fill_with_migrated_database(folder)) as servers:
        environment = {
            **_clean_environment(),
            "HUOMA_DATABASE_URL": servers.servers.database_url,
            "HUOMA_REDIS_URL": servers.servers.redis_url,
            "HUOMA_DATA_DIR": str(folder),
            "HUOMA_PORT": str(free_port()),
            "HUOMA_WORKERS": str(workers),
            "HUOMA_BOOTSTRAP_KEY": KEY,
            "HUOMA_SECRET": "a secret for tests only",
            # Nobody waits for the stop of a test.
            "HUOMA_LINGER_SECONDS": "0",
            **{f"HUOMA_{name.upper()}": str(value) for name, value in settings.items()},
        }
        service = Service(servers, int(environment["HUOMA_PORT"]), environment, log=log)
        try:
            for name in ("worker", "serve"):
                service.start(name)
            service.wait_until_ready()
            yield service
        finally:
            for child in service.children.values():
                child.terminate()
            for child in service.children.values():
                child.wait(60)


@contextmanager
def server_folder() -> Iterator[Path]:
    """Make a directory for servers to keep their data in.

    Not below pytest's own: every run of pytest shuts that to other users again, and PostgreSQL is one when we are root.
    """
    with tempfile.TemporaryDirectory(prefix="huoma-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def fill_with_migrated_database(folder: Path) -> Path:
    """Put a data directory of PostgreSQL into a folder, as `migrate` leaves it, with `KEY` for its only workspace.

    A copy takes a tenth of the time of making one.
    """
    subprocess.run(["cp", "-a", _migrated(), folder], check=True)
    return folder


@cache
def _migrated() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="huoma-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with EmbeddedServers(folder) as servers:
        environment = _clean_environment() | {
            "HUOMA_DATABASE_URL": servers.servers.database_url,
            "HUOMA_REDIS_URL": servers.servers.redis_url,
            "HUOMA_BOOTSTRAP_KEY": KEY,
        }
        subprocess.run(
            [sys.executable, "-m", "app.cli", "migrate"], env=environment, capture_output=True, timeout=120, check=True
        )
    return folder / "postgres"


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("HUOMA_")}


def web_processes(service: Service) -> list[int]:
    """Name the children of `serve` that answer requests."""
    parent = service.children["serve"].pid
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(stat[1]) == parent and "spawn_main" in (folder / "cmdline").read_text():
                found.append(int(folder.name))
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def group_payload(number: int) -> str:
    """Invent the content of a group's QR, as long as real ones are."""
    return "https://weixin.qq.com/g/" + f"AwYAAInvented{number}_".ljust(64, "x")


def make_code(service: Service, name: str, limits: list[int], **fields: Any) -> tuple[str, str]:
    """Create a group code with one target for each limit; answer with its id and slug."""
    with service.api as api:
        code = api.post("/codes", json={"name": name, "kind": "group", **fields}).raise_for_status().json()
        rows = [
            {"payload": group_payload(i), "member_limit": limit, "name": f"g{i}", "allow": ["qr_in_use"]}
            for i, limit in enumerate(limits)
        ]
        for start in range(0, len(rows), 1000):
            api.post(
                f"/codes/{code['id']}/targets/batch", json={"targets": rows[start : start + 1000]}
            ).raise_for_status()
    return code["id"], code["slug"]


@dataclass(frozen=True)
class Visited:
    """What one visitor met: the page's outcome, and the picture's, '' when there was none."""

    status: int
    outcome: str
    picture: str
    target: str


async def visit(client: httpx.AsyncClient, slug: str) -> Visited:
    """Open the page like a phone without cookies, and load its picture."""
    page = await client.get(f"/{slug}")
    outcome = page.headers["x-huoma-outcome"]
    found = re.search(r'<img[^>]+src="([^"]+)"', page.text)
    if not found:
        return Visited(page.status_code, outcome, "", "")
    picture = await client.get(found[1])
    target = found[1].rsplit("/", 1)[1].split(".")[1]
    return Visited(page.status_code, outcome, picture.headers["x-huoma-outcome"], target)


async def crowd(url: str, slug: str, visitors: int, connections: int) -> list[Visited]:
    """Send visitors without cookies to one code, so many at a time."""
    return await mixed_crowd(url, [slug] * visitors, connections)


async def mixed_crowd(url: str, slugs: Sequence[str], connections: int) -> list[Visited]:
    """Send a visitor without cookies to each of some codes, so many at a time."""
    met: list[Visited] = []
    waiting = iter(slugs)
    limits = httpx.Limits(max_connections=1)

    async def one_after_another() -> None:
        async with httpx.AsyncClient(
            base_url=url, headers={"User-Agent": PHONE}, limits=limits, trust_env=False, timeout=60, verify=False
        ) as client:
            for slug in waiting:
                client.cookies.clear()
                met.append(await visit(client, slug))

    await asyncio.gather(*(one_after_another() for _ in range(connections)))
    return met
