"""Count the adds of local days that only Redis knows, because PostgreSQL lost the change of zone that began them.

Places were given by the zone of the lost change, and their adds stand under days that the record does not name. Without
them a cap would be given again on the same day.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from redis.asyncio import Redis

from app.counters import versions
from app.domain.code import WorkspaceId
from app.store import workspaces
from app.store.database import Database
from app.store.snapshots import read_days
from app.telemetry import say


async def adopt_eras(database: Database, redis: Redis, workspace: WorkspaceId, clock: Callable[[], datetime]) -> None:
    """Put the eras on record that Redis knows and the record lacks, as an edit of every open code.

    Nothing happens when the change that began them has been committed meanwhile.
    Cost: as a change of the time zone. Raises: StoreAway, CountersAway.
    """
    async with database.writing() as tx:
        await workspaces.lock(tx, workspace)
        days = await read_days(tx, workspace)
        lost = await versions.noted_eras(redis, workspace) - days.eras
        if not lost:
            return
        edited = await workspaces.bump_codes(tx, workspace)
        await workspaces.update(tx, workspace, {"former_zones": days.adopted(lost, clock()).spell_former()})
        # Last, so that scans of these codes wait for the commit and for nothing else.
        await versions.mark_all(redis, workspace, edited)
    say("record_lacks_a_change_of_zone", level=logging.WARNING, workspace=workspace, eras=sorted(lost))
