"""Level targets that come to a code of strategy `balance` (均衡起点): what they have beside the places taken."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from redis.asyncio import Redis

from app.counters import counts
from app.domain.code import Strategy, TargetStatus
from app.domain.levelling import Load, least, raised, reweighed
from app.services.editing import Edit
from app.store import targets
from app.store.targets import TargetRecord


async def level_newcomers(
    redis: Redis, edit: Edit, newcomers: Sequence[TargetRecord], now: datetime
) -> list[TargetRecord]:
    """Let targets that are about to be added stand where the least of those that are there stands.

    Raises: CountersAway, StoreAway.
    Cost: nothing but for `balance`; there one query, and a round trip to Redis for 1,000 targets of the code.
    """
    if edit.code.strategy is not Strategy.BALANCE:
        return list(newcomers)
    others = await _counted(redis, edit, await targets.loads(edit.tx, edit.code.workspace_id, edit.code.id, now))
    lowest = least(others)
    return [replace(one, target=replace(one.target, handicap=raised(load_of(one), lowest))) for one in newcomers]


async def relevel(
    redis: Redis, edit: Edit, record: TargetRecord, values: Mapping[str, object], now: datetime
) -> dict[str, object]:
    """Give the handicap that a change of a target makes of its own, among the values of the change.

    Another weight leaves it where it stood; one that was paused is raised to the least of the others.
    Raises, Cost: as `level_newcomers`.
    """
    before = load_of(record)
    weight = values.get("weight", before.weight)
    comes_back = record.target.status is TargetStatus.PAUSED and values.get("status") == TargetStatus.LIVE
    if edit.code.strategy is not Strategy.BALANCE or (weight == before.weight and not comes_back):
        return dict(values)
    assert isinstance(weight, int)
    (before,) = await _counted(redis, edit, [before])
    load = replace(before, weight=weight, handicap=reweighed(before, weight))
    if comes_back:
        others = await targets.loads(edit.tx, edit.code.workspace_id, edit.code.id, now)
        load = replace(load, handicap=raised(load, least(await _counted(redis, edit, others))))
    return {**values, "handicap": load.handicap}


async def level_returning(redis: Redis, edit: Edit, record: TargetRecord, now: datetime) -> dict[str, object]:
    """Give the handicap of a target that is about to be restored: it stands no lower than the least of the others.

    Raises, Cost: as `level_newcomers`.
    """
    if edit.code.strategy is not Strategy.BALANCE:
        return {}
    (load,) = await _counted(redis, edit, [load_of(record)])
    others = await targets.loads(edit.tx, edit.code.workspace_id, edit.code.id, now)
    return {"handicap": raised(load, least(await _counted(redis, edit, others)))}


def load_of(record: TargetRecord) -> Load:
    """Weigh a target by the record."""
    target = record.target
    taken = record.members + record.held + record.seen
    return Load(target.id, taken, target.handicap, target.weight, target.member_limit)


async def _counted(redis: Redis, edit: Edit, loads: Sequence[Load]) -> list[Load]:
    """Weigh targets by the counters; what these know nothing of, the record knows."""
    places = await counts.read(redis, edit.code.workspace_id, edit.code.id, [load.target for load in loads])
    return [replace(load, taken=places[load.target].taken) if load.target in places else load for load in loads]
