"""Run the whole service for a measurement: private servers, web processes and a worker, all on this machine."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from app.embedded import EmbeddedServers, launch
from app.settings import Settings

ROOT: Final = Path(__file__).parent.parent
HOST: Final = "127.0.0.1"
KEY: Final = "hm_" + "b" * 40
# WeChat 8.0.59 on iOS 18.3.1: takes places, wherever a code asks for WeChat or not.
PHONE: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Mobile/15E148 MicroMessenger/8.0.59(0x18003b28) NetType/WIFI Language/zh_CN"
)
READY_SECONDS: Final = 180.0
STOP_SECONDS: Final = 60.0
# Each batch makes a web process read the whole code anew, which takes its time when there are 50,000 targets.
API_SECONDS: Final = 120.0
BATCH_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True)
class MadeCode:
    """Name a code that was made for a measurement, and its workspace."""

    workspace: str
    id: str
    slug: str


@dataclass
class Service:
    """Hold one running huoma and its child processes, by name: `serve` and `worker`."""

    servers: EmbeddedServers
    environment: dict[str, str]
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """Read the settings as the children do."""
        return Settings.read(self.environment)

    @property
    def url(self) -> str:
        """Name where it listens."""
        return self.settings.url

    @property
    def api(self) -> httpx.Client:
        """Be the admin of the first workspace."""
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.Client(base_url=self.url + "/api/v1", headers=headers, trust_env=False, timeout=API_SECONDS)

    def run(self, *arguments: str) -> None:
        """Run one command of huoma to its end."""
        subprocess.run([sys.executable, "-m", "app.cli", *arguments], env=self.environment, cwd=ROOT, check=True)

    def start(self, name: str, **variables: str) -> None:
        """Start `serve` or `worker`, with more in its environment; `serve` answers when this returns."""
        url = self.url if name == "serve" else None
        self.launch(name, [sys.executable, "-m", "app.cli", name], url, **variables)

    def launch(self, name: str, command: Sequence[str], url: str | None = None, **variables: str) -> None:
        """Start any program, with more in its environment; if it has a URL, it answers there when this returns."""
        # It must not outlive us, however we end.
        launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(int(signal.SIGTERM)), ""]
        self.children[name] = subprocess.Popen([*launcher, *command], env=self.environment | variables, cwd=ROOT)
        if url:
            self._wait_until_ready(name, url)

    def stop(self, name: str) -> None:
        """Stop a process as an operator does; kill it when that takes too long."""
        child = self.children.pop(name)
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def stop_all(self) -> None:
        """Stop what was started, the last first."""
        for name in reversed(list(self.children)):
            self.stop(name)

    def _wait_until_ready(self, name: str, url: str) -> None:
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.children[name].poll() is None:
            with suppress(httpx.TransportError):
                if not httpx.get(url + "/readyz", trust_env=False).is_error:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"{name} is not ready")


@contextmanager
def running_service(*, workers: int = 1, **settings: object) -> Iterator[Service]:
    """Run private servers on an empty directory, `workers` web processes and one worker, until the block ends.

    Shapes: `settings` by the names they have in `app.settings`.
    """
    with ExitStack() as started:
        folder = started.enter_context(tempfile.TemporaryDirectory(prefix="huoma-bench-", ignore_cleanup_errors=True))
        servers = started.enter_context(EmbeddedServers(Path(folder)))
        said = {f"HUOMA_{name.upper()}": str(value) for name, value in settings.items()}
        service = Service(servers, _environment(servers, workers) | said)
        service.run("migrate")
        started.callback(service.stop_all)
        service.start("worker")
        service.start("serve")
        yield service


def _environment(servers: EmbeddedServers, workers: int) -> dict[str, str]:
    # Settings of whoever measures would make two machines incomparable.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HUOMA_")}
    return inherited | {
        "HUOMA_DATABASE_URL": servers.servers.database_url,
        "HUOMA_REDIS_URL": servers.servers.redis_url,
        "HUOMA_DATA_DIR": str(servers.data_dir),
        "HUOMA_HOST": HOST,
        "HUOMA_PORT": str(free_port()),
        "HUOMA_WORKERS": str(workers),
        "HUOMA_BOOTSTRAP_KEY": KEY,
        "HUOMA_SECRET": "a secret for measuring only",
    }


def make_code(service: Service, name: str, targets: Sequence[Mapping[str, Any]], **fields: Any) -> MadeCode:
    """Make a code with these targets through the API, in batches; of groups, unless `fields` say otherwise."""
    with service.api as api:
        workspace = api.get("/workspace").raise_for_status().json()["id"]
        code = api.post("/codes", json={"name": name, "kind": "group", **fields}).raise_for_status().json()
        for start in range(0, len(targets), BATCH_ROWS):
            rows = [
                one if "url" in one else {"payload": _group_payload(number), "allow": ["qr_in_use"], **one}
                for number, one in enumerate(targets[start : start + BATCH_ROWS], start)
            ]
            api.post(f"/codes/{code['id']}/targets/batch", json={"targets": rows}).raise_for_status()
    return MadeCode(workspace, code["id"], code["slug"])


def _group_payload(number: int) -> str:
    """Invent the content of a group's QR, as long as real ones are."""
    return "https://weixin.qq.com/g/" + f"AwYAAInvented{number}_".ljust(64, "x")


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
