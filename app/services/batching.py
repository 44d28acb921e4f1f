"""Send everything that arrived meanwhile in one round trip: a scan never waits for a timer, only for the wire.

One lane a workspace, and one round trip under way in a lane: replies come back in the order in which the counters
changed, which is what a roster needs to learn from them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.counters.claims import Answer, Ask, Block, settle
from app.counters.wire import Wire
from app.domain.cap_days import CapDays
from app.domain.code import WorkspaceId
from app.domain.elapsing import lasts
from app.domain.errors import CountersAway
from app.domain.rotation import Proposal, Verdict
from app.services.recalling import Entry
from app.telemetry import BATCH_SIZE

BATCH: Final = 256
# More batches than this waiting means that Redis is not answering: saying so at once is better than a long queue.
WAITING_MAX: Final = 32
# So long after a reply did not come in time, one finds out whether Redis is back, and nobody waits with him.
SILENT_FOR: Final = timedelta(seconds=3)
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Group:
    """Hold what is asked of one code under one proposal."""

    entry: Entry
    proposal: Proposal | None
    asks: list[Ask] = field(default_factory=list)
    answers: "list[asyncio.Future[Answer]]" = field(default_factory=list)

    def block(self) -> Block:
        entry, proposal = self.entry, self.proposal
        seq = proposal.seq if proposal else entry.roster.seq
        return Block(entry.code.id, entry.code.version, seq, entry.terms, proposal, self.asks, entry.turned)


@dataclass(slots=True)
class _Batch:
    """Hold what goes in one round trip: groups by what they have in common."""

    groups: dict[tuple[int, int], _Group] = field(default_factory=dict)
    size: int = 0


@dataclass(slots=True)
class _Lane:
    workspace: WorkspaceId
    waiting: deque[_Batch] = field(default_factory=deque)
    running: "asyncio.Task[None] | None" = None


class Batcher:
    """Bring asks to the counters and answers back.

    Metrics: `huoma_claim_batch_size`.
    """

    def __init__(
        self, redis: Redis | Wire, clock: Callable[[], datetime], happened: Callable[[WorkspaceId], None] | None = None
    ) -> None:
        self._redis = redis
        # Called once a round trip, with the workspace in which something was written.
        self._happened = happened
        self._clock = clock
        self._lanes: dict[WorkspaceId, _Lane] = {}
        # Whose last round trip was not answered in time, and when that was known.
        self._silent: dict[WorkspaceId, datetime] = {}

    async def ask(self, entry: Entry, proposal: Proposal | None, ask: Ask) -> Answer:
        """Settle one ask together with all that are waiting in the same workspace.

        Cost: one round trip, shared.
        Raises: CountersAway — at once while somebody finds out whether a Redis that fell silent is back.
            Also for a new place, when Redis has no memory.
        """
        workspace = entry.code.workspace_id
        lane = self._lanes.get(workspace)
        if lane is None:
            lane = self._lanes[workspace] = _Lane(workspace)
        elif self._silent and lasts(self._silent.get(workspace, _LONG_AGO), self._clock(), SILENT_FOR):
            raise CountersAway
        batch = lane.waiting[-1] if lane.waiting else None
        if batch is None or batch.size == BATCH:
            if len(lane.waiting) == WAITING_MAX:
                raise CountersAway
            batch = _Batch()
            lane.waiting.append(batch)
        # Both are alive as long as their group, so that nothing else can be called the same.
        kind = id(entry), id(proposal)
        group = batch.groups.get(kind)
        if group is None:
            group = batch.groups[kind] = _Group(entry, proposal)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        group.asks.append(ask)
        group.answers.append(answer)
        batch.size += 1
        if lane.running is None:
            # The task begins when every scan that is ready now has queued up behind this one.
            lane.running = asyncio.create_task(self._run(lane))
        return await answer

    def waiting(self, workspace: WorkspaceId) -> int:
        """Count the asks that wait for the next round trip."""
        return sum(batch.size for batch in self._lanes[workspace].waiting) if workspace in self._lanes else 0

    async def drained(self) -> None:
        """Wait until nothing is under way."""
        await asyncio.gather(*(lane.running for lane in self._lanes.values() if lane.running is not None))

    async def _run(self, lane: _Lane) -> None:
        try:
            while lane.waiting:
                batch = lane.waiting.popleft()
                BATCH_SIZE.observe(batch.size)
                groups = batch.groups.values()
                # Entries from before and after a change of the zone may meet here; each is settled by its own day.
                calendars = {group.entry.code.cap_days for group in groups}
                try:
                    for days in calendars:
                        same = [group for group in groups if group.entry.code.cap_days == days]
                        await self._settle(lane.workspace, days, same)
                    self._silent.pop(lane.workspace, None)
                    if self._happened is not None:
                        self._happened(lane.workspace)
                except Exception as error:  # noqa: BLE001  # Those who wait are told, and they say it.
                    if isinstance(error.__cause__, TimeoutError | RedisTimeoutError):
                        self._note_silence(lane.workspace)
                    # Whoever queued meanwhile would only wait for the same silence.
                    _fail([batch, *lane.waiting], error)
                    lane.waiting.clear()
        finally:
            # Lanes of workspaces nobody scans are dropped, so that their number stays that of the busy ones.
            lane.running = None
            del self._lanes[lane.workspace]

    def _note_silence(self, workspace: WorkspaceId) -> None:
        now = self._clock()
        self._silent = {one: since for one, since in self._silent.items() if lasts(since, now, SILENT_FOR)}
        self._silent[workspace] = now

    async def _settle(self, workspace: WorkspaceId, days: CapDays, groups: Sequence[_Group]) -> None:
        now = self._clock()
        blocks = [group.block() for group in groups]
        day, *further = days.span(now)
        replies = await settle(self._redis, workspace, int(now.timestamp() * 1000), day, blocks, further)
        for group, reply in zip(groups, replies, strict=True):
            group.entry.learn(group.proposal, reply)
            for waiting, answer in zip(group.answers, reply.answers, strict=True):
                if waiting.done():
                    continue
                if answer is Verdict.REFUSED:
                    waiting.set_exception(CountersAway())
                else:
                    waiting.set_result(answer)


def _fail(batches: Iterable[_Batch], error: Exception) -> None:
    for batch in batches:
        for group in batch.groups.values():
            for waiting in group.answers:
                if not waiting.done():
                    waiting.set_exception(error)
