"""Judge a run by what is left of it: places over the limit, places told that no record has, events told twice.

What visitors were shown, the events, the totals and the counters are four tellings of the same; each is held against
the others, and `huoma verify` has the last word.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import asyncpg
from redis.asyncio import Redis

from app.counters import counts, stream
from app.counters.server import connect
from app.domain.code import CodeId, TargetId, WorkspaceId
from app.domain.errors import CountersAway
from app.domain.pseudonym import Pseudonyms
from bench.exactness import verified
from bench.loopback import MadeCode, Service
from bench.report import plain_url
from chaos.load import Borne
from chaos.row import Row
from chaos.visitors import Met, target_of

DRAINED_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.1
_PLACE: Final = ("c", "t")
# What a visitor who asks by a slug ends with while nothing ails his code.
_SCANS: Final = ("c", "t", "r", "f", "e", "l")
_SAID: Final = 3
# More entries than any fault sets aside.
ASIDE_MAX: Final = 1_000_000


class Recorded(NamedTuple):
    """Hold one event of the record; `seat` is spelt as tokens spell it."""

    entry: str
    kind: str
    seat: str
    visitor: str


@dataclass(frozen=True, slots=True)
class Remains:
    """Hold what record and counters say afterwards.

    Shapes: limits and tellings by target; `name` tells how the record calls a visitor.
    """

    limits: Mapping[str, int]
    events: Sequence[Recorded]
    totals: Mapping[str, int]
    counted: Mapping[str, int]
    name: Callable[[str], str] = str

    def spelt(self, seat: str) -> str:
        """Spell a seat that a visitor was told as the record does."""
        place, _, visitor = seat.rpartition(".")
        return f"{place}.{self.name(visitor)}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Count what is wrong, and name it."""

    places: int
    over_given: int
    lost: int
    doubled: int
    broken: tuple[str, ...]


def judged(met: Met, remains: Remains) -> Judgement:
    """Hold what visitors were told against what is left, one code at a time."""
    over, lost, doubled = _over_given(met, remains), _lost(met, remains), _doubled(met, remains)
    broken = [f"{n} {what}, such as {one}" for what, n, one in (*over, *lost, *doubled) if n]
    if met.not_kept:
        one = met.not_kept[0]
        broken.append(f"{len(met.not_kept)} pages without the place their visitors had, such as {one}")
    return Judgement(
        len({event.seat for event in remains.events if event.kind in _PLACE}),
        sum(n for _, n, _ in over),
        sum(n for _, n, _ in lost),
        sum(n for _, n, _ in doubled),
        tuple(broken),
    )


_Finding = tuple[str, int, Sequence[object]]


def _finding(what: str, found: Sequence[object]) -> _Finding:
    return what, len(found), found[:_SAID]


def _over_given(met: Met, remains: Remains) -> list[_Finding]:
    shown = Counter(target_of(seat) for seat in met.shown)
    found: list[_Finding] = []
    for teller, told in (("shown", shown), ("totals", remains.totals), ("counters", remains.counted)):
        over = {target: told.get(target, 0) - limit for target, limit in remains.limits.items()}
        too_many = {target: n for target, n in over.items() if n > 0}
        found.append((f"places too many by {teller}", sum(too_many.values()), list(too_many)[:_SAID]))
    return found


def _lost(met: Met, remains: Remains) -> list[_Finding]:
    placed = {event.seat for event in remains.events if event.kind in _PLACE}
    seen = {event.seat for event in remains.events if event.kind in ("s", "t")}
    told = {remains.spelt(answer.seat) for answer in met.answers if answer.given}
    shown = set(map(remains.spelt, met.shown))
    return [
        _finding("places told and not on record", sorted(told - placed)),
        _finding("pictures shown and not on record", sorted(shown & placed - seen)),
    ]


def _doubled(met: Met, remains: Remains) -> list[_Finding]:
    events = remains.events
    once = Counter((event.seat, event.kind) for event in events if event.kind in (*_PLACE, "s", "x"))
    both = {seat for seat, kind in once if kind == "s"} & {seat for seat, kind in once if kind == "x"}
    numbers = Counter(seat.partition(".")[0] for seat, kind in once if kind in _PLACE)
    entries = Counter(event.entry for event in events)
    # Who comes back is recorded once for each time he asked, at most.
    asked = Counter(answer.person for answer in met.answers if answer.asked == "page")
    allowed: Counter[str] = Counter()
    for seat, people in met.shown.items():
        allowed[remains.spelt(seat)] = sum(asked[person] for person in people)
    came = Counter(event.seat for event in events if event.kind == "r")
    scans = sum(event.kind in _SCANS for event in events) - len(met.answers)
    return [
        _finding("events recorded twice", [entry for entry, n in entries.items() if n > 1]),
        _finding("places taken, seen or given back twice", [one for one, n in once.items() if n > 1]),
        _finding("places given back though they were seen", sorted(both)),
        _finding("seat numbers given twice", [number for number, n in numbers.items() if n > 1]),
        _finding("places shown to two people", [seat for seat, people in met.shown.items() if len(people) > 1]),
        _finding("visits recorded too often", [s for s, n in came.items() if s in allowed and n > allowed[s]]),
        ("scans recorded that nobody made", max(0, scans), ()),
    ]


def _failed(met: Met) -> list[str]:
    return [f"{len(met.failed)} requests failed, such as {met.failed[0]}"] if met.failed else []


async def judge(
    service: Service,
    borne: Borne,
    *,
    fault: str,
    injected: str,
    also: Callable[[Met], Sequence[str]] = lambda _: (),
) -> Row:
    """Wait until all is recorded, look at everything, and lay out the row; `also` names what else is broken."""
    code, met = borne.code, borne.met
    waited = await until_drained(service, code)
    found = judged(met, await remains_of(service, code))
    broken = [*waited, *found.broken, *_failed(met), *await asyncio.to_thread(verified, service), *also(met)]
    return Row(
        fault=fault,
        injected=injected,
        scans=len(met.answers),
        places=found.places,
        over_given=found.over_given,
        lost=found.lost,
        doubled=found.doubled,
        failed=len(met.failed),
        longest_gap_seconds=met.gap_seconds(new=True),
        told=met.told,
        known_gap_seconds=met.gap_seconds(new=False),
        back_seconds=met.back_seconds(),
        slowest_seconds=met.slowest_seconds,
        noted=borne.noted,
        broken=tuple(broken),
    )


async def until_drained(service: Service, code: MadeCode) -> list[str]:
    """Wait until the worker has recorded everything; name it when it does not."""
    redis = connect(service.settings.redis_url, connections=1, timeout_seconds=5)
    until, left = time.monotonic() + DRAINED_SECONDS, -1
    try:
        while time.monotonic() < until:
            try:
                left = await stream.backlog(redis, WorkspaceId(code.workspace))
            except CountersAway:
                left = -1
            if not left:
                return []
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        await redis.aclose()
    return [f"{left} entries were not recorded within {DRAINED_SECONDS:.0f} s"]


async def remains_of(service: Service, code: MadeCode) -> Remains:
    """Read what record and counters say of one code."""
    redis: Redis = connect(service.settings.redis_url, connections=1, timeout_seconds=5)
    postgres: Any = await asyncpg.connect(plain_url(service))
    try:
        targets = await postgres.fetch(_TARGETS, code.id)
        events = await postgres.fetch(_EVENTS, code.id)
        ids = [TargetId(row["id"]) for row in targets]
        counted = await counts.read(redis, WorkspaceId(code.workspace), CodeId(code.id), ids)
        aside = await stream.read_aside(redis, WorkspaceId(code.workspace), "-", ASIDE_MAX)
    finally:
        await postgres.close()
        await redis.aclose()
    name = Pseudonyms(service.settings.secrets).namer(WorkspaceId(code.workspace))
    return Remains(
        {row["id"]: row["member_limit"] for row in targets},
        [*(Recorded(*row) for row in events), *_set_aside(aside, code, name)],
        {row["id"]: row["taken"] for row in targets},
        {target: places.taken for target, places in counted.items()},
        name,
    )


def _set_aside(aside: Sequence[stream.Aside], code: MadeCode, name: Callable[[str], str]) -> Iterator[Recorded]:
    """Read the events of a code that could not be recorded: they are kept, too."""
    for one in aside:
        for event in stream.unpack(one.packed) if one.packed else ():
            if event.code == code.id:
                place, _, visitor = str(event.seat).rpartition(".")
                yield Recorded(f"{event.entry}-{event.n}", event.kind.value, f"{place}.{name(visitor)}", name(visitor))


_TARGETS: Final = """
    select t.id, t.member_limit, coalesce(n.members + n.held + n.seen, 0) as taken
    from targets as t left join target_totals as n on n.target_id = t.id where t.code_id = $1
"""
_EVENTS: Final = """
    select concat_ws('-', entry_ms, entry_seq, n) as entry, kind,
        concat_ws('.', seat, target_id, account_id, day, channel, visitor) as seat, visitor
    from events where code_id = $1
"""
