"""A workspace changes its time zone within a day: a cap holds in every local day, of either zone."""

import asyncio
from datetime import datetime, timedelta

import httpx
import pytest
from redis.asyncio import Redis

from app.counters.claims import take_place
from app.domain.code import CodeId
from app.domain.hours import day_start
from app.domain.rotation import Verdict
from app.domain.seat import Seat
from app.domain.shifts import date_of, local_day
from app.domain.workspace import Workspace
from tests.conftest import Clock
from tests.scanning import Process
from tests.web.api.steps import done, make_account, make_code, make_target, refused

CAP = 3
STEP = timedelta(minutes=45)


async def one_account(api: httpx.AsyncClient) -> tuple[str, str]:
    """Make a code with one capped account; answer with the slug and the account."""
    account = await make_account(api, daily_cap=CAP)
    code = await make_code(api, kind="staff", new_seats_per_minute=0)
    await make_target(api, code, account_id=account["id"])
    return code["slug"], account["id"]


def day_of(at: datetime, zone: str) -> tuple[datetime, datetime]:
    """Find the local day of an instant."""
    day = local_day(at, zone)
    return day_start(date_of(day), zone), day_start(date_of(day + 1), zone)


@pytest.mark.parametrize("kept", [True, False], ids=["in Redis", "after losses of Redis"])
@pytest.mark.parametrize(
    "changes",
    [
        [(2, "Asia/Tokyo")],
        [(5.5, "Asia/Tokyo")],
        [(0, "America/New_York")],
        [(7, "America/New_York")],
        [(3, "Pacific/Kiritimati")],
        [(1, "Pacific/Pago_Pago")],
        [(0, "Pacific/Kiritimati"), (4, "Pacific/Pago_Pago")],
        [(0, "America/New_York"), (3, "Asia/Shanghai")],
        [(5, "Asia/Kolkata"), (8, "Europe/Berlin"), (20, "Asia/Tokyo")],
    ],
    ids=str,
)
async def test_a_cap_holds_in_every_local_day_across_changes_of_the_zone(
    process: Process,
    another_process: Process,
    api: httpx.AsyncClient,
    clock: Clock,
    redis: Redis,
    workspace: Workspace,
    changes: list[tuple[float, str]],
    *,
    kept: bool,
) -> None:
    slug, _ = await one_account(api)
    start, zones = clock(), [(clock() - timedelta(days=1), "Asia/Shanghai")]
    given: list[datetime] = []
    waiting = [(start + timedelta(hours=hours), zone) for hours, zone in changes]
    end = waiting[-1][0] + timedelta(hours=75)
    while clock() < end:
        if waiting and clock() >= waiting[0][0]:
            zone = waiting.pop(0)[1]
            done(await api.patch("/workspace", json={"time_zone": zone}))
            zones.append((clock(), zone))
            if not kept:
                await process.drain.all_of(workspace.id)
                await redis.delete(*[name async for name in redis.scan_iter(f"huoma:{{{workspace.id}}}:*")])
        met = [(await one.phone().visit(slug)).outcome for one in (process, another_process)]
        given += [clock()] * met.count("claimed")
        clock.now += STEP

    for i, (since, zone) in enumerate(zones):
        until = zones[i + 1][0] if i + 1 < len(zones) else end
        for at in given:
            first, last = day_of(at, zone)
            if at >= since and first < until:
                assert sum(first <= other <= at for other in given) <= CAP, (zone, at, given)
    # Two days after the last change nothing of the former zones counts any more.
    first, last = day_of(end - timedelta(hours=25), zones[-1][1])
    assert sum(first <= at < last for at in given) == CAP
    assert await process.reconciler.verify(workspace.id) == []


async def test_a_hold_from_before_the_change_gives_its_add_back_after_it(
    process: Process, api: httpx.AsyncClient, clock: Clock
) -> None:
    slug, account = await one_account(api)
    for _ in range(CAP):
        assert (await process.phone().scan(slug)).outcome == "claimed"
    done(await api.patch("/workspace", json={"time_zone": "Asia/Tokyo"}))
    assert (await process.phone().scan(slug)).outcome == "full"
    assert done(await api.get(f"/accounts/{account}"))["adds_today"] == CAP
    clock.forward(seconds=91)
    outcomes = [(await process.phone().visit(slug)).outcome for _ in range(CAP + 1)]
    assert outcomes == ["claimed"] * CAP + ["full"]
    assert done(await api.get(f"/accounts/{account}"))["adds_today"] == CAP


async def test_who_is_capped_by_the_day_of_the_zone_before_is_free_when_that_day_is_over(
    process: Process, api: httpx.AsyncClient, clock: Clock
) -> None:
    slug, account = await one_account(api)
    clock.now = datetime.fromisoformat("2026-11-21T14:30:00+00:00")
    for _ in range(CAP):
        assert (await process.phone().visit(slug)).outcome == "claimed"
    # In Tokyo it is half an hour to midnight, and in Shanghai an hour more.
    done(await api.patch("/workspace", json={"time_zone": "Asia/Tokyo"}))
    met = []
    for minutes in (0, 29, 31, 89, 91):
        clock.now = datetime.fromisoformat("2026-11-21T14:30:00+00:00") + timedelta(minutes=minutes)
        met.append((await process.phone().visit(slug)).outcome)
    assert met == ["full", "full", "full", "full", "claimed"]
    assert done(await api.get(f"/accounts/{account}"))["adds_today"] == 1


async def test_a_zone_changes_only_so_often(api: httpx.AsyncClient, clock: Clock) -> None:
    zones = ["Asia/Tokyo", "Asia/Shanghai"] * 3
    for zone in zones[:5]:
        done(await api.patch("/workspace", json={"time_zone": zone}))
    refused(await api.patch("/workspace", json={"time_zone": zones[5]}), 409, "too_many_zone_changes", "time_zone")
    clock.forward(days=3)
    done(await api.patch("/workspace", json={"time_zone": zones[5]}))


@pytest.mark.parametrize("old_first", [True, False])
async def test_scans_from_before_and_after_a_change_in_one_round_trip_count_on_their_own_days(
    process: Process, api: httpx.AsyncClient, clock: Clock, *, old_first: bool
) -> None:
    codes = [await make_code(api) for _ in range(2)]
    for code in codes:
        await make_target(api, code)
    old = await process.recaller.entry(CodeId(codes[0]["id"]))
    done(await api.patch("/workspace", json={"time_zone": "America/New_York"}))
    new = await process.recaller.entry(CodeId(codes[1]["id"]))
    ordered = [old, new] if old_first else [new, old]
    asked = [process.batcher.ask(one, one.proposal(clock()), take_place(0, "v", "wechat", 0.0)) for one in ordered]
    answers = dict(zip(map(id, ordered), await asyncio.gather(*asked), strict=True))
    assert answers[id(old)] is Verdict.STALE
    seat = answers[id(new)]
    assert isinstance(seat, Seat)
    assert seat.day == new.code.cap_days.day(clock()) != old.code.cap_days.day(clock())
