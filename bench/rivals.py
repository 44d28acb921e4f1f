"""Run the contenders of `contenders` side by side, each in a process of its own, and measure one for a while."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Final

import httpx

from app.domain import limits
from app.settings import Settings
from bench import cpu, idiomatic, load
from bench.load import Load
from bench.loopback import HOST, PHONE, MadeCode, Service, free_port, make_code
from bench.targets import ENDLESS, L, placed, wait_until_drained

SERVER: Final = "server"
USERS: Final = (SERVER, "Redis", "worker", "PostgreSQL")
TARGETS: Final = idiomatic.TARGETS
_NGINX: Final = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    server {{
        listen {host}:{port};
        location / {{
            add_header Cache-Control no-store always;
            return 302 https://www.example.com/;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tell what one contender met in one stretch, and what it used until everything was in the record.

    Units: `used` in seconds of processors. Shapes: `used` by what `USERS` names; `nan` where nobody can tell.
    """

    load: Load
    used: Mapping[str, float]

    def cost(self, user: str = SERVER) -> float:
        """Tell what a thousand requests cost. Units: seconds of processors."""
        return self.used[user] * 1000 / self.load.requests


@dataclass
class Rival:
    """Hold one contender, and what was measured of it; with a code, each request must take a place in it."""

    key: str
    label: str
    process: str
    url: str
    code: MadeCode | None = None
    scans: bool = False
    status: int = 302
    stretches: list[Stretch] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Take the median of what was served a second."""
        return median(one.load.per_second for one in self.stretches)

    def cost(self, user: str = SERVER) -> float:
        """Take the median of what a thousand requests cost. Units: seconds of processors."""
        return median(one.cost(user) for one in self.stretches)


def line_up(service: Service) -> list[Rival]:
    """Start every contender and tell whom there is; those that nothing is asked of cost nothing."""
    link, group = _codes(service)
    bare = _served(service, "bare", "bench.bare:build")
    common = _served(service, "idiomatic", "bench.idiomatic:build")
    found = [
        Rival("a", "(a) bare ASGI 302", "bare", f"{bare}/bare"),
        Rival("b", "(b) idiomatic service, 302", "idiomatic", f"{common}/poster"),
        *_ours("", "serve", service.url, link, group),
        Rival("e", "(e) page and picture", "serve", f"{service.url}/{group.slug}", group, scans=True, status=200),
    ]
    if shutil.which("nginx"):
        found.append(Rival("f", "(f) nginx return 302", "nginx", f"{_nginx(service)}/bare"))
    if granian_is_there():
        fast = _served(service, "bare on granian", "bench.bare:build", HUOMA_SERVER="granian")
        found.append(Rival("a on granian", "(a) on granian", "bare on granian", f"{fast}/bare"))
        faster = _served(service, "huoma on granian", "app.main:from_environment", HUOMA_SERVER="granian")
        found += _ours(" on granian", "huoma on granian", faster, link, group)
    return _checked(found)


def ours_with_and_without_metrics(service: Service) -> list[tuple[Rival, Rival]]:
    """Start huoma once more, with metrics that count nothing; pair (c) and (d) of both, each with a code of its own."""
    url = _served(service, "without metrics", "bench.without_metrics:build")
    real = _ours("", "serve", service.url, *_codes(service))
    return list(zip(real, _ours(" without metrics", "without metrics", url, *_codes(service)), strict=True))


def granian_is_there() -> bool:
    """Tell whether there is a granian, and `huoma serve` knows it."""
    known = "server" in {knob.name for knob in fields(Settings)}
    return known and importlib.util.find_spec("granian") is not None


def measured(service: Service, rival: Rival, seconds: float) -> Stretch:
    """Put load on one contender, wait for the record, and tell what that took."""
    before = _used(service, rival)
    met = put(service, rival, seconds)
    if rival.code:
        wait_until_drained(service, rival.code)
    after = _used(service, rival)
    return Stretch(met, {user: after[user] - before[user] for user in USERS})


def put(service: Service, rival: Rival, seconds: float, *, to_the_end: bool = False) -> Load:
    """Put load on one contender, and make sure that it did its work."""
    return worked(service, rival, lambda: load.put(rival.url, seconds, scans=rival.scans, to_the_end=to_the_end))


def worked(service: Service, rival: Rival, work: Callable[[], L]) -> L:
    """Do what puts load on a contender.

    Raises: RuntimeError — nothing was answered, a request failed, or one of ours took no place.
    """
    met = placed(service, rival.code, work) if rival.code else work()
    if met.failed or not met.requests:
        raise RuntimeError(f"{rival.label}: {met.failed} of {met.requests} requests failed")
    return met


def _used(service: Service, rival: Rival) -> dict[str, float]:
    servers, children = service.servers, service.children
    pids = (children[rival.process].pid, servers.redis.pid, children["worker"].pid, servers.postgres.pid)
    return {user: cpu.used(pid) for user, pid in zip(USERS, pids, strict=True)}


def _checked(rivals: list[Rival]) -> list[Rival]:
    """Make sure that each contender answers as it should: a fast error is no contender."""
    for rival in rivals:
        met = httpx.get(rival.url, headers={"user-agent": PHONE}, trust_env=False)
        if met.status_code != rival.status or "no-store" not in met.headers.get("cache-control", ""):
            raise RuntimeError(f"{rival.label} answers {met.status_code}")
    return rivals


def _ours(suffix: str, process: str, url: str, link: MadeCode, group: MadeCode) -> list[Rival]:
    return [
        Rival(f"c{suffix}", f"(c) link code, 302{suffix}", process, f"{url}/{link.slug}", link),
        Rival(f"d{suffix}", f"(d) group page{suffix}", process, f"{url}/{group.slug}", group, status=200),
    ]


def _codes(service: Service) -> tuple[MadeCode, MadeCode]:
    """Make a link and a group code that never fill, and of which no hold ends while they are measured."""
    links = [{"url": f"https://www.example.com/{number}", "member_limit": ENDLESS} for number in range(TARGETS)]
    link = make_code(service, "link", links, kind="link")
    return link, make_code(
        service, "group", [{"member_limit": ENDLESS}] * TARGETS, hold_seconds=limits.HOLD_SECONDS_MAX
    )


def _served(service: Service, name: str, factory: str, **variables: str) -> str:
    """Start one application under the very command that serves huoma; tell where."""
    port = free_port()
    url = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "bench.serving"]
    service.launch(name, command, url, BENCH_FACTORY=factory, HUOMA_PORT=str(port), **variables)
    return url


def _nginx(service: Service) -> str:
    folder, port = Path(service.servers.data_dir) / "nginx", free_port()
    folder.mkdir()
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, host=HOST, port=port))
    url = f"http://{HOST}:{port}"
    service.launch("nginx", [str(shutil.which("nginx")), "-p", str(folder), "-c", str(file)], url)
    return url
