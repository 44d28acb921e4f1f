"""Make codes of every kind through the API, and read what the counters told about them."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from app.counters import stream
from app.domain.code import CodeId, WorkspaceId
from app.domain.event import Event
from app.domain.workspace import Workspace
from tests.web.api.steps import done, make_code, make_target

MakeLink = Callable[..., Awaitable[dict[str, Any]]]


@dataclass
class Told:
    """Read the stream of a workspace."""

    redis: Redis
    workspace: WorkspaceId

    async def events(self, code: dict[str, Any] | None = None) -> list[Event]:
        read = await stream.read_after(self.redis, self.workspace, "", stream.START, 100_000)
        told = [event for entry in read.entries for event in stream.unpack(entry)]
        return [one for one in told if code is None or one.code == CodeId(code["id"])]

    async def kinds(self, code: dict[str, Any] | None = None) -> Counter[str]:
        """Count events by kind and detail: `fallback off_shift`."""
        return Counter(f"{one.kind.name.lower()} {one.detail}".strip() for one in await self.events(code))


@pytest.fixture
def told(redis: Redis, workspace: Workspace) -> Told:
    return Told(redis, workspace.id)


async def _link(api: httpx.AsyncClient, *urls: str | dict[str, Any], **fields: Any) -> dict[str, Any]:
    code = await make_code(api, kind="link", **fields)
    for url in urls:
        row = {"url": url} if isinstance(url, str) else url
        done(await api.post(f"/codes/{code['id']}/targets", json=row), 201)
    return code


@pytest.fixture
def link(api: httpx.AsyncClient) -> MakeLink:
    """Make a link code: `await link("https://a.example", {"url": …, "weight": 3})`."""
    return partial(_link, api)


async def group(api: httpx.AsyncClient, *limits: int, **fields: Any) -> dict[str, Any]:
    """Make a group code with a target for each limit."""
    code = await make_code(api, **fields)
    code["targets"] = [await make_target(api, code, member_limit=limit, name=f"g{i}") for i, limit in enumerate(limits)]
    return code
