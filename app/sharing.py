"""Share out what there is little of, such as connections and decoders, so that no workspace keeps it from another.

The law: what one owner may hold at once is less than all, and the owner who was served longest ago comes first.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

# Owners whose last turn is remembered while they do not wait.
_REMEMBERED: Final = 1_000


class Shares:
    """Give turns to owners: `total` at once, `each` of them to one owner; so many of one owner and of all may wait.

    One instance serves one event loop. Raises: what `refusal` makes — too many wait, or it took longer than `seconds`.
    """

    def __init__(
        self,
        total: int,
        each: int,
        refusal: Callable[[], Exception],
        *,
        waiting_each: int,
        waiting_all: int,
        seconds: float | None = None,
    ) -> None:
        self._free = total
        self._each = each
        self._refusal = refusal
        self._waiting_each = waiting_each
        self._waiting_all = waiting_all
        self._seconds = seconds
        self._held: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._served: dict[str, int] = {}
        self._numbers = count(1)

    @property
    def waiting(self) -> int:
        """Count those who wait, of all owners."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        """Hold one of the turns within the block."""
        await self._take(owner)
        try:
            yield
        finally:
            self._give_back(owner)

    async def _take(self, owner: str) -> None:
        # An owner that waits although a turn is free has all of its share, so no other owner is overtaken.
        if self._free and self._may(owner) and owner not in self._waiting:
            self._hold(owner)
            return
        line = self._waiting.setdefault(owner, deque())
        if len(line) >= self._waiting_each or self.waiting >= self._waiting_all:
            if not line:
                del self._waiting[owner]
            raise self._refusal()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            async with asyncio.timeout(self._seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # It was given in this very moment.
                self._give_back(owner)
            else:
                self._leave(owner, turn)
            if isinstance(error, TimeoutError):
                raise self._refusal() from error
            raise

    def _may(self, owner: str) -> bool:
        return self._held.get(owner, 0) < self._each

    def _hold(self, owner: str) -> None:
        self._free -= 1
        self._held[owner] = self._held.get(owner, 0) + 1
        self._served[owner] = next(self._numbers)
        if len(self._served) > _REMEMBERED:
            del self._served[min(self._served, key=self._served.__getitem__)]

    def _leave(self, owner: str, turn: "asyncio.Future[None]") -> None:
        line = self._waiting.get(owner)
        if line and turn in line:
            line.remove(turn)
            if not line:
                del self._waiting[owner]

    def _give_back(self, owner: str) -> None:
        self._free += 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        while self._free:
            able = [one for one in self._waiting if self._may(one)]
            if not able:
                return
            following = min(able, key=lambda one: self._served.get(one, 0))
            turn = self._waiting[following][0]
            self._leave(following, turn)
            # One that was cancelled has not left yet.
            if not turn.done():
                self._hold(following)
                turn.set_result(None)
