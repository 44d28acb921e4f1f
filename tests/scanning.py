"""Build the whole web application in this process, on real servers and a clock that tests may set; scan like phones."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from redis.asyncio import Redis

from app.counters import counts
from app.counters.wire import Wire
from app.domain.code import CodeId, TargetId, WorkspaceId
from app.domain.token import Signer
from app.parts import Parts
from app.services.batching import Batcher
from app.services.draining import Drain
from app.services.recalling import Recaller
from app.services.reconciling import Reconciler
from app.services.resting import Rester
from app.services.scanning import Scanner
from app.services.showing import Pictures
from app.services.watching import Watcher
from app.store.database import Database
from app.web.api import ApiContext, build_api
from app.web.operations import install_operations
from app.web.scan import ScanApp
from tests.running import PHONE, group_payload

PUBLIC_URL = "https://qr.example"
SECRET = b"a secret for tests only"


@dataclass
class Process:
    """Be one web process, with a memory of its own."""

    app: ScanApp
    recaller: Recaller
    batcher: Batcher
    drain: Drain
    reconciler: Reconciler
    rester: Rester

    @classmethod
    def of(cls, context: ApiContext, redis: Redis, clock: Callable[[], datetime]) -> "Process":
        database: Database = context.database
        drain = Drain(database, redis)
        recaller = Recaller(database, redis, drain, clock, slugs=1000, codes=1000)
        batcher = Batcher(Wire(redis, timeout_seconds=5), clock)
        scanner = Scanner(recaller, batcher, Signer([SECRET]), clock)
        api = build_api(context)
        install_operations(api, database, redis, Watcher(database, redis, clock))
        app = ScanApp(scanner, Pictures(database), api, PUBLIC_URL)
        reconciler = Reconciler(database, redis, drain, recaller, clock)
        return cls(app, recaller, batcher, drain, reconciler, Rester(database, redis, after_seconds=3600))

    def parts(self, database: Database, redis: Redis, clock: Callable[[], datetime]) -> Parts:
        """Be what a worker is made of, too."""
        watcher = Watcher(database, redis, clock)
        return Parts(database, redis, self.drain, self.recaller, self.reconciler, self.rester, watcher, clock)

    def phone(self, agent: str = PHONE, **headers: str) -> "Phone":
        return Phone(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(self.app),
                base_url=PUBLIC_URL,
                headers={"User-Agent": agent, **headers},
            )
        )


@dataclass
class Seen:
    """What a phone shows."""

    status: int
    outcome: str
    headers: httpx.Headers
    text: str
    image: str | None

    @property
    def target(self) -> str | None:
        return self.image and self.image.rsplit("/", 1)[1].split(".")[1]


@dataclass
class Phone:
    """Be one visitor with his cookies."""

    client: httpx.AsyncClient

    async def scan(self, slug: str) -> Seen:
        """Open the page, and load no picture."""
        answer = await self.client.get(f"/{slug}")
        found = re.search(r'<img[^>]+src="([^"]+)"', answer.text)
        outcome = answer.headers["x-huoma-outcome"]
        return Seen(answer.status_code, outcome, answer.headers, answer.text, found[1] if found else None)

    async def look(self, seen: Seen) -> httpx.Response:
        """Load the picture of a page."""
        assert seen.image
        return await self.client.get(seen.image)

    async def visit(self, slug: str) -> Seen:
        """Open the page and load its picture, as a person does."""
        seen = await self.scan(slug)
        if seen.image:
            await self.look(seen)
        return seen


@dataclass
class Made:
    """A code and its targets, as the API made them."""

    workspace: WorkspaceId
    id: str
    slug: str
    targets: list[str]

    async def places(self, redis: Redis) -> list[tuple[int, int]]:
        """Read (taken, held) of every target from the counters."""
        ids = [TargetId(target) for target in self.targets]
        found = await counts.read(redis, self.workspace, CodeId(self.id), ids)
        return [(found[t].taken, found[t].held) if t in found else (0, 0) for t in ids]


async def make(api: httpx.AsyncClient, workspace: WorkspaceId, *limits: int, **fields: Any) -> Made:
    """Make a group code with one target for each limit."""
    code = (await api.post("/codes", json={"name": "poster", "kind": "group", **fields})).raise_for_status().json()
    targets = []
    for i, limit in enumerate(limits):
        row = {"payload": group_payload(i), "member_limit": limit, "name": f"g{i}", "allow": ["qr_in_use"]}
        target = (await api.post(f"/codes/{code['id']}/targets", json=row)).raise_for_status().json()
        targets.append(target["id"])
    return Made(workspace, code["id"], code["slug"], targets)


Make = Callable[..., Awaitable[Made]]
