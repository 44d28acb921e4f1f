"""Explain (诊断) what a scan would be given, now or at an instant to come, by the scan's own rules. Takes nothing."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from redis.asyncio import Redis

from app.counters import counts
from app.domain.access import decline
from app.domain.cap_days import spell_span
from app.domain.code import AccountId, Code, CodeId, Fallback, Strategy, Target, TargetId, TargetState, WorkspaceId
from app.domain.errors import CountersAway, Refusal
from app.domain.event import EventKind
from app.domain.openings import shortage_of
from app.domain.outcome import Visit
from app.domain.roster import Roster, Spent
from app.domain.rotation import Proposal, choose, propose, why_nobody, with_room
from app.domain.visitor import Browser, Client, System
from app.services.editing import not_found, open_code
from app.store import codes
from app.store.database import Database
from app.store.records import adds_of
from app.store.snapshots import read_code, read_totals

# Targets listed one by one; beyond that, how many there are of each state must do.
LISTED: Final = 1_000
_GIVES: Final = frozenset({"claimed", "menu", "fallback"})
_PHONE: Final = Browser(Client.WECHAT, System.IOS)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Tell what a new visitor with WeChat on his phone would be given.

    Shapes: `outcome` as in `X-Huoma-Outcome`; `reason` why nobody would be given; `chances` the targets that may be,
    by their chance, which adds up to 1; `states` of the first targets in their order, `summary` of all; `goal` where
    the fallback leads, in the end.
    """

    code: Code
    outcome: str
    reason: str | None
    chances: list[tuple[Target, float]]
    states: list[tuple[Target, TargetState]]
    summary: Mapping[TargetState, int]
    live: bool
    goal: Fallback | None = None


class Explainer:
    """Explain codes."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    async def explain(
        self, workspace: WorkspaceId, code_id: CodeId, at: datetime, now: datetime, channel: int
    ) -> Explanation:
        """Explain one code at `at`: places are those taken now, adds those of that local day.

        Raises: Refusal `not_found`, `closed`, `unknown_channel`, `too_many_reads`, `too_many_edits`; StoreAway.
        Cost: one reading of the code and of its counts.
        """
        async with self._database.viewing(workspace) as connection:
            open_code(await codes.find(connection, workspace, code_id))
        async with self._database.editing(workspace) as tx:
            code = await read_code(tx, code_id)
        if code.closed:
            raise not_found()
        if channel and channel not in code.channels:
            raise Refusal("unknown_channel", "This code has no such channel.", "channel")
        taken, adds, live = await self._counted(code, at, now)
        # Fifty thousand targets take a while, and others have visitors meanwhile.
        told = await asyncio.to_thread(_judged, code, at, channel, taken, adds, live=live)
        if told.outcome != EventKind.FALLBACK.name.lower():
            return told
        return await self._followed(workspace, told, at, now)

    async def _followed(self, workspace: WorkspaceId, told: Explanation, at: datetime, now: datetime) -> Explanation:
        """Follow a fallback to where it leads: as in a scan, one that leads nowhere ends where it does."""
        goal = told.code.fallback
        if goal is None or goal.code is None:
            return replace(told, goal=goal)
        try:
            there = await self.explain(workspace, goal.code, at, now, 0)
        except Refusal:
            return replace(told, outcome=EventKind.FULL.name.lower())
        if there.outcome not in _GIVES:
            return replace(told, outcome=there.outcome)
        return replace(told, goal=there.goal or goal)

    async def _counted(
        self, code: Code, at: datetime, now: datetime
    ) -> tuple[dict[TargetId, int], dict[AccountId, int], bool]:
        """Read places and adds from the counters, or from the record when they are away or gone."""
        span = code.cap_days.span(now)
        taken: dict[TargetId, int] = {}
        counted: list[dict[AccountId, int]] = [{} for _ in span]
        live = True
        try:
            found = await counts.read(self._redis, code.workspace_id, code.id, [target.id for target in code.targets])
            taken = {target: places.taken for target, places in found.items()}
            counted = [await counts.adds(self._redis, code.workspace_id, day, list(code.accounts)) for day in span]
        except CountersAway:
            live = False
        async with self._database.viewing(code.workspace_id) as connection:
            totals = await read_totals(connection, code.id)
            adds: Counter[AccountId] = Counter()
            for day, there in zip(span, counted, strict=True):
                adds.update({**await adds_of(connection, code.workspace_id, day), **there})
        taken = {**{target: places for target, (places, _) in totals.given.items()}, **taken}
        return taken, adds if code.cap_days.span(at) == span else {}, live


def _judged(
    code: Code,
    at: datetime,
    channel: int,
    taken: Mapping[TargetId, int],
    adds: Mapping[AccountId, int],
    *,
    live: bool,
) -> Explanation:
    states = [(target, _state(code, target, at, taken, adds)) for target in code.targets]
    outcome, reason, chances = _told(code, at, channel, taken, adds)
    summary = Counter(state for _, state in states)
    return Explanation(code, outcome, reason, chances, states[:LISTED], summary, live)


def _state(
    code: Code, target: Target, at: datetime, taken: Mapping[TargetId, int], adds: Mapping[AccountId, int]
) -> TargetState:
    return code.state(target, at, taken.get(target.id, 0), adds.get(target.account, 0))


def _told(
    code: Code, at: datetime, channel: int, taken: Mapping[TargetId, int], adds: Mapping[AccountId, int]
) -> tuple[str, str | None, list[tuple[Target, float]]]:
    visit = Visit(code.slug, _PHONE, preview=False, tokens={})
    declined = decline(visit, code.slug, channel, code, at)
    if declined is not None:
        kind, detail, _ = declined
        return kind.name.lower(), detail or None, []
    span = spell_span(code.cap_days.span(at))
    proposal = propose(Roster(code, taken, 0, Spent(f"{span}:0", adds)), at)
    chances = _chances(proposal, taken, adds)
    if chances:
        return "claimed", None, [(code.targets[code.index[target]], chance) for target, chance in chances]
    turned = EventKind.FALLBACK if code.fallback else EventKind.FULL
    return turned.name.lower(), shortage_of(code, why_nobody(proposal, taken, adds)).value, []


def _chances(
    proposal: Proposal, taken: Mapping[TargetId, int], adds: Mapping[AccountId, int]
) -> list[tuple[TargetId, float]]:
    if proposal.strategy is not Strategy.RANDOM:
        chosen = choose(proposal, taken, adds, 0.0)
        return [] if chosen is None else [(proposal.candidates[chosen].target, 1.0)]
    open_ = [proposal.candidates[i] for i in with_room(proposal, taken, adds)]
    weight = sum(one.weight for one in open_)
    return [(one.target, one.weight / weight) for one in open_]
