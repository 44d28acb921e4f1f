"""Scan while Redis is away: who has seen his QR keeps it, nobody else is given anything."""

import pytest
from redis.asyncio import Redis

from tests.conftest import Clock
from tests.scanning import Make, Process


@pytest.fixture
def lose_redis(process: Process, away_redis: Redis, monkeypatch: pytest.MonkeyPatch) -> object:
    """Cut the process off from Redis when called."""

    def cut() -> None:
        monkeypatch.setattr(process.batcher, "_redis", away_redis)
        monkeypatch.setattr(process.recaller, "_redis", away_redis)

    return cut


async def test_who_has_seen_his_qr_keeps_it_and_nobody_else_is_given_one(
    process: Process, code: Make, redis: Redis, lose_redis: object
) -> None:
    made = await code(5)
    seen, held = process.phone(), process.phone()
    await seen.visit(made.slug)
    page_of_held = await held.scan(made.slug)
    assert callable(lose_redis)
    lose_redis()

    again = await seen.scan(made.slug)
    picture = await seen.look(again)
    waiting = await held.scan(made.slug)
    picture_of_held = await held.look(page_of_held)
    new = await process.phone().scan(made.slug)

    assert (again.outcome, again.target, picture.headers["x-huoma-outcome"]) == (
        "returned", made.targets[0], "returned",
    )  # fmt: skip
    assert picture.headers["content-type"] == "image/png"
    assert picture_of_held.headers["x-huoma-outcome"] == "unavailable", "nobody could note that it was seen"
    assert [(one.status, one.outcome) for one in (waiting, new)] == [(503, "unavailable")] * 2
    assert int(new.headers["retry-after"]) > 0
    assert 'http-equiv="refresh"' in new.text
    assert await made.places(redis) == [(2, 1)]


async def test_a_dead_group_is_not_shown_even_then(
    process: Process, code: Make, clock: Clock, lose_redis: object
) -> None:
    made = await code(5)
    seen = process.phone()
    await seen.visit(made.slug)
    assert callable(lose_redis)
    lose_redis()
    clock.forward(days=8)
    assert (await seen.scan(made.slug)).outcome == "unavailable"


async def test_a_code_that_the_process_never_met_is_unavailable_and_not_unknown(
    process: Process, code: Make, lose_redis: object
) -> None:
    made = await code(5)
    assert callable(lose_redis)
    lose_redis()
    assert (await process.phone().scan(made.slug)).outcome == "unavailable"
