"""Tell the record what happened, as the drain does when it has read a stream; say plainly what it has to count."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from app.domain.code import AccountId, CodeId, TargetId, WorkspaceId
from app.domain.event import UNCOUNTED, Event, EventKind, Packed
from app.domain.hours import hour_start
from app.domain.seat import Seat
from app.domain.tally import Tally
from app.store import partitions, records
from app.store.database import Database
from app.store.snapshots import read_zone

# Code, hour, kind, target, channel, account, client, detail: what `stat_hours` tells apart.
HourKey = tuple[str, datetime, str, str, int, str, str, str]


def pack(events: Sequence[Event], *, old: bool = False) -> Packed:
    """Write events as one script call does; `old` as before there were details."""
    lines = [f"{e.kind.value}|{e.code}|{e.client}|{e.seat}" + ("" if old else f"|{e.detail}") for e in events]
    return Packed(events[0].entry, events[0].at_ms, "\n".join(lines))


def by_hour(events: Iterable[Event], time_zone: str) -> Counter[HourKey]:
    """Count events one by one by the local hour they fall into and by all that a report may ask for."""
    return Counter(
        (
            event.code, hour_start(datetime.fromtimestamp(event.at_ms / 1000, UTC), time_zone), event.kind.value,
            event.seat.target, event.seat.channel, event.seat.account, event.client, event.detail,
        )
        for event in events
        if event.kind not in UNCOUNTED
    )  # fmt: skip


@dataclass
class Teller:
    """Be a drain without a stream; what happens to one code."""

    database: Database
    workspace: WorkspaceId
    code: str
    _entries: Any = field(default_factory=lambda: count(1))

    def event(
        self, kind: EventKind, at: datetime, target: str = "", *, account: str = "", number: int = 0, day: int = 20_778,
        channel: int = 0, client: str = "wechat", detail: str = "",
    ) -> Event:  # fmt: skip
        seat = Seat.of(number, TargetId(target), AccountId(account), day, channel, "visitor")
        entry = f"1-{next(self._entries)}"
        return Event(entry, 0, int(at.timestamp() * 1000), kind, CodeId(self.code), client, seat, detail)

    async def tell(self, *events: Event) -> None:
        """Record some events together."""
        while True:
            try:
                return await self._tell(events)
            except records.DayMissingError as missing:
                await partitions.make(self.database, missing.day)

    async def _tell(self, events: Sequence[Event]) -> None:
        async with self.database.writing() as tx:
            tally = Tally(await read_zone(tx, self.workspace))
            await records.lock_position(tx, self.workspace, wait=True)
            await records.append(tx, self.workspace, [pack([event]) for event in events], tally)
            await records.settle(tx, self.workspace, tally, records.Position("life", events[-1].entry))
