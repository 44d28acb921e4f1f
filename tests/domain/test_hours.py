"""When hours and days begin."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from app.domain.hours import QUARTER, day_start, days_between, hour_end, hour_start, hours_between
from app.domain.shifts import zone

NEW_YORK = "America/New_York"
LORD_HOWE = "Australia/Lord_Howe"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("time_zone", "moment", "start", "end"),
    [
        ("Asia/Shanghai", "2026-11-22T10:59:59.999Z", "2026-11-22T18:00+08:00", "2026-11-22T19:00+08:00"),
        ("Asia/Kolkata", "2026-11-22T10:29:00Z", "2026-11-22T15:00+05:30", "2026-11-22T16:00+05:30"),
        ("Asia/Kolkata", "2026-11-22T10:30:00Z", "2026-11-22T16:00+05:30", "2026-11-22T17:00+05:30"),
        ("Asia/Kathmandu", "2026-11-22T10:14:59Z", "2026-11-22T15:00+05:45", "2026-11-22T16:00+05:45"),
        ("Asia/Kathmandu", "2026-11-22T10:15:00Z", "2026-11-22T16:00+05:45", "2026-11-22T17:00+05:45"),
        # Clocks go back at two: there are two hours that begin at one.
        (NEW_YORK, "2026-11-01T05:30:00Z", "2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00"),
        (NEW_YORK, "2026-11-01T06:30:00Z", "2026-11-01T01:00-05:00", "2026-11-01T02:00-05:00"),
        # Clocks go forward at two: there is no hour that begins at two.
        (NEW_YORK, "2026-03-08T06:30:00Z", "2026-03-08T01:00-05:00", "2026-03-08T03:00-04:00"),
        (NEW_YORK, "2026-03-08T07:00:00Z", "2026-03-08T03:00-04:00", "2026-03-08T04:00-04:00"),
        # Clocks go back by half an hour at two, and forward by half an hour at two.
        (LORD_HOWE, "2026-04-04T14:59:00Z", "2026-04-05T01:00+11:00", "2026-04-05T01:30+10:30"),
        (LORD_HOWE, "2026-04-04T15:10:00Z", "2026-04-05T01:30+10:30", "2026-04-05T02:00+10:30"),
        (LORD_HOWE, "2026-10-03T15:29:00Z", "2026-10-04T01:00+10:30", "2026-10-04T02:30+11:00"),
        (LORD_HOWE, "2026-10-03T15:40:00Z", "2026-10-04T02:30+11:00", "2026-10-04T03:00+11:00"),
    ],
)
def test_an_hour_is_that_of_the_clock_on_the_wall(time_zone: str, moment: str, start: str, end: str) -> None:
    assert (hour_start(at(moment), time_zone), hour_end(at(moment), time_zone)) == (at(start), at(end))


@pytest.mark.parametrize("time_zone", ["Asia/Kathmandu", NEW_YORK, LORD_HOWE, "America/Caracas", "Pacific/Apia"])
@pytest.mark.parametrize("first", ["2026-03-01T00:00Z", "2026-10-01T00:00Z", "2016-04-29T00:00Z", "2011-12-25T00:00Z"])
def test_hours_follow_each_other_without_a_gap(time_zone: str, first: str) -> None:
    since = hour_start(at(first), time_zone)
    until = hour_start(since + timedelta(days=45), time_zone)
    hours = [*hours_between(since, until, time_zone), until]
    for start, end in pairwise(hours):
        moments = [start + n * QUARTER for n in range((end - start) // QUARTER)]
        assert moments
        assert {hour_start(moment, time_zone) for moment in moments} == {start}
        assert {hour_end(moment, time_zone) for moment in moments} == {end}
        local = [moment.astimezone(zone(time_zone)) for moment in moments]
        assert len({(one.hour, one.utcoffset()) for one in local}) == 1


@pytest.mark.parametrize(
    ("time_zone", "day", "hours"),
    [(NEW_YORK, "2026-11-01", 25), (NEW_YORK, "2026-03-08", 23), ("Asia/Shanghai", "2026-11-01", 24)],
)
def test_a_day_has_as_many_hours_as_clocks_make_of_it(time_zone: str, day: str, hours: int) -> None:
    first = date.fromisoformat(day)
    since, until = (day_start(one, time_zone) for one in (first, first + timedelta(days=1)))
    assert len(hours_between(since, until, time_zone)) == hours
    assert days_between(since, until, time_zone) == [since]


def test_a_day_without_midnight_begins_when_it_can() -> None:
    # Clocks in Cairo go from 23:59:59 on the 23rd to one o'clock on the 24th.
    assert day_start(date(2026, 4, 24), "Africa/Cairo") == at("2026-04-24T01:00+03:00")


def test_a_day_that_a_zone_left_out_is_left_out() -> None:
    since, until = (day_start(day, "Pacific/Apia") for day in (date(2011, 12, 29), date(2012, 1, 1)))
    days = [one.astimezone(zone("Pacific/Apia")).day for one in days_between(since, until, "Pacific/Apia")]
    assert days == [29, 31]


def test_a_list_of_days_begins_where_it_is_told_to() -> None:
    since = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
    found = days_between(since, at("2026-11-24T00:00+08:00"), "Asia/Shanghai")
    assert found == [since, at("2026-11-23T00:00+08:00")]
