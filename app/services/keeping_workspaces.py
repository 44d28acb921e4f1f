"""Make and arrange workspaces (工作区)."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from redis.asyncio import Redis

from app.counters import versions
from app.domain.code import CodeId, WorkspaceId
from app.domain.errors import Refusal
from app.domain.workspace import Defaults, Scope, Workspace
from app.services.editing import Versions, check_seen, new_id
from app.services.keeping_keys import MadeKey, check_secret, insert_key, is_known
from app.store import workspaces
from app.store.database import Database, Writing
from app.store.snapshots import read_days

DEFAULT_TIME_ZONE: Final = "Asia/Shanghai"
# Each former zone adds a day or two to what every new place of a capped account is compared with, for two days.
ZONE_CHANGES: Final = 5
_FIRST_KEY: Final = "first key"


class WorkspaceKeeper:
    """Keep workspaces."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    async def read(self, workspace: WorkspaceId) -> Workspace:
        """Read one. Raises: StoreAway."""
        async with self._database.reading() as connection:
            return await workspaces.find(connection, workspace)

    async def change(
        self, workspace: WorkspaceId, values: Mapping[str, object], now: datetime, seen: Versions
    ) -> Workspace:
        """Change the name, the zone or the defaults of a workspace; `defaults` may hold some of them only.

        A scan reads the zone with its code, so a new one is an edit of every open code. Defaults are for targets yet to
        come; they change none that is there.
        Raises: Refusal `bad_time_zone`, `changed_meanwhile`, `too_many_zone_changes`; CountersAway, StoreAway — nothing
        was changed.
        Cost: with a new zone as `bump_codes` and `versions.mark_all`; scans of a code wait from its mark to the commit.
        """
        values = dict(values)
        if "time_zone" in values:
            check_time_zone(str(values["time_zone"]))
        async with self._database.editing(workspace) as tx:
            before = await workspaces.lock(tx, workspace)
            check_seen(before.version, seen)
            if isinstance(defaults := values.get("defaults"), Mapping):
                values["defaults"] = asdict(replace(before.defaults, **defaults))
            moving = values.get("time_zone", before.time_zone) != before.time_zone
            edited: list[CodeId] = []
            if moving:
                known = await read_days(tx, workspace)
                lost = await versions.noted_eras(self._redis, workspace) - known.eras
                days = known.adopted(lost, now).moved(str(values["time_zone"]), now)
                if len(days.former) > ZONE_CHANGES:
                    raise Refusal(
                        "too_many_zone_changes",
                        f"The time zone can be changed {ZONE_CHANGES} times within two days.",
                        "time_zone",
                    )
                values |= {"zone_era": days.era, "former_zones": days.spell_former()}
                edited = await workspaces.bump_codes(tx, workspace)
                # Should PostgreSQL lose this change, Redis knows of the days that were counted by it.
                await versions.note_eras(self._redis, workspace, days.eras)
            changed = await workspaces.update(tx, workspace, values)
            # Last, so that scans of these codes wait for the commit and for nothing else.
            await versions.mark_all(self._redis, workspace, edited)
            return changed


async def create_workspace(database: Database, name: str, time_zone: str, now: datetime) -> tuple[Workspace, MadeKey]:
    """Make a workspace and its first admin key, for operators.

    Raises: Refusal `bad_time_zone`; StoreAway.
    """
    check_time_zone(time_zone)
    async with database.writing() as tx:
        return await _create(tx, name, time_zone, now, None)


async def list_workspaces(database: Database) -> list[Workspace]:
    """List every workspace, oldest first, for operators. Raises: StoreAway."""
    async with database.reading() as connection:
        return await workspaces.list_all(connection)


async def create_admin_key(database: Database, workspace: WorkspaceId, name: str, now: datetime) -> MadeKey:
    """Give an admin key to operators who have lost theirs.

    Raises: Refusal `not_found`; StoreAway.
    """
    async with database.writing() as tx:
        if workspace not in {one.id for one in await workspaces.list_all(tx)}:
            raise Refusal("not_found", "There is no such workspace.")
        return await insert_key(tx, workspace, name, Scope.ADMIN, now)


async def bootstrap(database: Database, given: str | None, now: datetime) -> str | None:
    """See to it at every start that there is a workspace, and that the given admin key was given to the first.

    Answers with the key only when it was made here, to be shown once. A given key that was revoked stays revoked.
    Raises: Refusal `weak_key`; StoreAway.
    """
    if given is not None:
        check_secret(given)
    async with database.writing() as tx:
        await workspaces.lock_making(tx)
        there = await workspaces.list_all(tx)
        if not there:
            _, made = await _create(tx, "huoma", DEFAULT_TIME_ZONE, now, given)
            return None if given is not None else made.secret
        if given is not None and not await is_known(tx, given):
            await insert_key(tx, there[0].id, _FIRST_KEY, Scope.ADMIN, now, secret=given)
    return None


def check_time_zone(name: str) -> ZoneInfo:
    """Accept the name of a zone, such as Asia/Shanghai.

    Raises: Refusal `bad_time_zone`.
    """
    if name not in available_timezones():
        raise Refusal("bad_time_zone", "There is no such time zone; give a name such as Asia/Shanghai.", "time_zone")
    return ZoneInfo(name)


async def _create(
    tx: Writing, name: str, time_zone: str, now: datetime, secret: str | None
) -> tuple[Workspace, MadeKey]:
    workspace = Workspace(WorkspaceId(new_id(now)), name, time_zone, Defaults(), 1, now)
    await workspaces.insert(tx, workspace)
    return workspace, await insert_key(tx, workspace.id, _FIRST_KEY, Scope.ADMIN, now, secret=secret)
