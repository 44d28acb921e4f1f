"""Statistics: what happened, however it is asked for."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from app.domain.event import AGAIN, OUTCOMES, EventKind
from app.domain.workspace import Scope, Workspace
from app.store.database import Database
from app.store.reports import MEASURES
from app.store.tables import accounts, channels, options, targets
from app.web.api import ApiContext
from app.web.reports import StatsRow, wants_csv
from tests.conftest import START, Clock, client, key_to
from tests.scanning import Make, Process
from tests.telling import Teller
from tests.web.api.steps import done, refused

K = EventKind
CODE_BY = ("hour", "day", "target", "channel", "account", "client", "option")
WORKSPACE_BY = ("hour", "day", "code", "account", "client")
PARTS = (
    "claimed", "returned", "fallback", "full", "limited", "menu", "option", "preview", "outside_wechat", "turned_away",
)  # fmt: skip
HOUR = timedelta(hours=1)


@pytest.fixture
async def told(database: Database, workspace: Workspace, code: Make) -> Teller:
    """Have everything happen that can happen, in three hours of two days."""
    made = await code(50, 50)
    teller = Teller(database, workspace.id, made.id)
    first, second = made.targets
    event = teller.event
    mine: dict[str, Any] = {"workspace_id": workspace.id}
    async with database.writing() as tx:
        account = f"a{workspace.id[1:]}"
        await tx.execute(sa.insert(accounts).values(id=account, name="小王", kind="wecom", **mine))
        for number, name in ((1, "=HYPERLINK(1)"), (2, '门店 "12", 二楼')):
            await tx.execute(sa.insert(channels).values(code_id=made.id, number=number, name=name, **mine))
        await tx.execute(
            sa.insert(options).values(
                code_id=made.id, number=3, position=1, label="售后", leads_to=made.id, removed_at=START, **mine
            )
        )
    yesterday = START - 24 * HOUR
    await teller.tell(
        event(K.CLAIMED, yesterday, first, number=1, channel=1),
        event(K.SEEN, yesterday, first, number=1, channel=1),
        event(K.CLAIMED, yesterday, first, number=2, client="wecom"),
        event(K.RELEASED, START, first, number=2, client=""),
        event(K.TAKEN, START, second, number=3, account=account, channel=2),
        event(K.TAKEN, START, second, number=4, account=account, channel=2, detail=AGAIN),
        event(K.CLAIMED, START, second, number=5, account=account, detail=AGAIN),
        event(K.RETURNED, START - HOUR, first, number=1, channel=1),
        event(K.REBASED, START, first, number=30),
        *(event(kind, START, channel=n % 4) for n, kind in enumerate(sorted(OUTCOMES - {K.CLAIMED, K.TAKEN}))),
        event(K.OPTION, START, detail="3"),
        event(K.OPTION, START, detail="4"),
    )
    return teller


async def stats(api: httpx.AsyncClient, path: str, **query: str) -> dict[str, Any]:
    return done(await api.get(f"{path}/stats", params=query))


def counts(row: dict[str, Any]) -> dict[str, int]:
    return {measure: row[measure] for measure in MEASURES}


def test_every_outcome_is_in_one_part_of_all_scans() -> None:
    found = [kind for part in PARTS for kind in MEASURES[part]]
    assert sorted(found) == sorted(OUTCOMES)
    assert MEASURES["scans"] == OUTCOMES
    assert list(StatsRow.model_fields) == ["key", "name", *MEASURES]


@pytest.mark.parametrize(("place", "ways"), [("code", CODE_BY), ("workspace", WORKSPACE_BY)])
async def test_sums_agree_however_it_is_asked(
    api: httpx.AsyncClient, told: Teller, place: str, ways: tuple[str, ...]
) -> None:
    path = f"/codes/{told.code}" if place == "code" else ""
    for by in ways:
        report = await stats(api, path, by=by)
        assert report["by"] == by
        for row in (*report["rows"], report["total"]):
            assert row["scans"] == sum(row[part] for part in PARTS), (by, row)
        assert counts(report["total"]) == {
            measure: sum(row[measure] for row in report["rows"]) for measure in MEASURES
        }, by
        assert len({row["key"] for row in report["rows"]}) == len(report["rows"])
        assert report["total"] == {
            "scans": 19, "visitors": 3, "claimed": 5, "returned": 2, "seen": 3, "released": 1, "fallback": 1, "full": 1,
            "limited": 1, "menu": 1, "option": 3, "preview": 1, "outside_wechat": 1, "turned_away": 3,
        }, by  # fmt: skip


async def test_rows_say_where_and_when(api: httpx.AsyncClient, told: Teller, workspace: Workspace) -> None:
    async def rows(path: str, by: str) -> list[tuple[str, str | None, int]]:
        return [(row["key"], row["name"], row["claimed"]) for row in (await stats(api, path, by=by))["rows"]]

    path = f"/codes/{told.code}"
    assert (await rows(path, "day"))[-3:] == [("2026-11-19", None, 0), ("2026-11-20", None, 2), ("2026-11-21", None, 3)]
    assert len(await rows(path, "day")) == 7
    hours = dict(row[::2] for row in await rows(path, "hour"))
    assert len(hours) == 6 * 24 + 19, "up to the end of this hour"
    assert (hours["2026-11-20T10:00:00Z"], hours["2026-11-21T10:00:00Z"]) == (2, 3)
    assert {row[1:] for row in await rows(path, "target")} == {("g0", 2), ("g1", 3), (None, 0)}
    assert sorted(await rows(path, "channel")) == [
        ("0", "poster", 2), ("1", "=HYPERLINK(1)", 1), ("2", '门店 "12", 二楼', 2), ("3", None, 0),
    ]  # fmt: skip
    account = f"a{workspace.id[1:]}"
    assert sorted(await rows(path, "account")) == [("", None, 2), (account, "小王", 3)]
    assert sorted(await rows(path, "client")) == [("", None, 0), ("wechat", None, 4), ("wecom", None, 1)]
    options = {row["key"]: (row["name"], row["option"]) for row in (await stats(api, path, by="option"))["rows"]}
    assert options == {"": (None, 1), "3": ("售后", 1), "4": (None, 1)}
    assert await rows("", "code") == [(told.code, "poster", 5)]


async def test_most_scans_come_first(api: httpx.AsyncClient, told: Teller) -> None:
    await told.tell(*(told.event(K.PREVIEW, START, channel=3) for _ in range(10)))
    rows = (await stats(api, f"/codes/{told.code}", by="channel"))["rows"]
    assert rows[0]["key"] == "3"
    assert sorted(rows, key=lambda row: (-row["scans"], row["key"])) == rows


async def test_what_was_removed_is_still_named(api: httpx.AsyncClient, told: Teller, database: Database) -> None:
    first = (await stats(api, f"/codes/{told.code}", by="target"))["rows"]
    async with database.writing() as tx:
        await tx.execute(sa.update(targets).where(targets.c.code_id == told.code).values(removed_at=START))
    done(await api.get(f"/codes/{told.code}"))
    assert (await stats(api, f"/codes/{told.code}", by="target"))["rows"] == first


@pytest.mark.parametrize(
    ("query", "since", "until", "claimed"),
    [
        ({}, "2026-11-14T16:00:00Z", "2026-11-21T11:00:00Z", 5),
        ({"from": "2026-11-21"}, "2026-11-20T16:00:00Z", "2026-11-21T11:00:00Z", 3),
        # A date is that whole day, on either side, whatever stands on the other.
        ({"to": "2026-11-21"}, "2026-11-14T16:00:00Z", "2026-11-21T16:00:00Z", 5),
        ({"to": "2026-11-20"}, "2026-11-13T16:00:00Z", "2026-11-20T16:00:00Z", 2),
        ({"from": "2026-11-21", "to": "2026-11-21"}, "2026-11-20T16:00:00Z", "2026-11-21T16:00:00Z", 3),
        ({"from": "2026-11-20", "to": "2026-11-20"}, "2026-11-19T16:00:00Z", "2026-11-20T16:00:00Z", 2),
        ({"from": "2026-11-20", "to": "2026-11-21"}, "2026-11-19T16:00:00Z", "2026-11-21T16:00:00Z", 5),
        ({"from": "2026-11-21T10:00:00Z", "to": "2026-11-21"}, "2026-11-21T10:00:00Z", "2026-11-21T16:00:00Z", 3),
        ({"from": "2026-11-21", "to": "2026-11-21T10:00:00Z"}, "2026-11-20T16:00:00Z", "2026-11-21T10:00:00Z", 0),
        (
            {"from": "2026-11-21T10:00:00Z", "to": "2026-11-21T10:00:01Z"},
            "2026-11-21T10:00:00Z",
            "2026-11-21T11:00:00Z",
            3,
        ),
        (
            {"from": "2026-11-20T18:59:00+08:00", "to": "2026-11-21T18:00:00+08:00"},
            "2026-11-20T10:00:00Z",
            "2026-11-21T10:00:00Z",
            2,
        ),
        ({"from": "2027-01-01", "to": "2027-01-02"}, "2026-12-31T16:00:00Z", "2027-01-02T16:00:00Z", 0),
        ({"from": "2999-12-31", "to": "2999-12-31"}, "2999-12-30T16:00:00Z", "2999-12-31T16:00:00Z", 0),
    ],
)
async def test_a_range_is_whole_local_hours(
    api: httpx.AsyncClient, told: Teller, query: dict[str, str], since: str, until: str, claimed: int
) -> None:
    for by in CODE_BY:
        report = await stats(api, f"/codes/{told.code}", by=by, **query)
        assert (report["from"], report["to"], report["time_zone"]) == (since, until, "Asia/Shanghai")
        assert report["total"]["claimed"] == claimed


async def test_a_plus_that_was_not_escaped_is_read_as_one(api: httpx.AsyncClient, told: Teller) -> None:
    report = done(await api.get("/stats?from=2026-11-21T08:00:00+08:00&to=2026-11-21T09:00+0800"))
    assert (report["from"], report["to"]) == ("2026-11-21T00:00:00Z", "2026-11-21T01:00:00Z")


async def test_the_day_on_which_clocks_go_back_has_twenty_five_hours(
    api: httpx.AsyncClient, database: Database, workspace: Workspace, code: Make
) -> None:
    done(await api.patch("/workspace", json={"time_zone": "America/New_York"}))
    teller = Teller(database, workspace.id, (await code()).id)
    moments = [datetime(2026, 11, 1, 5, 30, tzinfo=UTC), datetime(2026, 11, 1, 6, 30, tzinfo=UTC)]
    await teller.tell(*(teller.event(K.PREVIEW, at) for at in [moments[0], *moments]))
    rows = (await stats(api, "", by="hour", **{"from": "2026-11-01", "to": "2026-11-01"}))["rows"]
    assert len(rows) == 25
    assert [(row["key"], row["name"], row["preview"]) for row in rows if row["preview"]] == [
        ("2026-11-01T05:00:00Z", "2026-11-01 01:00", 2), ("2026-11-01T06:00:00Z", "2026-11-01 01:00", 1),
    ]  # fmt: skip
    [day] = (await stats(api, "", by="day", **{"from": "2026-11-01", "to": "2026-11-01"}))["rows"]
    assert (day["key"], day["preview"]) == ("2026-11-01", 3)


async def test_the_day_on_which_clocks_go_forward_has_twenty_three_hours(api: httpx.AsyncClient) -> None:
    done(await api.patch("/workspace", json={"time_zone": "America/New_York"}))
    report = await stats(api, "", by="hour", **{"from": "2026-03-08", "to": "2026-03-08"})
    assert len(report["rows"]) == 23
    assert (report["from"], report["to"]) == ("2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z")


async def test_hours_counted_in_another_zone_are_lost_in_none(api: httpx.AsyncClient, told: Teller) -> None:
    before = (await stats(api, f"/codes/{told.code}"))["total"]
    done(await api.patch("/workspace", json={"time_zone": "Asia/Kathmandu"}))
    for by in CODE_BY:
        assert (await stats(api, f"/codes/{told.code}", by=by))["total"] == before


@pytest.mark.parametrize(
    ("query", "problem", "where"),
    [
        ({"from": "2026-11-21T10:00:00Z", "to": "2026-11-21T10:00:00Z"}, "bad_range", "from"),
        ({"from": "2026-11-22", "to": "2026-11-22T00:00:00+08:00"}, "bad_range", "from"),
        ({"from": "2026-11-22T00:00:00+08:00", "to": "2026-11-21"}, "bad_range", "from"),
        ({"from": "2026-11-22", "to": "2026-11-21"}, "bad_range", "from"),
        ({"from": "2026-11-22"}, "bad_range", "from"),
        ({"from": "2025-11-19", "to": "2026-11-21", "by": "hour"}, "bad_range", "from"),
        ({"from": "2000-01-01", "to": "2026-11-21"}, "bad_range", "from"),
        ({"from": "2026-02-30"}, "invalid", "from"),
        ({"to": "yesterday"}, "invalid", "to"),
        ({"to": "2026-11-21T10:00:00"}, "invalid", "to"),
        ({"to": "2026-11-21 08:00"}, "invalid", "to"),
        ({"to": "20261121"}, "invalid", "to"),
        ({"to": "1768000000"}, "invalid", "to"),
        ({"to": "9999-12-31"}, "invalid", "to"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "invalid", "from"),
        ({"by": "week"}, "invalid", "by"),
        ({"by": ""}, "invalid", "by"),
    ],
)
async def test_what_cannot_be_told_is_refused(
    api: httpx.AsyncClient, code: Make, query: dict[str, str], problem: str, where: str
) -> None:
    path = f"/codes/{(await code()).id}"
    refused(await api.get(f"{path}/stats", params=query), 422, problem, where)
    refused(await api.get("/stats", params=query), 422, problem, where)


async def test_a_year_may_be_told_by_the_hour(api: httpx.AsyncClient) -> None:
    done(await api.patch("/workspace", json={"time_zone": "America/New_York"}))
    # Clocks go back twice and forward once.
    report = await stats(api, "", by="hour", **{"from": "2025-11-02", "to": "2026-11-02"})
    assert len(report["rows"]) == 366 * 24 + 1


@pytest.mark.parametrize("by", ["target", "channel", "option", "code"])
async def test_each_place_has_its_own_ways(api: httpx.AsyncClient, code: Make, by: str) -> None:
    path = f"/codes/{(await code()).id}"
    refused(await api.get(f"{path if by == 'code' else ''}/stats", params={"by": by}), 422, "invalid", "by")


@pytest.mark.parametrize("by", CODE_BY)
async def test_csv_says_what_json_says(api: httpx.AsyncClient, told: Teller, by: str) -> None:
    path = f"/codes/{told.code}/stats?by={by}"
    report = done(await api.get(path))
    answer = await api.get(path, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == (
        f'attachment; filename="stats-{told.code}-by-{by}-20261115T0000-20261121T1900.csv"'
    )
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["vary"] == "Accept"
    text = answer.content.decode()
    assert text.startswith("\ufeffkey,name,scans,")
    assert text.count("\r\n") == text.count("\n") == len(report["rows"]) + 1
    head, *lines = csv.reader(io.StringIO(text[1:], newline=""))
    assert head == ["key", "name", *MEASURES]
    for line, row in zip(lines, report["rows"], strict=True):
        said = dict(zip(head, line, strict=True))
        assert said["name"].removeprefix("'") == (row["name"] or "")
        assert said["key"] == row["key"]
        assert {measure: int(said[measure]) for measure in MEASURES} == counts(row)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(1)", "＝1", '=cmd|"/c calc"!A1'])
async def test_a_name_is_never_a_formula(api: httpx.AsyncClient, told: Teller, name: str) -> None:
    done(await api.patch(f"/codes/{told.code}", json={"name": name}))
    answer = await api.get("/stats", params={"by": "code"}, headers={"Accept": "text/csv"})
    [_, line] = csv.reader(io.StringIO(answer.text[1:], newline=""))
    assert line[1] == f"'{name}"


@pytest.mark.parametrize(
    ("accept", "as_csv"),
    [
        ("", False), ("*/*", False), ("application/json", False), ("text/csv", True), ("TEXT/CSV; q=0.5", True),
        ("application/json, text/csv;q=0.9", False), ("text/csv, application/json;q=0.5", True),
        ("text/csv;q=0", False), ("text/csvx", False), ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("text/csv;q=x", True),
    ],
)  # fmt: skip
def test_csv_is_for_who_asks_for_it(accept: str, *, as_csv: bool) -> None:
    assert wants_csv(accept) is as_csv


async def test_a_real_scan_is_told_in_its_own_hour(
    api: httpx.AsyncClient, process: Process, code: Make, clock: Clock
) -> None:
    done(await api.patch("/workspace", json={"time_zone": "Asia/Kathmandu"}))
    made = await code(1)
    phone = process.phone()
    # Twenty-five to five in the afternoon, an hour that began at a quarter past ten by UTC.
    clock.forward(minutes=50)
    await phone.visit(made.slug)
    clock.forward(minutes=25)
    await phone.scan(made.slug)
    await process.phone().scan(made.slug)
    await process.drain.all_of(made.workspace)
    report = await stats(api, f"/codes/{made.id}", by="hour", **{"from": "2026-11-21T15:00:00+05:45"})
    found = [(row["name"][11:13], *(row[measure] for measure in PARTS[:4]), row["seen"]) for row in report["rows"]]
    assert report["rows"][0]["key"] == "2026-11-21T09:15:00Z"
    assert found == [("15", 0, 0, 0, 0, 0), ("16", 1, 0, 0, 0, 1), ("17", 0, 1, 0, 1, 0)]


async def test_a_workspace_counts_its_own(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient, told: Teller, context: ApiContext, workspace: Workspace
) -> None:
    refused(await stranger_api.get(f"/codes/{told.code}/stats"), 404, "not_found")
    for by in WORKSPACE_BY:
        assert not any((await stats(stranger_api, "", by=by))["total"].values())
    async with client(context, await key_to(context, workspace, Scope.READ)) as reading:
        assert (await stats(reading, ""))["total"] == (await stats(api, ""))["total"]
    done(await api.get(f"/codes/{told.code}"))
    assert (await api.delete(f"/codes/{told.code}")).status_code == 204
    assert (await stats(api, f"/codes/{told.code}"))["total"]["scans"] == 19, "a closed code is still told"
