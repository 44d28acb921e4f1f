"""Shifts (班次) as visitors meet them: whoever is on shift is shown, and nobody else."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.conftest import Clock
from tests.kinds.conftest import MakeLink, Told
from tests.kinds.test_staff import adviser, staff, who
from tests.scanning import Process
from tests.web.api.steps import done

SHANGHAI = ZoneInfo("Asia/Shanghai")
NIGHT = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "22:00", "to": "06:00"}
DAY = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "06:00", "to": "22:00"}


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        # 2026-10-02 is a Friday.
        ("2026-10-02 23:30", "night"),
        ("2026-10-03 05:59", "night"),
        ("2026-10-03 06:00", "day"),
        ("2026-10-02 21:59", "day"),
        ("2026-10-02 22:00", "night"),
        # The first of October is a special date: the holiday's adviser works, 10 to 12, and nobody else.
        ("2026-09-30 23:30", "night"),
        ("2026-10-01 00:30", "nobody"),
        ("2026-10-01 10:00", "holiday"),
        ("2026-10-01 11:59", "holiday"),
        ("2026-10-01 12:00", "nobody"),
        ("2026-10-01 23:00", "nobody"),
        ("2026-10-02 05:00", "nobody"),
    ],
)
async def test_the_shift_table(
    process: Process, api: httpx.AsyncClient, clock: Clock, told: Told, at: str, expected: str
) -> None:
    """Trap 13: a shift may go over midnight.

    Trap 15: nobody on shift is nobody, never the last one.
    """
    off = [{"date": "2026-10-01", "windows": []}]
    night = await adviser(api, "night", shifts=[NIGHT], special_dates=off)
    day = await adviser(api, "day", shifts=[DAY], special_dates=off)
    holiday = await adviser(
        api,
        "holiday",
        shifts=[{"days": ["mon"], "from": "03:00", "to": "03:01"}],
        special_dates=[{"date": "2026-10-01", "windows": [{"from": "10:00", "to": "12:00"}]}],
    )
    code = await staff(api, night, day, holiday, fallback={"url": "https://shop.example/"})
    clock.now = datetime.fromisoformat(at).replace(tzinfo=SHANGHAI)
    seen = await process.phone().visit(code["slug"])
    assert who(code, seen.target) == expected
    if expected == "nobody":
        assert (seen.status, seen.outcome) == (302, "fallback")
        assert await told.kinds(code) == {"fallback off_shift": 1}


async def test_the_shift_changes_with_its_minute_in_a_process_that_knew_the_last_one(
    process: Process, api: httpx.AsyncClient, clock: Clock
) -> None:
    code = await staff(api, await adviser(api, "night", shifts=[NIGHT]), await adviser(api, "day", shifts=[DAY]))
    clock.now = datetime(2026, 10, 3, 5, 59, 59, 999_000, tzinfo=SHANGHAI)
    phone = process.phone()
    assert who(code, (await phone.visit(code["slug"])).target) == "night"
    clock.forward(milliseconds=1)
    assert who(code, (await process.phone().visit(code["slug"])).target) == "day"
    moved = await phone.visit(code["slug"])
    assert (moved.outcome, who(code, moved.target)) == ("claimed", "day"), "never shown off shift, not even to his own"


async def test_the_clock_of_the_wall_counts_where_it_is_put_forward(
    process: Process, api: httpx.AsyncClient, clock: Clock
) -> None:
    done(await api.patch("/workspace", json={"time_zone": "America/New_York"}))
    early = {"days": ["sun"], "from": "00:00", "to": "03:00"}
    late = {"days": ["sun"], "from": "03:00", "to": "24:00"}
    code = await staff(api, await adviser(api, "early", shifts=[early]), await adviser(api, "late", shifts=[late]))
    # 2026-03-08: two o'clock is three o'clock.
    for at, expected in (("2026-03-08T06:59:59+00:00", "early"), ("2026-03-08T07:00:00+00:00", "late")):
        clock.now = datetime.fromisoformat(at)
        assert who(code, (await process.phone().visit(code["slug"])).target) == expected


async def test_links_follow_a_schedule_of_their_own(process: Process, link: MakeLink, clock: Clock) -> None:
    row: dict[str, Any] = {"url": "https://night.example/", "shifts": [NIGHT]}
    code = await link(row, "https://day.example/")
    for at, expected in (("2026-10-02 23:00", "https://night.example/"), ("2026-10-03 07:00", "https://day.example/")):
        clock.now = datetime.fromisoformat(at).replace(tzinfo=SHANGHAI)
        assert (await process.phone().client.get(f"/{code['slug']}")).headers["location"] == expected
