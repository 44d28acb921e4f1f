"""Run several Redis servers on loopback: a cluster, with or without replicas, or a master that sentinels watch."""

import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app.embedded.redis import RedisServer

SLOTS = 16_384
MASTERS = 3
# How far a server's port is from the one on which a cluster's servers speak to each other.
BUS = 10_000
# A failover takes some seconds of its own, and this machine may be busy.
PATIENCE_SECONDS = 60.0
# Long enough for a machine that does other things, too, and short enough for a test.
DOWN_MS = 1_500
MASTER = "mymaster"


class Member(RedisServer):
    """Be one of several servers, on a port of loopback that stays its own."""

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        super().__init__(directory)
        self.port = free_port_with_bus()
        self.settings = {"port": str(self.port), "bind": "127.0.0.1", "repl-diskless-sync-delay": "0", **settings}

    def ask(self, *command: Any) -> Any:
        """Ask this very server."""
        with self.client() as redis:
            return redis.execute_command(*command)

    def client(self) -> Redis:
        """Speak to this very server."""
        return Redis(port=self.port, decode_responses=True, socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def role(self) -> str:
        """Tell what it takes itself for: `master` or `slave`."""
        return str(self.ask("ROLE")[0])

    def _command(self) -> list[str]:
        return [*super()._command(), *(word for name, value in self.settings.items() for word in (f"--{name}", value))]


class SentinelServer(Member):
    """Watch over a master and let a replica take its place."""

    name = "Sentinel"

    def __init__(self, directory: Path, master: Member, down_ms: int) -> None:
        super().__init__(directory, {})
        self._watched, self._down_ms = master, down_ms

    def _prepare(self) -> None:
        super()._prepare()
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"unixsocket {self.sockets / self.socket_name}",
            f"sentinel monitor {MASTER} 127.0.0.1 {self._watched.port} 2",
            f"sentinel down-after-milliseconds {MASTER} {self._down_ms}",
            f"sentinel failover-timeout {MASTER} {4 * self._down_ms}",
        ]
        (self.directory / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def _command(self) -> list[str]:
        return [self._program[0], str(self.directory / "sentinel.conf"), "--sentinel"]


@dataclass
class Many:
    """Hold running servers and where a client finds them."""

    members: list[Member]
    url: str
    sentinels: list[SentinelServer]

    def masters(self) -> list[Member]:
        """Name the servers that take themselves for masters now."""
        found = []
        for member in self.members:
            with suppress(RedisError, OSError):
                if member.role() == "master":
                    found.append(member)
        return found

    def master_of(self, key: str) -> Member:
        """Name the master that serves a key of the cluster. Raises: LookupError — there is none that says so."""
        for master in self.masters():
            slot = master.ask("CLUSTER", "KEYSLOT", key)
            for first, last, (_, port, *_), *_ in master.ask("CLUSTER", "SLOTS"):
                if first <= slot <= last and port == master.port:
                    return master
        raise LookupError(key)

    def watched(self) -> Member:
        """Name the master that the sentinels agree on. Raises: LookupError — they do not, or it is not there."""
        ports = {int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1]) for sentinel in self.sentinels}
        for member in self.masters():
            if {member.port} == ports:
                return member
        raise LookupError(MASTER)

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait for something that takes servers a while. Raises: TimeoutError — it took too long."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            with suppress(RedisError, OSError, LookupError):
                if done():
                    return
            if time.monotonic() > until:
                raise TimeoutError(f"in vain: {what}")
            time.sleep(0.05)


@contextmanager
def running_cluster(folder: Path, *, replicas: int = 0, settings: Mapping[str, str] | None = None) -> Iterator[Many]:
    """Run three masters, and so many replicas of each."""
    ours = {"cluster-enabled": "yes", "cluster-node-timeout": str(DOWN_MS if replicas else 15_000)} | dict(
        settings or {}
    )
    members = [Member(folder / f"node{i}", ours) for i in range(MASTERS * (1 + replicas))]
    with _started(members):
        masters, others = members[:MASTERS], members[MASTERS:]
        for i, master in enumerate(masters):
            master.ask("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            master.ask("CLUSTER", "ADDSLOTS", *range(SLOTS * i // MASTERS, SLOTS * (i + 1) // MASTERS))
        for member in members[1:]:
            member.ask("CLUSTER", "MEET", "127.0.0.1", members[0].port)
        many = Many(members, "redis+cluster://" + _hosts(masters), [])
        many.until(lambda: all(len(m.ask("CLUSTER NODES")) == len(members) for m in members), "the nodes meet")
        for i, other in enumerate(others):
            other.ask("CLUSTER", "REPLICATE", masters[i % MASTERS].ask("CLUSTER", "MYID"))
        many.until(
            lambda: (
                all(m.ask("CLUSTER INFO")["cluster_state"] == "ok" for m in members)
                and all(len(m.ask("ROLE")[2]) == replicas for m in masters)
            ),
            "the cluster is whole",
        )
        yield many


@contextmanager
def running_sentinels(folder: Path, *, replicas: int = 1, settings: Mapping[str, str] | None = None) -> Iterator[Many]:
    """Run a master with replicas, and three sentinels."""
    members = [Member(folder / f"node{i}", settings or {}) for i in range(1 + replicas)]
    master = members[0]
    sentinels = [SentinelServer(folder / f"sentinel{i}", master, DOWN_MS) for i in range(3)]
    with _started(members):
        for other in members[1:]:
            other.ask("REPLICAOF", "127.0.0.1", master.port)
        many = Many(members, f"redis+sentinel://{_hosts(sentinels)}/{MASTER}", sentinels)
        many.until(lambda: len(master.ask("ROLE")[2]) == replicas, "the replicas follow")
        with _started(sentinels):
            many.until(lambda: all(_knows(sentinel, replicas) for sentinel in sentinels), "the sentinels meet")
            yield many


def _knows(sentinel: SentinelServer, replicas: int) -> bool:
    told = sentinel.ask("SENTINEL MASTER", MASTER)
    return bool(told["num-other-sentinels"] == 2 and told["num-slaves"] == replicas)


def _hosts(members: list[Any]) -> str:
    return ",".join(f"127.0.0.1:{member.port}" for member in members)


@contextmanager
def _started(members: list[Any]) -> Iterator[None]:
    with ExitStack() as started:
        for member in members:
            started.callback(member.stop)
            member.start()
        yield


def free_port_with_bus() -> int:
    """Find a port that is free together with the one of its bus, below those that the kernel gives to anybody."""
    while True:
        port = random.randint(12_000, 21_000)
        with socket.socket() as probe, socket.socket() as bus, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + BUS))
            return port
