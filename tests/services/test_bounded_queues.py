"""What waits or is remembered has a bound, and what comes beyond it is refused or forgotten without harm."""

import asyncio

from redis.asyncio import Redis

from app.counters import claims, keys
from app.domain.code import CodeId
from app.domain.errors import CountersAway
from app.domain.rotation import Verdict
from app.services.batching import BATCH, WAITING_MAX
from tests.conftest import Clock
from tests.scanning import Make, Process

REOPENED = 1_000


async def test_scans_beyond_the_queue_of_a_workspace_are_refused_at_once(process: Process, code: Make) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    entry = await process.recaller.entry(CodeId(made.id))
    ask = claims.note("p", 0, "v", "wechat")
    answers = await asyncio.gather(
        *(process.batcher.ask(entry, None, ask) for _ in range(BATCH * WAITING_MAX + 10)), return_exceptions=True
    )
    assert [type(one) for one in answers[-10:]] == [CountersAway] * 10
    assert set(answers[:-10]) == {Verdict.NOTED}
    assert process.batcher.waiting(made.workspace) == 0


async def test_no_more_re_openings_are_remembered_than_a_thousand(
    process: Process, code: Make, redis: Redis, clock: Clock
) -> None:
    made = await code(5)
    await process.phone().scan(made.slug)
    meta, counts, holds, _, reopened = keys.code_keys(made.workspace, CodeId(made.id))
    others = [f"t{n}" for n in range(REOPENED + 200)]
    await redis.hset(counts, mapping={field: 1 for other in others for field in (other, f"{other}:held")})
    await redis.zadd(holds, {f"{n}.{other}..20778.0.v": 0 for n, other in enumerate(others)})
    await redis.zadd(keys.due(made.workspace), {made.id: 0})

    while await redis.zcount(holds, 0, 0):
        assert await process.reconciler.sweep(made.workspace) > 0

    assert await redis.zcard(reopened) == REOPENED
    # A process that has heard of less than that reads the code anew.
    assert await redis.hget(meta, "floor") == str(int(await redis.hget(meta, "seq") or 0) - REOPENED)
