"""Lend connections of redis-py, and let one at a time wait for a Redis that has fallen silent.

A killed server refuses, which is quick. A silent one, stopped or behind a dead network, costs each who asks his time.
"""

import asyncio
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

# What broke sooner than after this part of the time for a reply was refused or cut, and says nothing of silence.
_OVERDUE: Final = 0.9


class Pool(BlockingConnectionPool):
    """Lend to everybody while Redis answers; when it did not in time, to one who finds out whether it is back.

    Raises: redis-py's ConnectionError — Redis is silent, and somebody asks it already.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._silent = False
        self._lent: dict[Any, float] = {}

    async def get_connection(self, *words: Any, **options: Any) -> Any:
        """Lend a connection, or say at once that there is nobody to speak to."""
        self._insist()
        return await super().get_connection(*words, **options)  # type: ignore[no-untyped-call]

    async def ensure_connection(self, connection: Any) -> None:
        """Connect, where that is needed."""
        # Again: whoever has waited for his turn may have waited for those who waited in vain.
        self._insist()
        self._lent[connection] = asyncio.get_running_loop().time()
        await super().ensure_connection(connection)

    async def release(self, connection: Any) -> None:
        """Take a connection back, and note what it has met."""
        since = self._lent.pop(connection, None)
        if connection.is_connected:
            self._silent = False
        elif since is not None:
            waited = asyncio.get_running_loop().time() - since
            self._silent = self._silent or waited >= _OVERDUE * (self.timeout or 0)
        await super().release(connection)

    def _insist(self) -> None:
        if self._silent and self._lent:
            raise RedisConnectionError("Redis is silent, and somebody asks it already.")
