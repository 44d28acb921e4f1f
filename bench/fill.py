"""Let a crowd scan one poster at once, again and again: three groups must fill, and not one place more be given."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.load import PICTURE, PNG
from bench.loopback import HOST, PHONE, Service, make_code, running_service
from bench.report import Section, machine, table
from bench.targets import Effort
from bench.wire import Connection, connected

WORKERS: Final = 4
GROUPS: Final = (200, 200, 200)
VISITORS: Final = 1_000
CONNECTIONS: Final = 100
EXPECTED: Final = (*GROUPS, VISITORS - sum(GROUPS))


@dataclass(frozen=True, slots=True)
class Run:
    """Count what one crowd has met.

    Shapes: `given` by group, in the order in which they fill, pictures seen; `others` by what was met instead.
    """

    given: tuple[int, ...]
    full: int
    others: Counter[str]
    seconds: float

    @property
    def exact(self) -> bool:
        """Tell whether every place was given once, and everybody else was told that all is full."""
        return (*self.given, self.full) == EXPECTED and not self.others


def measure(effort: Effort, say: Callable[[str], None]) -> Section:
    """Fill a new code in every run, with everybody behind four web processes."""
    with running_service(workers=WORKERS) as service:
        runs = []
        for number in range(effort.runs):
            runs.append(_fill(service, number))
            say(f"run {number + 1}: {_told(runs[-1])}")
        where = asyncio.run(machine(service))
    broken = [f"run {number}: {_told(run)}" for number, run in enumerate(runs, 1) if not run.exact]
    return Section("fill", where, _text(runs), broken)


def _fill(service: Service, number: int) -> Run:
    code = make_code(service, f"poster {number}", [{"member_limit": limit} for limit in GROUPS])
    with service.api as api:
        items = api.get(f"/codes/{code.id}/targets").raise_for_status().json()["items"]
    began = time.perf_counter()
    met = asyncio.run(_crowd(service, code.slug))
    seconds = time.perf_counter() - began
    given = tuple(met.pop(target["id"], 0) for target in items)
    return Run(given, met.pop("full", 0), met, seconds)


async def _crowd(service: Service, slug: str) -> Counter[str]:
    """Send visitors, so many at a time; count each by the target whose QR he saw, or by what he met instead."""
    met: Counter[str] = Counter()
    coming = iter(range(VISITORS))

    async def one_after_another() -> None:
        async with connected(HOST, service.settings.port, PHONE) as connection:
            for _ in coming:
                met[await _visit(connection, slug)] += 1

    await asyncio.gather(*(one_after_another() for _ in range(CONNECTIONS)))
    return met


async def _visit(connection: Connection, slug: str) -> str:
    page = await connection.get(f"/{slug}")
    found = PICTURE.search(page.body)
    if found is None:
        return page.outcome if (page.outcome, page.status) == ("full", 503) else f"page {page.status} {page.outcome}"
    path = found[1].decode()
    picture = await connection.get(path)
    if (page.outcome, picture.outcome, picture.body[:4]) != ("claimed", "claimed", PNG):
        return f"page {page.outcome}, picture {picture.status} {picture.outcome}"
    # What was shown in the end, which the picture's own token names: seat number, then target.
    return picture.headers["x-huoma-seat"].split(".")[1]


def _told(run: Run) -> str:
    others = "".join(f", {count} {what}" for what, count in run.others.items())
    return "/".join(map(str, (*run.given, run.full))) + f" (groups/full){others}, {run.seconds:.2f} s"


def _text(runs: Sequence[Run]) -> str:
    columns = ["run", *(f"group {number}" for number in range(1, len(GROUPS) + 1)), "full", "anything else", "seconds"]
    rows = [
        [number, *run.given, run.full, sum(run.others.values()), f"{run.seconds:.2f}"]
        for number, run in enumerate(runs, 1)
    ]
    exact = sum(run.exact for run in runs)
    return f"""\
{VISITORS:,} visitors without cookies over {CONNECTIONS} connections, each loading page and picture;
{len(GROUPS)} groups of {GROUPS[0]}, {WORKERS} web processes.
{exact} of {len(runs)} runs were exactly {"/".join(map(str, EXPECTED))}.

{table(columns, rows)}
"""
