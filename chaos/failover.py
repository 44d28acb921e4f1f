"""Kill the master that counts, of a cluster and of a set that sentinels watch: a replica takes over under load."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from app.counters import keys
from app.domain.code import WorkspaceId
from bench.loopback import MadeCode, Service, running_service
from chaos.fault import Effort, Fault, Say
from chaos.judging import judge
from chaos.load import under_load
from chaos.many import DOWN_MS, Many, Member, running_cluster, running_sentinels
from chaos.row import Row

REPLICAS: Final = 1


Injecting = Callable[[Effort, Say], Sequence[Row]]


def master_of(many: Many, code: MadeCode) -> Member:
    """Name the server that counts a code. Raises: LookupError — there is none now."""
    if many.sentinels:
        return many.watched()
    return many.master_of(keys.events(WorkspaceId(code.workspace)))


async def killed(service: Service, many: Many, effort: Effort, what: str) -> Row:
    """Kill the master as `kill -9` does, wait for a replica to take over, and start the old one again.

    The fault ends when a replica has taken over and another follows it: no place is told before that.
    """

    def breaking(code: MadeCode) -> None:
        master = master_of(many, code)
        master.kill()
        many.until(lambda: master_of(many, code) is not master, "a replica takes over")
        master.start()
        # Whoever took over is followed by at least one, so that there is somebody to hear of a place.
        many.until(lambda: followers(many, code) >= REPLICAS, "the old master follows the new one")

    said = (
        f"`kill -9` of the master, down for the others after {DOWN_MS / 1000} s; started again when a replica had "
        f"taken over; {REPLICAS} replica must have heard of a place"
    )
    borne = await under_load(service, effort, breaking)
    return await judge(service, borne, fault=f"a {what} master dies", injected=said)


def followers(many: Many, code: MadeCode) -> int:
    """Count the replicas that hear what the server that counts a code says. Raises: LookupError."""
    return len(master_of(many, code).ask("ROLE")[2])


@contextmanager
def served(many: Many) -> Iterator[Service]:
    """Run huoma on several Redis servers."""
    with running_service(workers=2, redis_url=many.url, redis_replicas=REPLICAS) as service:
        yield service


def _injecting(what: str, run: Callable[[Path], AbstractContextManager[Many]]) -> Injecting:
    def inject(effort: Effort, say: Say) -> Sequence[Row]:
        say(killed.__name__)
        with (
            tempfile.TemporaryDirectory(prefix="huoma-many-", ignore_cleanup_errors=True) as folder,
            run(Path(folder)) as many,
            served(many) as service,
        ):
            return [asyncio.run(killed(service, many, effort, what))]

    return inject


FAULTS: Final = (
    Fault("cluster", _injecting("cluster's", lambda folder: running_cluster(folder, replicas=1))),
    Fault("sentinel", _injecting("sentinel's", lambda folder: running_sentinels(folder, replicas=2))),
)
