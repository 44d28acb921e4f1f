"""Speak to a Redis Cluster: learn which master serves which slot, and follow when slots or masters move.

Law: only what a node says it has not run (MOVED, ASK, TRYAGAIN) is sent again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.counters.address import Host
from app.counters.node import Node

T = TypeVar("T")
Command = tuple[tuple[Any, ...], Mapping[str, Any]]
# Commands without a key; every master is sent them.
_KEYLESS: Final = frozenset(("PING", "INFO", "SCRIPT", "CONFIG", "FLUSHALL", "DBSIZE", "ACL"))
# Which argument is the first key, where it is not the one behind the command.
_KEY_AT: Final = {"EVAL": 3, "EVALSHA": 3, "OBJECT": 2}
# A slot that moves has some of its keys here and some there, for as long as that takes.
_AGAIN_SECONDS: Final = 0.02
# A node that fails is asked about by everybody who needs it: so often is enough.
_LEARN_SECONDS: Final = 0.1
# How a cursor of `SCAN` says which master it is one of.
_MASTERS_MAX: Final = 1024


class Cluster(Redis):
    """Be one Redis that is many: a command goes to the master that serves its key.

    Commands without a key go to every master, and the first reply is told; `SCAN` walks over one master after another.
    What is asked in a transaction must be of one slot. `WAIT` and retries are those of each `Node`.
    Raises: as redis-py; a server that is away is so for its slots alone.
    """

    def __init__(self, seeds: Sequence[Host], dial: Callable[[Host], Node], *, timeout_seconds: float) -> None:
        self._dial = dial
        self._timeout = timeout_seconds
        self._nodes: dict[Host, Node] = {}
        self._known: tuple[Host, ...] = tuple(seeds)
        self._slots: list[Host | None] = []
        self._learning: asyncio.Task[None] | None = None
        self._learned_at = 0.0
        super().__init__(connection_pool=self.node(seeds[0]).connection_pool)

    def node(self, host: Host) -> Node:
        """Name one server; it is connected to when first asked."""
        node = self._nodes.get(host)
        if node is None:
            node = self._nodes[host] = self._dial(host)
        return node

    async def masters(self) -> list[Host]:
        """Name the masters, in a lasting order."""
        await self._learned()
        return sorted({host for host in self._slots if host})

    async def follow(self, key: str, send: Callable[[Host, bool], Awaitable[T]]) -> T:
        """Send something to the master that serves a key, and to whoever that says it has given the key to.

        Shapes: `send` is told the server, and whether to say `ASKING` first.
        Raises: as `send`; TryAgainError, MovedError, AskError when the cluster has not made up its mind in time.
        """
        slot = key_slot(key.encode())
        host, asking = await self.serving(slot), False
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout
        while True:
            try:
                return await send(host, asking)
            except AskError as error:
                if loop.time() > until:
                    raise
                # A node that does not know its own address leaves it out, and means itself.
                host, asking = (error.host or host[0], error.port), not isinstance(error, MovedError)
                if not asking:
                    self._slots[slot] = host
                    self._relearn()
            except TryAgainError:
                if loop.time() > until:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)
                host, asking = await self.serving(slot), False
            except (RedisConnectionError, RedisTimeoutError, ClusterDownError, ReadOnlyError, OSError):
                self._relearn(but=host)
                raise

    async def serving(self, slot: int) -> Host:
        """Name the master of a slot. Raises: ClusterDownError — nobody serves it; RedisError — nobody can be asked."""
        await self._learned()
        host = self._slots[slot]
        if host is None:
            self._relearn()
            raise ClusterDownError(f"Nobody serves slot {slot}.")
        return host

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command where its key is."""
        name = str(args[0]).split()[0]
        if name == "SCAN":
            return await self._scan(*args, **options)
        if name in _KEYLESS:
            replies = [self.node(host).execute_command(*args, **options) for host in await self.masters()]
            return (await asyncio.gather(*replies))[0]
        return await self.follow(
            _key((args, options)),
            lambda host, asking: self.node(host).execute_command(*args, asking=asking, **options),
        )

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:  # noqa: FBT001, FBT002
        """Collect commands; without a transaction they may be of any slots."""
        return _Pipeline(self, transaction, shard_hint)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001
        """Close every connection to every server."""
        if self._learning is not None:
            self._learning.cancel()
        for node in self._nodes.values():
            await node.aclose(close_connection_pool)

    async def each(self, host: Host, commands: Sequence[Command]) -> list[Any]:
        """Send commands to one master together; errors are told in their places.

        What has moved meanwhile is sent where it is now.
        """
        async with self.node(host).pipeline(transaction=False) as pipe:
            for args, options in commands:
                pipe.execute_command(*args, **options)
            try:
                replies = await pipe.execute(raise_on_error=False)
            except (RedisConnectionError, RedisTimeoutError, OSError) as error:
                self._relearn(but=host)
                return [error] * len(commands)
        for i, (args, options) in enumerate(commands):
            if isinstance(replies[i], AskError | TryAgainError):
                try:
                    replies[i] = await self.execute_command(*args, **options)
                except RedisError as error:
                    replies[i] = error
        return replies

    async def _scan(self, name: str, cursor: Any, *args: Any, **options: Any) -> tuple[int, list[str]]:
        masters = await self.masters()
        inner, which = divmod(int(cursor), _MASTERS_MAX)
        # There may be fewer masters than when the walk began.
        if which >= len(masters):
            return 0, []
        inner, found = await self.node(masters[which]).execute_command(name, inner, *args, **options)
        if inner == 0:
            which += 1
        return (0 if which == len(masters) else int(inner) * _MASTERS_MAX + which), found

    async def beyond(self, cursor: int) -> int:
        """Return where `SCAN` goes on behind the master that a cursor stands at; 0 behind the last."""
        which = cursor % _MASTERS_MAX + 1
        return which if which < len(await self.masters()) else 0

    async def _learned(self) -> None:
        if not self._slots:
            await asyncio.shield(self._learn())

    def _relearn(self, but: Host | None = None) -> None:
        """Learn anew in the background, unless that was done a moment ago."""
        if asyncio.get_running_loop().time() >= self._learned_at + _LEARN_SECONDS:
            self._learn(but)

    def _learn(self, but: Host | None = None) -> "asyncio.Task[None]":
        if self._learning is None:
            self._learning = asyncio.create_task(self._ask_around(but))
            self._learning.add_done_callback(self._learnt)
        return self._learning

    def _learnt(self, learning: "asyncio.Task[None]") -> None:
        self._learning, self._learned_at = None, asyncio.get_running_loop().time()
        # Whoever waits is told; in the background the next failure asks again.
        _ = learning.cancelled() or learning.exception()

    async def _ask_around(self, but: Host | None) -> None:
        """Ask all nodes at once who serves what, and believe the first that answers: one that is dead delays nobody."""
        asked = [asyncio.create_task(self._told(host)) for host in self._known if host != but or len(self._known) == 1]
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    self._take(*await answer)
                except (RedisError, OSError):
                    continue
                return
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        raise RedisConnectionError("No node of the cluster says who serves what.")

    async def _told(self, host: Host) -> tuple[Host, Any]:
        return host, await self.node(host).execute_command("CLUSTER", "SLOTS")

    def _take(self, teller: Host, ranges: Any) -> None:
        slots: list[Host | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        known: dict[Host, None] = {}
        for first, last, *servers in ranges:
            hosts = [(str(address or teller[0]), int(port)) for address, port, *_ in servers]
            slots[first : last + 1] = [hosts[0]] * (last + 1 - first)
            known |= dict.fromkeys(hosts)
        if not known:
            raise RedisConnectionError(f"{teller[0]}:{teller[1]} knows no cluster.")
        self._slots = slots
        # The seeds stay, should all others move away while nobody looks.
        self._known = tuple(dict.fromkeys((*known, *self._known)))[:_MASTERS_MAX]


class _Pipeline(Pipeline):
    """Collect commands for a cluster."""

    def __init__(self, cluster: Cluster, transaction: bool, shard_hint: str | None) -> None:  # noqa: FBT001
        super().__init__(cluster.connection_pool, cluster.response_callbacks, transaction, shard_hint)
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002
        """Run what was collected; with a transaction, all of it in one server or none of it.

        Raises: as redis-py; without `raise_on_error` errors are told in their places, those of a server that is away,
        too, unless in a transaction.
        """
        commands = list(self.command_stack)
        await self.reset()  # type: ignore[no-untyped-call]
        if not commands:
            return []
        if self.is_transaction:
            return await self._cluster.follow(_key(commands[0]), partial(self._together, commands, raise_on_error))
        replies = await self._apart(commands)
        if raise_on_error:
            self.raise_first_error(commands, replies)
        return replies

    async def _together(self, commands: Sequence[Command], loud: bool, host: Host, asking: bool) -> list[Any]:  # noqa: FBT001
        if asking:
            # It would have to be said before each command; a slot that moves is not long on its way.
            raise TryAgainError("The slot is moving.")
        async with self._cluster.node(host).pipeline(transaction=True) as pipe:
            for args, options in commands:
                pipe.execute_command(*args, **options)
            replies: list[Any] = await pipe.execute(raise_on_error=loud)
            return replies

    async def _apart(self, commands: Sequence[Command]) -> list[Any]:
        replies: dict[int, Any] = {}
        groups: dict[Host, list[int]] = {}
        for i, command in enumerate(commands):
            try:
                host = await self._cluster.serving(key_slot(_key(command).encode()))
            except RedisError as error:
                replies[i] = error
            else:
                groups.setdefault(host, []).append(i)
        told = await asyncio.gather(
            *(self._cluster.each(host, [commands[i] for i in places]) for host, places in groups.items())
        )
        for places, some in zip(groups.values(), told, strict=True):
            replies |= dict(zip(places, some, strict=True))
        return [replies[i] for i in range(len(commands))]


def _key(command: Command) -> str:
    args = command[0]
    return str(args[_KEY_AT.get(str(args[0]), 1)])
