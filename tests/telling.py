"""Tell the record what happened, as the drain does when it has read a stream."""

from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

from app.domain.code import AccountId, CodeId, TargetId, WorkspaceId
from app.domain.event import Event, EventKind
from app.domain.seat import Seat
from app.store import records
from app.store.database import Database
from app.store.snapshots import read_zone


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
        async with self.database.writing() as tx:
            zone = await read_zone(tx, self.workspace)
            await records.lock_position(tx, self.workspace, wait=True)
            await records.append(tx, self.workspace, zone, events, records.Position("life", events[-1].entry))
