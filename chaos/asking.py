"""Ask the API again and again while something breaks: how long an answer takes, and whether it is one of ours."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import httpx

from bench.loopback import KEY, Service

ANSWER_SECONDS: Final = 60.0


class Reply(NamedTuple):
    """Tell one answer. Shapes: `status` is 0 when none came; `code` is a problem's. Units: seconds, as in `Answer`."""

    at: float
    took: float
    status: int
    code: str

    @property
    def proper(self) -> bool:
        """Tell whether it is what was asked for, or a problem that says what is away, or that others are first."""
        return self.status == 200 or (
            self.status == 503 and self.code in {"store_away", "counters_away", "too_many_reads"}
        )


@dataclass
class Asking:
    """Remember what the API answered."""

    replies: list[Reply] = field(default_factory=list)

    def during(self, faults: Sequence[tuple[float, float]]) -> list[Reply]:
        """Name what was asked while a fault was there."""
        return [one for one in self.replies if any(began <= one.at < ended for began, ended in faults)]

    @property
    def improper(self) -> list[str]:
        """Name answers that no caller should get."""
        found = [one for one in self.replies if not one.proper]
        return [f"{len(found)} answers of the API are no proper ones, such as {found[0]}"] if found else []


def wait_of(replies: Sequence[Reply], part: float) -> float:
    """Tell how long the slower ones of some answers took, at the least: 0.99 for one in a hundred."""
    took = sorted(one.took for one in replies)
    return took[min(len(took) - 1, int(len(took) * part))] if took else 0.0


def told(replies: Sequence[Reply]) -> str:
    """Count answers by what they said."""
    counted = Counter(f"{one.status} {one.code}".strip() for one in replies)
    return ", ".join(f"{n} {what}" for what, n in sorted(counted.items())) or "nothing"


@asynccontextmanager
async def asking(service: Service, path: str, per_second: float) -> AsyncIterator[Asking]:
    """Ask for a path of the API on a schedule, however long answers take, until the block ends."""
    asked = Asking()
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        httpx.AsyncClient(
            base_url=service.url + "/api/v1", headers=headers, trust_env=False, timeout=ANSWER_SECONDS, verify=False
        ) as client,
        asyncio.TaskGroup() as group,
    ):
        going = group.create_task(_go_on(group, client, path, per_second, asked))
        try:
            yield asked
        finally:
            going.cancel()


async def _go_on(
    group: asyncio.TaskGroup, client: httpx.AsyncClient, path: str, per_second: float, asked: Asking
) -> None:
    while True:
        group.create_task(_ask(client, path, asked))
        await asyncio.sleep(1 / per_second)


async def _ask(client: httpx.AsyncClient, path: str, asked: Asking) -> None:
    at = time.monotonic()
    try:
        answer = await client.get(path)
    except httpx.HTTPError as error:
        asked.replies.append(Reply(at, time.monotonic() - at, 0, type(error).__name__))
        return
    problem = answer.headers["content-type"].startswith("application/problem+json")
    asked.replies.append(Reply(at, time.monotonic() - at, answer.status_code, answer.json()["code"] if problem else ""))
