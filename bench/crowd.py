"""Be one web process that a crowd storms, without HTTP: a program of its own, since one process uses one core.

`python -m bench.crowd SLUG VISITORS AT_ONCE ONE_IN` says that it is ready, waits for a line, and says as JSON what its
visitors met. Every visitor is new and gets a signed place; one in so many also sees the picture.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from app.domain.code import Slug
from app.domain.outcome import Given, Visit
from app.services.scanning import Scanner
from app.settings import Settings
from bench.claiming import BROWSER, fresh_scanner, run

READY: Final = "ready"
COMMAND: Final = (sys.executable, "-m", "bench.crowd")


@dataclass(frozen=True, slots=True)
class Met:
    """Count what the visitors of one process have met.

    Shapes: `others` by the name of what was met instead of a place, or instead of a picture. Units: `began` and `ended`
    are seconds of the machine's monotonic clock, `cpu_seconds` those in between.
    """

    given: int
    seen: int
    others: dict[str, int]
    began: float
    ended: float
    cpu_seconds: float


async def storm(
    settings: Settings, slug: str, visitors: int, at_once: int, one_in: int, go: Callable[[], object]
) -> Met:
    """Let visitors come when `go` returns, so many at once."""
    async with fresh_scanner(settings) as scanner:
        # This makes the code known, and takes no place.
        await scanner.fallback(Slug(slug))
        go()
        began, cpu = time.monotonic(), time.process_time()
        given, seen, others = await _scan(scanner, slug, visitors, at_once, one_in)
        return Met(given, seen, dict(others), began, time.monotonic(), time.process_time() - cpu)


async def _scan(scanner: Scanner, slug: str, visitors: int, at_once: int, one_in: int) -> tuple[int, int, Counter[str]]:
    visit = Visit(Slug(slug), BROWSER, preview=False, tokens={})
    coming = iter(range(visitors))
    others: Counter[str] = Counter()
    given = seen = 0

    async def one_after_another() -> None:
        nonlocal given, seen
        for number in coming:
            outcome = await scanner.scan(visit)
            if not isinstance(outcome, Given) or outcome.returned:
                others[type(outcome).__name__] += 1
                continue
            given += 1
            token = scanner.tokens(outcome)[outcome.code.id]
            if number % one_in == 0:
                picture = await scanner.see(visit, token)
                if isinstance(picture, Given) and not picture.returned:
                    seen += 1
                else:
                    others[f"{type(picture).__name__} for a picture"] += 1

    await asyncio.gather(*(one_after_another() for _ in range(at_once)))
    return given, seen, others


def _ready() -> None:
    print(READY, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    slug, *numbers = sys.argv[1:]
    visitors, at_once, one_in = map(int, numbers)
    print(json.dumps(asdict(run(storm(Settings.read(), slug, visitors, at_once, one_in, _ready)))), flush=True)
