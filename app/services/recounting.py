"""Set the true head count of a target (核对人数): what is inside becomes the base, open holds stay on top."""

from dataclasses import replace
from datetime import datetime

from redis.asyncio import Redis

from app.counters import counts
from app.counters.counts import Places
from app.domain.code import TargetId, WorkspaceId
from app.domain.errors import CountersAway
from app.services.editing import Editing, not_found, open_code
from app.services.once import Once
from app.services.viewing import TargetView, look_around, view_of
from app.store import codes, targets
from app.store.targets import TargetRecord


class Recounter:
    """Tell the counters how many are inside. The record learns it from the stream, as it learns of every scan."""

    def __init__(self, editing: Editing) -> None:
        self._editing = editing

    async def recount(
        self, workspace: WorkspaceId, target: TargetId, members: int, now: datetime, once: Once[TargetView]
    ) -> TargetView:
        """Set the head count.

        Raises: Refusal `not_found`, `closed`; CountersAway, StoreAway — it may have been set, and may be set again.
        """
        async with self._editing.database.reading() as connection:
            record = await targets.find(connection, workspace, target)
            if record is None:
                raise not_found()
            open_code(await codes.find(connection, workspace, record.code_id))
        async with self._editing.database.editing(workspace) as tx:
            await once.begin(tx)
            taken = await self._rebase(self._editing.redis, record, members, now, once.question)
            around = await look_around(tx, self._editing.redis, [record], now)
            view = view_of(replace(record, members=members), Places(taken, max(0, taken - members)), around)
            await once.keep(tx, view)
        return view

    async def _rebase(self, redis: Redis, record: TargetRecord, members: int, now: datetime, question: str) -> int:
        workspace, code, target = record.workspace_id, record.code_id, record.target.id
        taken = await counts.rebase(redis, workspace, code, target, members, now, question)
        if taken is None:
            # Nobody has scanned the code in this life of Redis, so there is nothing yet to set.
            await self._editing.publish(code)
            taken = await counts.rebase(redis, workspace, code, target, members, now, question)
        if taken is None:
            raise CountersAway
        return taken
