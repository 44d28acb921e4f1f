"""Kill every kind of process in the middle of a crowd, or stop a server: nothing is lost, and few wait."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, cast

import httpx
import pytest

from app import serving
from app.embedded.locks import until
from chaos.postgresql import stopped
from chaos.processes import serves
from tests.running import PHONE, Service, Visited, make_code, running_service, server_folder, visit, web_processes


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Run everything apart from the others' service, since its parts will be killed."""
    with server_folder() as folder, running_service(folder, workers=2) as service:
        yield service


async def stubborn_crowd(url: str, slug: str, visitors: int, connections: int) -> list[Visited]:
    """Send visitors who try again when nobody answers, or when they are told to."""
    met: list[Visited] = []
    waiting = iter(range(visitors))

    async def one_after_another() -> None:
        async with httpx.AsyncClient(
            base_url=url, headers={"User-Agent": PHONE}, trust_env=False, timeout=20, verify=False
        ) as client:
            for _ in waiting:
                client.cookies.clear()
                while True:
                    with suppress(httpx.TransportError):
                        visited = await visit(client, slug)
                        if visited.outcome != "unavailable" and visited.picture != "unavailable":
                            met.append(visited)
                            break
                    await asyncio.sleep(0.05)

    await asyncio.gather(*(one_after_another() for _ in range(connections)))
    return met


def check(service: Service, code: str, met: list[Visited], limits: list[int]) -> None:
    """Insist that nobody was shown a group that was full, and that counters and record tell the same."""
    assert len(met) == 400
    shown = Counter(visited.target for visited in met if visited.picture in ("claimed", "returned"))
    service.wait_until_drained()
    with service.api as api:
        targets = api.get(f"/codes/{code}/targets").raise_for_status().json()["items"]
    for target, limit in zip(targets, limits, strict=True):
        assert shown[target["id"]] <= target["seen"] <= limit
        assert target["taken"] <= limit
    # A page whose answer was lost holds a place until its time is up; nothing else may be missing.
    assert sum(shown.values()) + sum(t["held"] for t in targets) >= sum(limits) - 40


LIMITS = [100, 100, 100]


def test_redis_is_killed_and_comes_back(service: Service) -> None:
    code, slug = make_code(service, "poster", LIMITS, hold_seconds=10)

    async def story() -> list[Visited]:
        crowd = asyncio.create_task(stubborn_crowd(service.url, slug, 400, 20))
        for _ in range(3):
            await asyncio.sleep(0.4)
            await asyncio.to_thread(service.servers.redis.kill)
            await asyncio.to_thread(service.servers.redis.start)
        return await crowd

    check(service, code, asyncio.run(story()), LIMITS)


def test_postgresql_is_killed_and_comes_back(service: Service) -> None:
    code, slug = make_code(service, "poster", LIMITS, hold_seconds=10)
    asyncio.run(_warm(service, slug))

    async def story() -> list[Visited]:
        crowd = asyncio.create_task(stubborn_crowd(service.url, slug, 400, 20))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(service.servers.postgres.kill)
        await asyncio.sleep(1)
        await asyncio.to_thread(service.servers.postgres.start)
        return await crowd

    check(service, code, asyncio.run(story()), LIMITS)


def test_the_drain_is_killed_again_and_again(service: Service) -> None:
    code, slug = make_code(service, "poster", LIMITS, hold_seconds=10)

    async def story() -> list[Visited]:
        crowd = asyncio.create_task(stubborn_crowd(service.url, slug, 400, 20))
        for _ in range(4):
            await asyncio.sleep(0.8)
            service.children["worker"].kill()
            service.children.pop("worker").wait()
            service.start("worker")
        return await crowd

    check(service, code, asyncio.run(story()), LIMITS)


def test_web_processes_are_killed_and_others_go_on(service: Service) -> None:
    code, slug = make_code(service, "poster", LIMITS, hold_seconds=10)

    async def story() -> list[Visited]:
        crowd = asyncio.create_task(stubborn_crowd(service.url, slug, 400, 20))
        for _ in range(2):
            await asyncio.sleep(0.5)
            os.kill(web_processes(service)[0], signal.SIGKILL)
        return await crowd

    check(service, code, asyncio.run(story()), LIMITS)


def test_a_web_process_that_dies_while_it_starts_is_followed_by_another_at_once(service: Service) -> None:
    """Being asked for a sign of life when it dies, it is waited for no longer."""
    for _ in range(3):
        before = set(web_processes(service))
        for process in before:
            os.kill(process, signal.SIGKILL)
        assert until(partial(_others, service, before), 10)
        # Long enough to be asked, too short to answer.
        time.sleep(0.8)
    began = time.monotonic()
    service.wait_until_ready()
    assert until(lambda: len([one for one in web_processes(service) if serves(one)]) == 2, serving.START_SECONDS)
    assert time.monotonic() - began < serving.START_SECONDS


def test_who_asks_while_redis_is_silent_is_told_at_once_but_for_a_few(service: Service) -> None:
    _, slug = make_code(service, "poster", LIMITS)
    asyncio.run(_warm(service, slug))
    headers = {"User-Agent": PHONE, "Connection": "close"}

    async def told(visitor: httpx.AsyncClient, after: float) -> float:
        await asyncio.sleep(after)
        began = time.monotonic()
        assert (await visitor.get(f"/{slug}")).headers["x-huoma-outcome"] == "unavailable"
        return time.monotonic() - began

    async def story() -> list[float]:
        async with httpx.AsyncClient(base_url=service.url, headers=headers, trust_env=False, timeout=20) as visitor:
            # By then every process has waited in vain.
            await asyncio.gather(*(told(visitor, 0.0) for _ in range(20)))
            return await asyncio.gather(*(told(visitor, 0.05 * number) for number in range(60)))

    redis = service.servers.redis.pid
    assert redis
    os.kill(redis, signal.SIGSTOP)
    try:
        took = asyncio.run(story())
    finally:
        os.kill(redis, signal.SIGCONT)
    # One a second in each of two processes waits; the rest is for a busy machine.
    assert sum(one < 0.3 for one in took) > 40, [round(one, 2) for one in took]


def test_who_watches_sees_what_waits_while_postgresql_is_away(service: Service) -> None:
    _, slug = make_code(service, "poster", LIMITS)
    asyncio.run(_warm(service, slug))
    with httpx.Client(base_url=service.url, headers={"User-Agent": PHONE}, trust_env=False) as visitor:
        # Every process has met the workspace, and shows what it saw then for some seconds.
        for _ in range(20):
            visitor.get("/metrics", headers={"Connection": "close"})
        service.servers.postgres.kill()
        try:
            assert visitor.get(f"/{slug}").headers["x-huoma-outcome"] == "claimed"

            def told() -> bool:
                behind = visitor.get("/readyz", headers={"Connection": "close"}).json()["behind"]
                return behind is not None and behind["entries"] > 0 and behind["seconds"] > 0

            assert until(told, 20)
        finally:
            service.servers.postgres.start()
    service.wait_until_drained()


def test_who_asks_whether_it_is_ready_waits_once_while_postgresql_is_silent(service: Service) -> None:
    took = []
    with httpx.Client(base_url=service.url, trust_env=False, timeout=20) as balancer, stopped(cast("Any", service)):
        for _ in range(4):
            began = time.monotonic()
            assert balancer.get("/readyz").json()["postgresql"] == "away"
            took.append(time.monotonic() - began)
            # What was told of the backlog is old by then.
            time.sleep(2.6)
    # HUOMA_DATABASE_CONNECT_SECONDS, and what a busy machine adds.
    assert max(took) < 3.5, took
    service.wait_until_ready()


def test_everything_stops_in_order_when_asked(service: Service) -> None:
    assert service.stop("serve") == 0
    assert service.stop("worker") == 0
    assert service.run("verify").returncode == 0


def _others(service: Service, before: set[int]) -> bool:
    return bool(set(web_processes(service)) - before)


async def _warm(service: Service, slug: str) -> None:
    async with httpx.AsyncClient(base_url=service.url, headers={"User-Agent": "mpcrawler"}, trust_env=False) as bot:
        for _ in range(20):
            await bot.get(f"/{slug}", headers={"Connection": "close"})
