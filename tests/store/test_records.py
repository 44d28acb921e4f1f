"""What events do to totals and hours, and that the events alone tell the same."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from app.counters.stream import unpack
from app.domain.code import AccountId, CodeId, TargetId
from app.domain.event import AGAIN, Event, EventKind, Packed
from app.domain.tally import Move, Moves, fold
from app.domain.workspace import Workspace
from app.store import records, retellings
from app.store.database import Database
from app.store.tables import account_days, events, stat_hours, workspaces
from tests.conftest import START
from tests.scanning import Make
from tests.telling import Teller

K = EventKind
PLACED = {K.CLAIMED, K.TAKEN, K.RETURNED, K.SEEN, K.RELEASED, K.REBASED, K.KEPT}


@pytest.fixture
async def teller(database: Database, workspace: Workspace, code: Make) -> Teller:
    made = await code()
    return Teller(database, workspace.id, made.id)


def test_an_entry_from_before_there_were_details_is_read() -> None:
    mixed = Packed("7-1", 5, "c|code|wechat|1.t.a.2.3.v\nf|code|wechat|0...0.3.v|capped")
    old, new = unpack(mixed)
    assert (old.kind, old.detail, old.seat.channel) == (K.CLAIMED, "", 3)
    assert (new.kind, new.detail, new.n) == (K.FULL, "capped", 1)
    assert mixed.lines() == ["c|code|wechat|1|t|a|2|3|v|", "f|code|wechat|0|||0|3|v|capped"]
    with pytest.raises(ValueError, match="unpack"):
        unpack(Packed("7-1", 5, "c|code|wechat"))


def test_a_place_taken_at_once_is_seen_and_never_held(teller: Teller) -> None:
    taken = teller.event(K.TAKEN, START, "t", account="a", number=9, day=5)
    code, target, account = CodeId(teller.code), TargetId("t"), AccountId("a")
    assert fold([taken]) == Moves({target: Move(code, seen=1)}, {code: 9}, {(account, 5): 1})
    assert fold([taken, teller.event(K.REBASED, START, "t", number=30), taken]).targets == {
        target: Move(code, members=30, seen=1)
    }


@pytest.mark.parametrize("kind", [*sorted(set(K) - PLACED), K.RETURNED])
def test_what_takes_no_place_moves_no_total(teller: Teller, kind: EventKind) -> None:
    assert fold([teller.event(kind, START, "t", account="a", number=9)]) == Moves({}, {}, {})


def lives(teller: Teller, targets: list[str], chance: Random) -> list[Event]:
    """Make up what happens to some targets, as claim.lua and its sisters would tell it."""
    held: list[Event] = []
    told: list[Event] = []
    for number in range(1, 400):
        at = START + timedelta(minutes=number)
        kind = chance.choice([K.CLAIMED, K.CLAIMED, K.TAKEN, K.SEEN, K.SEEN, K.RELEASED, K.REBASED, K.FULL, K.RETURNED])
        target, account = chance.choice(targets), chance.choice(["", "a", "b"])
        if kind in (K.SEEN, K.RELEASED):
            if not held:
                continue
            seat = held.pop(chance.randrange(len(held))).seat
            told.append(teller.event(kind, at, seat.target, account=seat.account, number=seat.number, day=seat.day))
            continue
        day, detail = 20_778 + number // 200, chance.choice(["", AGAIN])
        told.append(teller.event(kind, at, target, account=account, number=number, day=day, detail=detail))
        if kind is K.CLAIMED:
            held.append(told[-1])
    in_one = [event for event in held if event.seat.target == targets[0]]
    if in_one:
        told.append(teller.event(K.KEPT, START, targets[0], number=len(in_one)))
    return told


@pytest.mark.parametrize("seed", range(3))
async def test_totals_hours_and_adds_are_what_events_alone_tell(
    database: Database, workspace: Workspace, code: Make, seed: int
) -> None:
    made = await code(200, 200, 200)
    teller, chance = Teller(database, workspace.id, made.id), Random(seed)
    told = lives(teller, made.targets, chance)
    while told:
        size = chance.randint(1, 60)
        await teller.tell(*told[:size])
        told = told[size:]
    async with database.reading() as connection:
        totals = await records.totals_of(connection, workspace.id)
        again = await retellings.places(connection, workspace.id)
        assert {target: row[2:] for target, row in totals.items()} == {t: told[:2] for t, told in again.items()}
        assert {target: row[1] for target, row in totals.items()} == {t: told.members or 0 for t, told in again.items()}
        assert any(told.seen for told in again.values())
        for apart in (retellings.kinds_apart, retellings.hours_apart, retellings.adds_apart, retellings.seats_apart):
            assert [one async for one in apart(connection, workspace.id)] == []


@pytest.mark.parametrize(
    ("time_zone", "moments", "hours"),
    [
        ("Asia/Kolkata", ["10:29:59", "10:30:00"], {"09:30": 1, "10:30": 1}),
        ("Asia/Kathmandu", ["10:14:59", "10:15:00", "10:16:00"], {"09:15": 1, "10:15": 2}),
        # Clocks go back from two to one at six: both hours begin at one.
        ("America/New_York", ["05:10:00", "05:59:59", "06:00:00", "06:59:59"], {"05:00": 2, "06:00": 2}),
    ],
)
async def test_events_are_counted_by_the_hour_on_the_wall(
    database: Database, workspace: Workspace, teller: Teller, time_zone: str, moments: list[str], hours: dict[str, int]
) -> None:
    async with database.writing() as tx:
        await tx.execute(sa.update(workspaces).where(workspaces.c.id == workspace.id).values(time_zone=time_zone))
    instants = [datetime.fromisoformat(f"2026-11-01T{moment}+00:00") for moment in moments]
    await teller.tell(*(teller.event(kind, at) for at in instants for kind in (K.PREVIEW, K.REBASED, K.KEPT)))
    async with database.reading() as connection:
        rows = await connection.execute(
            sa.select(stat_hours.c.hour, stat_hours.c.kind, stat_hours.c.n).where(
                stat_hours.c.workspace_id == workspace.id
            )
        )
        found = [(f"{row.hour.astimezone(UTC):%H:%M}", row.kind, row.n) for row in rows]
    assert sorted(found) == [(hour, "p", n) for hour, n in sorted(hours.items())]


async def test_hours_tell_apart_all_that_a_report_may_ask_for(
    database: Database, workspace: Workspace, code: Make
) -> None:
    made = await code(5, 5)
    teller = Teller(database, workspace.id, made.id)
    one: dict[str, Any] = {"target": made.targets[0], "account": "a", "channel": 1, "client": "wechat", "detail": ""}
    ways = [one, *(one | change for change in (
        {"target": made.targets[1]}, {"account": "b"}, {"channel": 2}, {"client": "wecom"}, {"detail": AGAIN},
    ))]  # fmt: skip
    told = [teller.event(K.TAKEN, START, **way) for way in ways]
    await teller.tell(*told)
    await teller.tell(teller.event(K.TAKEN, START, **one), teller.event(K.CLAIMED, START, **one))
    async with database.reading() as connection:
        rows = (await connection.execute(sa.select(stat_hours).where(stat_hours.c.code_id == made.id))).all()
        details = await connection.execute(sa.select(events.c.detail).where(events.c.code_id == made.id))
        assert sorted(row[0] for row in details) == [""] * 7 + [AGAIN]
    assert len(rows) == 7
    found = {(row.kind, row.target_id, row.account_id, row.channel, row.client, row.detail): row.n for row in rows}
    assert found == {("t", *way.values()): 2 if way is one else 1 for way in ways} | {("c", *one.values()): 1}


async def test_a_released_hold_gives_its_add_back_to_the_day_it_was_taken_on(
    database: Database, workspace: Workspace, code: Make
) -> None:
    made = await code(5)
    teller = Teller(database, workspace.id, made.id)
    claimed = teller.event(K.CLAIMED, START, made.targets[0], account="a", number=1, day=100)
    taken = teller.event(K.TAKEN, START, made.targets[0], account="a", number=2, day=101)
    released = teller.event(K.RELEASED, START, made.targets[0], account="a", number=1, day=100, client="")
    await teller.tell(claimed, taken)
    await teller.tell(released)
    async with database.reading() as connection:
        rows = await connection.execute(
            sa.select(account_days.c.day, account_days.c.adds).where(account_days.c.workspace_id == workspace.id)
        )
        assert dict(tuple(row) for row in rows) == {100: 0, 101: 1}
        assert [one async for one in retellings.adds_apart(connection, workspace.id)] == []
