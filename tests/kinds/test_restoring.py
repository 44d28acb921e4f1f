"""A removed target comes back with its places: never one too many, whatever happened meanwhile."""

import httpx
from redis.asyncio import Redis

from app.counters import keys
from app.domain.code import CodeId
from tests.conftest import Clock
from tests.scanning import Make, Process
from tests.web.api.steps import done, refused


async def test_a_restored_target_gives_only_the_places_that_it_has_left(
    process: Process, another_process: Process, code: Make, api: httpx.AsyncClient, redis: Redis
) -> None:
    made = await code(3, 9)
    phones = [process.phone() for _ in range(2)]
    assert {(await phone.visit(made.slug)).target for phone in phones} == {made.targets[0]}
    # A third one holds a place when the target goes, and sees it afterwards or never.
    third = await another_process.phone().scan(made.slug)
    assert third.target == made.targets[0]
    assert (await api.delete(f"/targets/{made.targets[0]}")).status_code == 204
    assert (await phones[0].visit(made.slug)).target == made.targets[1], "who has a place in it is given another"
    back = done(await api.post(f"/targets/{made.targets[0]}/restore"))
    assert (back["taken"], back["state"], back["counts"]) == (3, "full", "live")
    for one in (process, another_process):
        assert (await one.phone().visit(made.slug)).target == made.targets[1]
    assert (await phones[1].visit(made.slug)).outcome == "returned"


async def test_a_restored_target_has_its_places_when_redis_was_lost_meanwhile(
    process: Process, code: Make, api: httpx.AsyncClient, redis: Redis
) -> None:
    made = await code(2, 9)
    assert (await process.phone().visit(made.slug)).target == made.targets[0]
    await process.drain.all_of(made.workspace)
    assert (await api.delete(f"/targets/{made.targets[0]}")).status_code == 204
    await redis.delete(*keys.code_keys(made.workspace, CodeId(made.id)))
    await process.phone().visit(made.slug)
    assert done(await api.post(f"/targets/{made.targets[0]}/restore"))["taken"] == 1
    met = [(await process.phone().visit(made.slug)).target for _ in range(2)]
    assert met == [made.targets[0], made.targets[1]]


async def test_what_has_expired_comes_back_expired(
    process: Process, code: Make, api: httpx.AsyncClient, clock: Clock
) -> None:
    made = await code(2)
    assert (await api.delete(f"/targets/{made.targets[0]}")).status_code == 204
    clock.forward(days=8)
    assert done(await api.post(f"/targets/{made.targets[0]}/restore"))["state"] == "expired"
    assert (await process.phone().visit(made.slug)).outcome == "full"


async def test_a_restored_target_of_a_balance_stands_with_the_others(
    process: Process, code: Make, api: httpx.AsyncClient
) -> None:
    made = await code(99, 99, strategy="balance")
    assert (await api.delete(f"/targets/{made.targets[0]}")).status_code == 204
    for _ in range(6):
        assert (await process.phone().visit(made.slug)).target == made.targets[1]
    done(await api.post(f"/targets/{made.targets[0]}/restore"))
    met = [(await process.phone().visit(made.slug)).target for _ in range(6)]
    assert met.count(made.targets[0]) == 3
    refused(await api.post(f"/targets/{'0' * 16}/restore"), 404, "not_found")
