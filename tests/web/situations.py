"""Everything that a scan can end with: how to get there, through the API, the clock, or a Redis that is away."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import httpx
import pytest
from redis.asyncio import Redis

from tests.conftest import Clock
from tests.kinds.conftest import group
from tests.kinds.test_outside_wechat import SAFARI
from tests.kinds.test_staff import adviser, staff
from tests.running import PHONE
from tests.scanning import PUBLIC_URL, Process
from tests.web.api.steps import contact, done, make_code

SHOP: Final = "https://shop.example/"
MONDAYS: Final = [{"days": ["mon"], "from": "09:00", "to": "18:00"}]


@dataclass
class Stage:
    """What situations are made with. Its clock stands at a Saturday, 18:00 in Shanghai."""

    process: Process
    api: httpx.AsyncClient
    clock: Clock
    away: Redis
    monkeypatch: pytest.MonkeyPatch

    async def edit(self, path: str, **fields: Any) -> None:
        done(await self.api.patch(path, json=fields))

    async def link(self, **fields: Any) -> dict[str, Any]:
        code = await make_code(self.api, kind="link", **fields)
        done(await self.api.post(f"/codes/{code['id']}/targets", json={"url": SHOP}), 201)
        return code

    async def menu(self, **fields: Any) -> dict[str, Any]:
        menu, goal = await make_code(self.api, kind="menu", name="选一个", **fields), await group(self.api, 5)
        options = {"options": [{"label": "上海", "hint": "周末", "code_id": goal["id"]}]}
        done(await self.api.put(f"/codes/{menu['id']}/options", json=options))
        return menu


@dataclass
class Ask:
    """How a visitor asks."""

    slug: str
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, stage: Stage, **headers: str) -> httpx.Response:
        """Ask as a visitor without cookies, from a network of the internet."""
        transport = httpx.ASGITransport(stage.process.app, client=("203.0.113.7", 4711))
        async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client:
            return await client.get(f"/{self.slug}", headers={"User-Agent": PHONE, **headers, **self.headers})


class Situation(NamedTuple):
    outcome: str
    reason: str | None
    make: Callable[[Stage], Awaitable[Ask]]


SITUATIONS: Final[dict[str, Situation]] = {}


def situation(outcome: str, reason: str | None = None) -> Callable[[Any], Any]:
    def keep(make: Callable[[Stage], Awaitable[Ask]]) -> Callable[[Stage], Awaitable[Ask]]:
        SITUATIONS[make.__name__.strip("_")] = Situation(outcome, reason, make)
        return make

    return keep


@situation("claimed")
async def _a_group(stage: Stage) -> Ask:
    return Ask((await group(stage.api, 5))["slug"])


@situation("claimed")
async def _a_link(stage: Stage) -> Ask:
    return Ask((await stage.link())["slug"])


@situation("claimed")
async def _an_option(stage: Stage) -> Ask:
    return Ask(f"{(await stage.menu())['slug']}/1")


@situation("returned")
async def _a_seat_that_is_carried(stage: Stage) -> Ask:
    code = await group(stage.api, 5)
    first = await Ask(code["slug"]).send(stage, Accept="application/json")
    return Ask(code["slug"], {"X-Huoma-Seat": first.json()["seat"]})


@situation("fallback")
async def _a_fallback_to_a_link(stage: Stage) -> Ask:
    return Ask((await group(stage.api, 0, fallback={"url": SHOP}))["slug"])


@situation("fallback")
async def _a_fallback_to_a_qr(stage: Stage) -> Ask:
    goal = {"payload": contact(), "message": "群满了，请加客服"}
    return Ask((await group(stage.api, 0, fallback=goal))["slug"])


@situation("fallback")
async def _a_fallback_to_a_code(stage: Stage) -> Ask:
    goal = await group(stage.api, 5)
    return Ask((await group(stage.api, 0, fallback={"code_id": goal["id"]}))["slug"])


@situation("fallback")
async def _a_fallback_to_a_menu(stage: Stage) -> Ask:
    return Ask((await group(stage.api, 0, fallback={"code_id": (await stage.menu())["id"]}))["slug"])


@situation("full", "full")
async def _all_full(stage: Stage) -> Ask:
    return Ask((await group(stage.api, 0))["slug"])


@situation("full", "capped")
async def _all_capped(stage: Stage) -> Ask:
    slug = (await staff(stage.api, await adviser(stage.api, "Ann", 1)))["slug"]
    await stage.process.phone().visit(slug)
    return Ask(slug)


@situation("full", "off_shift")
async def _all_off_shift(stage: Stage) -> Ask:
    return Ask((await staff(stage.api, await adviser(stage.api, "Ann", shifts=MONDAYS)))["slug"])


@situation("full", "unavailable")
async def _all_away(stage: Stage) -> Ask:
    ann = await adviser(stage.api, "Ann")
    done(await stage.api.put(f"/accounts/{ann['id']}/availability", json={"available": False}))
    return Ask((await staff(stage.api, ann))["slug"])


@situation("full", "expired")
async def _all_expired(stage: Stage) -> Ask:
    code = await group(stage.api, 5)
    stage.clock.forward(days=8)
    return Ask(code["slug"])


@situation("full", "paused")
async def _all_paused(stage: Stage) -> Ask:
    code = await group(stage.api, 5)
    await stage.edit(f"/targets/{code['targets'][0]['id']}", status="paused")
    return Ask(code["slug"])


@situation("full", "empty")
async def _no_group_yet(stage: Stage) -> Ask:
    return Ask((await make_code(stage.api))["slug"])


@situation("preview")
async def _a_prefetch(stage: Stage) -> Ask:
    return Ask((await group(stage.api, 5))["slug"], {"Sec-Purpose": "prefetch"})


@situation("outside_wechat")
async def _outside_wechat(stage: Stage) -> Ask:
    return Ask((await group(stage.api, 5, wechat_only=True))["slug"], {"User-Agent": SAFARI})


@situation("menu")
async def _a_menu(stage: Stage) -> Ask:
    return Ask((await stage.menu())["slug"])


@situation("limited")
async def _too_many_from_one_network(stage: Stage) -> Ask:
    code = await group(stage.api, 5, new_seats_per_minute=1)
    await Ask(code["slug"]).send(stage)
    return Ask(code["slug"])


@situation("unavailable")
async def _redis_away(stage: Stage) -> Ask:
    code = await group(stage.api, 5)
    await Ask(code["slug"]).send(stage)
    stage.monkeypatch.setattr(stage.process.batcher, "_redis", stage.away)
    stage.monkeypatch.setattr(stage.process.recaller, "_redis", stage.away)
    return Ask(code["slug"])


@situation("disabled")
async def _disabled(stage: Stage) -> Ask:
    return Ask((await group(stage.api, 5, disabled=True))["slug"])


@situation("ended")
async def _over(stage: Stage) -> Ask:
    return Ask((await group(stage.api, 5, closes_at="2026-11-01T00:00:00Z"))["slug"])


@situation("not_open")
async def _not_open_yet(stage: Stage) -> Ask:
    return Ask((await group(stage.api, 5, opens_at="2026-12-01T18:00:00+08:00"))["slug"])


@situation("unknown")
async def _never_made(_: Stage) -> Ask:
    return Ask("never-made")


@situation("closed")
async def _closed(stage: Stage) -> Ask:
    code = await group(stage.api, 5)
    assert (await stage.api.delete(f"/codes/{code['id']}")).status_code == 204
    return Ask(code["slug"])
