"""Break something in the middle of a crowd, and see how the web processes bear it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench import memory
from bench.loopback import MadeCode, Service
from chaos.fault import Effort, make_poster
from chaos.visitors import Met, during, send

# Of the time in which people come: enough before it that every process knows the code and some have their place.
_CALM: Final = 0.2
# What a process has not met it cannot tell without its servers.
_WARM: Final = 40
_LOOK_SECONDS: Final = 0.25
_TAIL_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Borne:
    """Hold what visitors of a code met, and what it did to the memory of the web processes. Units: bytes."""

    code: MadeCode
    met: Met
    memory_before: int
    memory_peak: int

    @property
    def noted(self) -> str:
        """Say how much was waiting at once, and what that cost."""
        grown = (self.memory_peak - self.memory_before) / 2**20
        return f"At most {self.met.in_flight} requests at once; web processes grew by {max(0.0, grown):.0f} MB."


def calm_again(met: Met) -> bool:
    """Tell whether the fault has been over for a moment."""
    return bool(met.faults) and time.monotonic() > met.faults[-1][1] + _TAIL_SECONDS


async def under_load(service: Service, effort: Effort, breaking: Callable[[MadeCode], object]) -> Borne:
    """Send a crowd to a new code, break something among them, and return when the last has gone home.

    `breaking` runs outside of the loop and returns when the fault is over.
    """
    code = await asyncio.to_thread(make_poster, service, effort.people)
    met, web, grown = Met(), service.children["serve"].pid, [0]

    async def watch() -> None:
        while True:
            grown.append(await asyncio.to_thread(memory.used, web))
            await asyncio.sleep(_LOOK_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(send(service.url, code.slug, effort.crowd, met, going_on=lambda: not calm_again(met)))
            await asyncio.sleep(effort.crowd.seconds * _CALM)
            while sum(answer.given for answer in met.answers) < _WARM:
                await asyncio.sleep(_LOOK_SECONDS)
            before = max(grown)
            await during(met, lambda: breaking(code))
    finally:
        watching.cancel()
    return Borne(code, met, before, max(grown))
