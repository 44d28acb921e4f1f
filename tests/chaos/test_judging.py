"""What `make chaos` makes of what visitors met and what is left: every wrong must be seen."""

from dataclasses import replace

import pytest

from chaos.judging import Recorded, Remains, judged
from chaos.report import laid_out
from chaos.row import Row
from chaos.visitors import Answer, Met

SEATS = [f"{number}.tA..20000.0.visitor{number}" for number in (1, 2)]


def answer(person: int, asked: str, outcome: str, seat: str, *, at: float = 0.0, new: bool = True) -> Answer:
    return Answer(person, new, at, 0.1, asked, 200, outcome, seat)  # type: ignore[arg-type]


def visited(person: int, seat: str) -> list[Answer]:
    """Scan, see the QR, come back."""
    return [
        answer(person, "page", "claimed", seat),
        answer(person, "picture", "claimed", seat),
        answer(person, "page", "returned", seat, at=1.0, new=False),
    ]


def recorded(*told: str) -> list[Recorded]:
    """Spell events as `kind seat`, seats counted from 0."""
    return [
        Recorded(f"1-{n}-0", one.split()[0], seat, seat.rpartition(".")[2])
        for n, one in enumerate(told)
        for seat in [SEATS[int(one.split()[1])]]
    ]


TOLD = ["c 0", "s 0", "r 0", "c 1", "s 1", "r 1"]
GOOD = Remains({"tA": 2}, recorded(*TOLD), {"tA": 2}, {"tA": 2})


def met() -> Met:
    return Met([*visited(0, SEATS[0]), *visited(1, SEATS[1])])


def test_what_went_well_is_told_as_such() -> None:
    found = judged(met(), GOOD)
    assert (found.places, found.over_given, found.lost, found.doubled, found.broken) == (2, 0, 0, 0, ())


@pytest.mark.parametrize(
    ("remains", "wrong"),
    [
        (replace(GOOD, limits={"tA": 1}), (3, 0, 0)),
        (replace(GOOD, totals={"tA": 3}), (1, 0, 0)),
        (replace(GOOD, counted={"tA": 4}), (2, 0, 0)),
        (replace(GOOD, events=recorded(*TOLD[:3])), (0, 1, 0)),
        (replace(GOOD, events=recorded("c 0", "r 0", *TOLD[3:])), (0, 1, 0)),
        (replace(GOOD, events=[*GOOD.events, GOOD.events[2]]), (0, 0, 1)),
        (replace(GOOD, events=recorded(*TOLD, "c 1")), (0, 0, 1)),
        (replace(GOOD, events=recorded(*TOLD, "x 1")), (0, 0, 1)),
        (replace(GOOD, events=recorded(*TOLD, "r 1", "r 1")), (0, 0, 1)),
    ],
)
def test_what_went_wrong_is_counted_and_named(remains: Remains, wrong: tuple[int, int, int]) -> None:
    found = judged(met(), remains)
    assert (found.over_given, found.lost, found.doubled) == wrong
    assert found.broken


def test_a_place_shown_to_two_people_is_doubled() -> None:
    found = judged(Met([*visited(0, SEATS[0]), *visited(1, SEATS[0])]), replace(GOOD, events=recorded(*TOLD[:3])))
    assert found.doubled == 1


@pytest.mark.parametrize("instead", [SEATS[1], ""])
def test_who_is_not_shown_his_place_again_is_named(instead: str) -> None:
    answers = visited(0, SEATS[0])
    answers[-1] = answers[-1]._replace(seat=instead, outcome="claimed" if instead else "unavailable")
    assert "without the place" in "".join(judged(Met(answers), GOOD).broken)


def test_gaps_are_those_in_which_somebody_asked() -> None:
    away = [answer(2, "page", "unavailable", "", at=at) for at in (10.0, 12.0)]
    answers = [answer(0, "page", "claimed", SEATS[0]), *away, answer(1, "page", "claimed", SEATS[1], at=13.9)]
    told = Met(answers, [(10.0, 13.0)])
    assert told.gap_seconds(new=True) == pytest.approx(4.0)
    assert told.gap_seconds(new=False) == 0.0
    assert told.back_seconds() == pytest.approx(1.0)


def test_the_table_has_a_line_for_each_fault() -> None:
    row = Row("Redis is killed", "kill -9", 1_200, 300, 0, 0, 0, 0, 1.5, {"claimed": 300}, back_seconds=0.25)
    lines = laid_out([row]).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:6]] == ["Redis is killed", "1,200", "300", "0", "0"]
    assert "300 claimed" in lines[-1]
