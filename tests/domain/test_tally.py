"""The quick count tells what the plain ones tell, and a line that could be taken for something else is refused."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.counters.stream import unpack
from app.domain.code import AccountId, CodeId, TargetId
from app.domain.event import Event, EventKind, Packed
from app.domain.seat import Seat
from app.domain.tally import Tally, fold
from tests.telling import HourKey, by_hour, pack

# Full hours, half hours and quarters; clocks go back an hour in New York at six, and half an hour on Lord Howe.
ZONES = ("Asia/Shanghai", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe")
NIGHT = int(datetime(2026, 11, 1, 4, 50, tzinfo=UTC).timestamp()) * 1000
SPRING = int(datetime(2026, 4, 4, 14, 40, tzinfo=UTC).timestamp()) * 1000

seats = st.builds(
    Seat.of,
    st.integers(0, 9),
    st.sampled_from([TargetId(""), TargetId("t"), TargetId("u")]),
    st.sampled_from([AccountId(""), AccountId("a"), AccountId("b")]),
    st.integers(20_777, 20_778),
    st.integers(0, 2),
    st.sampled_from(["v", "w-_", ""]),
)
events = st.builds(
    Event,
    st.just("7-1"),
    st.just(0),
    st.just(0),
    st.sampled_from(EventKind),
    st.sampled_from([CodeId("c"), CodeId("d")]),
    st.sampled_from(["", "wechat", "wecom"]),
    seats,
    st.sampled_from(["", "again", "full", "12"]),
)
entries = st.tuples(
    st.sampled_from([NIGHT, SPRING]),
    st.integers(0, 3 * 3_600_000),
    st.lists(events, min_size=1, max_size=9),
    st.booleans(),
)


def packed(start: int, later: int, told: list[Event], *, old: bool) -> Packed:
    one = pack(told, old=old)
    return Packed(one.entry, start + later, one.text)


def hours_of(tally: Tally) -> Counter[HourKey]:
    found: Counter[HourKey] = Counter()
    for hour, keys in tally.hours.items():
        for key, n in keys.items():
            code, kind, target, channel, account, client, detail = key.split("|")
            found[code, hour, kind, target, int(channel), account, client, detail] += n
    return found


@given(st.lists(entries, max_size=12), st.sampled_from(ZONES))
def test_lines_are_counted_as_their_events_are_one_by_one(
    told: list[tuple[int, int, list[Event], bool]], time_zone: str
) -> None:
    run = [packed(start, later, some, old=old) for start, later, some, old in told]
    one_by_one = [event for entry in run for event in unpack(entry)]
    tally = Tally(time_zone)
    for entry in run:
        tally.add(entry.at_ms, entry.lines())
    tally.close()
    assert tally.moves == fold(one_by_one)
    assert hours_of(tally) == by_hour(one_by_one, time_zone)
    assert tally.events == len(one_by_one)


@given(st.lists(events, min_size=1, max_size=9), st.booleans())
def test_a_line_has_the_fields_of_its_event_in_their_order(told: list[Event], old: bool) -> None:  # noqa: FBT001
    entry = pack(told, old=old)
    spelt = ["|".join([e.kind.value, e.code, e.client, e.seat.replace(".", "|"), e.detail]) for e in unpack(entry)]
    assert entry.lines() == spelt


@given(st.text("c|.\n\\\r\0\tv1", max_size=40))
@example("c|d|wechat|1.t.a.2.3.v|\n")
@example("c|d|wechat|1.t.a.2.3.v|\n\nc|d|wechat|1.t.a.2.3.v|")
@example("c|d|wechat|1.t.a.2.3.v|x|y")
@example("c|d.e|wechat|1.t.a.2.3|")
@example("c.d|wechat|1|t.a.2.3.v|")
def test_a_text_is_either_lines_of_ten_fields_or_refused(text: str) -> None:
    try:
        lines = Packed("7-1", 5, text).lines()
    except ValueError:
        return
    assert [line.count("|") for line in lines] == [9] * len(lines)
    # What is told differently is what Seat.parse refuses, so that nothing slips into another field.
    for line, own in zip(lines, text.split("\n"), strict=True):
        kind, code, client, seat, detail = (*own.split("|"), "")[:5]
        assert line == "|".join([kind, code, client, *seat.split("."), detail])


@pytest.mark.parametrize("odd", ["\\", "\r", "\0", ".", "|", "\n"])
@pytest.mark.parametrize(
    "line", ["c|d{}|wechat|1.t.a.2.3.v|", "c|d|wechat|1.t.a.2.3.v{}|", "c|d|wechat|1.t.a.2.3.v|x{}"]
)
def test_what_could_be_taken_for_a_field_or_a_row_is_refused(line: str, odd: str) -> None:
    assert Packed("7-1", 5, line.format("")).lines()
    with pytest.raises(ValueError, match="entry 7-1 does not hold events"):
        Packed("7-1", 5, line.format(odd)).lines()


def test_a_kind_that_nobody_knows_is_refused() -> None:
    tally = Tally("Asia/Shanghai")
    tally.add(5, Packed("7-1", 5, "q|d|wechat|1.t.a.2.3.v|").lines())
    with pytest.raises(ValueError, match="kind q"):
        tally.close()


def test_what_moved_no_target_is_named_once() -> None:
    tally = Tally("Asia/Shanghai")
    moving = ["c|moved|wechat|5|t|||0|v|", "s|moved|wechat|5|t|||0|v|", "k|moved||1|t|||0||"]
    tally.add(0, [*moving, *["r|came|wechat|5|u|||0|v|", "m|menu|wechat|0||||0|v|"] * 3])
    tally.close()
    assert tally.named == {("came", "u"), ("menu", "")}
