"""Slugs that were never made are told without asking the record, and none that was made is ever called unknown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import keys, sieve
from app.counters.server import connect
from app.domain.code import Slug
from app.domain.errors import CountersAway, StoreAway
from app.domain.workspace import Workspace
from app.embedded import EmbeddedServers
from app.services import finding
from app.services.sifting import SieveMaker, Sifter, print_slug
from app.store import tables
from app.store.database import Database
from tests.running import server_folder
from tests.scanning import Make, Process
from tests.services.test_cost import costing as costing  # noqa: PLC0414
from tests.web.api.steps import done, make_code


@pytest.fixture
async def maker(database: Database, redis: Redis) -> AsyncIterator[SieveMaker]:
    await sieve.forget(redis)
    maker = SieveMaker(database, redis)
    assert await maker.keep()
    yield maker
    await sieve.forget(redis)


async def passes(redis: Redis, slug: str) -> bool:
    [told] = await sieve.sift(redis, [Slug(slug)])
    return told.may_be


@pytest.mark.usefixtures("maker")
async def test_slugs_that_were_never_made_cost_no_statement_and_share_round_trips(
    process: Process, code: Make, costing: Any
) -> None:
    made = await code(200)
    await process.phone().visit(made.slug)
    phones = [process.phone() for _ in range(100)]

    async def tried_out() -> None:
        told = await asyncio.gather(*(phone.scan(f"tried-{n}") for n, phone in enumerate(phones)))
        assert {(seen.status, seen.outcome) for seen in told} == {(404, "unknown")}

    cost = await costing(tried_out)
    assert len(cost.statements) <= 4, "one in a thousand may pass"
    assert cost.trips <= 20


@pytest.mark.usefixtures("maker")
async def test_codes_and_channels_made_after_the_sieve_pass_it(
    process: Process, another_process: Process, api: httpx.AsyncClient
) -> None:
    for slug in ({}, {"slug": "after-the-sieve"}):
        made = await make_code(api, **slug)
        channel = done(await api.post(f"/codes/{made['id']}/channels", json={"name": "n"}), 201)
        for one in (process, another_process):
            for path in (made["slug"], channel["slug"]):
                assert (await one.phone().scan(path)).outcome != "unknown"


async def test_codes_made_before_the_sieve_pass_it(process: Process, code: Make, maker: SieveMaker) -> None:
    made = await code(5)
    await sieve.forget(maker._redis)
    assert await maker.keep()
    assert not await maker.keep(), "one is enough"
    assert (await process.phone().scan(made.slug)).outcome == "claimed"


@pytest.mark.usefixtures("maker")
async def test_a_slug_that_was_asked_for_is_known_once_it_is_made(
    process: Process, another_process: Process, api: httpx.AsyncClient, redis: Redis
) -> None:
    for lost in (False, True):
        slug = f"asked-before-{lost}"
        if lost:
            await sieve.forget(redis)
        for one in (process, another_process):
            assert [(await one.phone().scan(slug)).outcome for _ in range(2)] == ["unknown"] * 2
        await make_code(api, slug=slug)
        for one in (process, another_process):
            assert (await one.phone().scan(slug)).outcome != "unknown"


async def test_without_a_sieve_the_record_is_asked_once_for_each_slug(
    process: Process, code: Make, redis: Redis, costing: Any
) -> None:
    await sieve.forget(redis)
    made = await code(5)
    assert (await process.phone().scan(made.slug)).outcome == "claimed"
    seen = []

    async def scans() -> None:
        seen.extend(await asyncio.gather(*(process.phone().scan("no-sieve") for _ in range(50))))
        seen.append(await process.phone().scan("no-sieve"))

    cost = await costing(scans)
    assert {one.outcome for one in seen} == {"unknown"}
    assert len([text for text in cost.statements if "slugs" in text]) == 1


async def test_a_slug_that_is_being_made_while_a_sieve_is_passes_it(
    database: Database, redis: Redis, api: httpx.AsyncClient, maker: SieveMaker, workspace: Workspace
) -> None:
    code = await make_code(api)
    async with database.writing() as tx:
        # Put into the old sieve, and not yet to be read by who makes the new one.
        await print_slug(tx, redis, Slug("half-made"))
        row = {"slug": "half-made", "workspace_id": workspace.id, "code_id": code["id"], "channel": 77}
        await tx.execute(sa.insert(tables.slugs).values(row))
        making = asyncio.create_task(maker.make())
        done_, _ = await asyncio.wait([making], timeout=0.3)
        assert not done_, "it waits for who is making a slug"
    assert await making
    assert await passes(redis, "half-made")


@pytest.mark.usefixtures("maker")
async def test_a_slug_made_while_a_sieve_is_being_made_passes_it(redis: Redis, api: httpx.AsyncClient) -> None:
    assert await sieve.begin(redis, "mine", 1 << 20)
    code = await make_code(api)
    assert await sieve.place(redis, "mine", 0)
    assert await passes(redis, code["slug"]), "it was put into the draft, too"
    assert not await passes(redis, "never-made")


async def test_only_one_of_many_makes_a_sieve(database: Database, redis: Redis, maker: SieveMaker) -> None:
    assert sorted(await asyncio.gather(*(SieveMaker(database, redis).keep() for _ in range(4)))) == [
        False, False, False, True,
    ]  # fmt: skip


async def test_a_sieve_whose_making_was_cut_off_is_never_believed(redis: Redis, api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    await sieve.forget(redis)
    assert await sieve.begin(redis, "dies", 1 << 20)
    assert await passes(redis, code["slug"]), "there is none yet"
    await redis.delete(keys.SIEVE_DRAFT)
    assert not await sieve.put(redis, [Slug("x")], "dies")
    assert not await sieve.place(redis, "dies", 1)
    assert await sieve.begin(redis, "next", 1 << 20), "somebody else may try"
    assert not await sieve.place(redis, "dies", 1)
    await sieve.forget(redis)


async def test_an_overfull_sieve_is_made_anew(redis: Redis, maker: SieveMaker) -> None:
    assert not await maker.keep()
    size = int(await redis.hget(keys.SIEVE_HEAD, "size") or 0)
    before = int(await redis.hget(keys.SIEVE_HEAD, "slugs") or 0)
    await sieve.put(redis, [Slug("counted-once")] * 2)
    assert int(await redis.hget(keys.SIEVE_HEAD, "slugs") or 0) == before + 1
    await redis.hset(keys.SIEVE_HEAD, "slugs", str(size // 16 + 1))
    assert await maker.keep()
    assert not await maker.keep()


async def test_a_redis_that_was_started_again_is_not_believed_until_a_new_sieve_is_made() -> None:
    # What it had not on disk when it was killed may be the very slug that is printed on a poster.
    with server_folder() as folder:
        for life in range(2):
            with EmbeddedServers(Path(folder)) as servers:
                redis = connect(servers.servers.redis_url, connections=2, timeout_seconds=5)
                if life == 0:
                    assert await sieve.begin(redis, "t", 1 << 20)
                    assert await sieve.place(redis, "t", 0)
                    assert not await passes(redis, "never-made")
                    assert not await sieve.wanted(redis)
                else:
                    assert await redis.exists(keys.SIEVE) == 1
                    assert await passes(redis, "never-made")
                    assert await sieve.wanted(redis)
                await redis.aclose()


async def test_redis_away_makes_nobody_wait_and_nothing_unknown(away_redis: Redis) -> None:
    sifter = Sifter(away_redis)
    told = await asyncio.gather(*(sifter.ask(Slug(f"s{n}")) for n in range(1000)), return_exceptions=True)
    assert {type(one) for one in told} == {CountersAway}


async def test_too_many_that_pass_are_told_to_try_again(
    process: Process, redis: Redis, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sieve.forget(redis)
    monkeypatch.setattr(finding, "LOOKUPS_WAITING", 10)
    async with database.writing() as tx:
        await tx.execute(sa.text("lock table slugs in access exclusive mode"))
        asking = [asyncio.create_task(process.recaller.slug(Slug(f"pass-{n}"))) for n in range(30)]
        await asyncio.sleep(0.2)
        refused = [task for task in asking if task.done()]
        for task in refused:
            with suppress(StoreAway):
                task.result()
                raise AssertionError
    assert len(refused) == 20
    assert await asyncio.gather(*(task for task in asking if task not in refused)) == [None] * 10
