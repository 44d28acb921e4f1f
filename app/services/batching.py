"""Send everything that arrived meanwhile in one round trip: a scan never waits for a timer, only for the wire.

One lane a workspace, and one round trip under way in a lane: replies come back in the order in which the counters
changed, which is what a roster needs to learn from them.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from redis.asyncio import Redis

from app.counters.claims import Answer, Ask, Block, settle
from app.counters.wire import Wire
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway
from app.domain.event import EventKind
from app.domain.rotation import Proposal, terms_of
from app.domain.shifts import local_day
from app.services.recalling import Entry
from app.telemetry import BATCH_SIZE

BATCH: Final = 256
# More than this many scans waiting means that Redis is not answering: saying so at once is better than a long queue.
WAITING_MAX: Final = 8_192


@dataclass(slots=True)
class _Errand:
    entry: Entry
    proposal: Proposal | None
    ask: Ask
    answer: "asyncio.Future[Answer]"


@dataclass(slots=True)
class _Lane:
    workspace: WorkspaceId
    waiting: list[_Errand] = field(default_factory=list)
    running: "asyncio.Task[None] | None" = None


class Batcher:
    """Bring asks to the counters and answers back.

    Metrics: `huoma_claim_batch_size`.
    """

    def __init__(self, redis: Redis | Wire, clock: Callable[[], datetime]) -> None:
        self._redis = redis
        self._clock = clock
        self._lanes: dict[WorkspaceId, _Lane] = {}

    async def ask(self, entry: Entry, proposal: Proposal | None, ask: Ask) -> Answer:
        """Settle one ask together with all that are waiting in the same workspace.

        Cost: one round trip, shared.
        Raises: CountersAway.
        """
        workspace = entry.code.workspace_id
        lane = self._lanes.get(workspace)
        if lane is None:
            lane = self._lanes[workspace] = _Lane(workspace)
        if len(lane.waiting) >= WAITING_MAX:
            raise CountersAway
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        lane.waiting.append(_Errand(entry, proposal, ask, answer))
        if lane.running is None:
            # The task begins when every scan that is ready now has queued up behind this one.
            lane.running = asyncio.create_task(self._run(lane))
        return await answer

    def waiting(self, workspace: WorkspaceId) -> int:
        """Count the asks that wait for the next round trip."""
        return len(self._lanes[workspace].waiting) if workspace in self._lanes else 0

    async def drained(self) -> None:
        """Wait until nothing is under way."""
        await asyncio.gather(*(lane.running for lane in self._lanes.values() if lane.running is not None))

    async def _run(self, lane: _Lane) -> None:
        try:
            while lane.waiting:
                batch, lane.waiting = lane.waiting[:BATCH], lane.waiting[BATCH:]
                BATCH_SIZE.observe(len(batch))
                # Entries from before and after a change of the zone may meet here; each is settled by its own day.
                zones = {one.entry.code.time_zone for one in batch}
                try:
                    for zone in zones:
                        same = batch if len(zones) == 1 else [e for e in batch if e.entry.code.time_zone == zone]
                        await self._settle(lane.workspace, same)
                except CountersAway as error:
                    # Whoever queued meanwhile would only wait for the same silence.
                    _fail(batch + lane.waiting, error)
                    lane.waiting = []
                except Exception as error:  # noqa: BLE001  # Those who wait are told, and they say it.
                    _fail(batch + lane.waiting, error)
                    lane.waiting = []
        finally:
            # Lanes of workspaces nobody scans are dropped, so that their number stays that of the busy ones.
            lane.running = None
            del self._lanes[lane.workspace]

    async def _settle(self, workspace: WorkspaceId, batch: Sequence[_Errand]) -> None:
        groups: dict[tuple[int, int], list[_Errand]] = {}
        for errand in batch:
            groups.setdefault((id(errand.entry), id(errand.proposal)), []).append(errand)
        blocks = []
        for errands in groups.values():
            entry, proposal = errands[0].entry, errands[0].proposal
            code = entry.code
            blocks.append(
                Block(
                    code.id,
                    code.version,
                    proposal.seq if proposal else entry.roster.seq,
                    terms_of(code),
                    proposal,
                    [e.ask for e in errands],
                    (EventKind.FALLBACK if code.fallback else EventKind.FULL).value,
                )
            )
        now = self._clock()
        zone = batch[0].entry.code.time_zone
        replies = await settle(self._redis, workspace, int(now.timestamp() * 1000), local_day(now, zone), blocks)
        for errands, reply in zip(groups.values(), replies, strict=True):
            errands[0].entry.learn(errands[0].proposal, reply)
            for errand, answer in zip(errands, reply.answers, strict=True):
                if not errand.answer.done():
                    errand.answer.set_result(answer)


def _fail(errands: Sequence[_Errand], error: Exception) -> None:
    for errand in errands:
        if not errand.answer.done():
            errand.answer.set_exception(error)
