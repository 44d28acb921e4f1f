"""Access rules (准入): hours, switches, and how many may come from one network in a minute."""

from collections import Counter

import httpx
import pytest
from redis.asyncio import Redis

from app.counters import counts
from app.domain.shifts import local_day
from app.domain.visitor import network_of
from app.domain.workspace import Workspace
from app.embedded import Servers
from app.main import Web
from app.settings import Settings
from tests.conftest import Clock
from tests.kinds.conftest import MakeLink, Told, group
from tests.kinds.test_staff import adviser, staff
from tests.running import PHONE
from tests.scanning import PUBLIC_URL, Phone, Process
from tests.web.api.steps import done


def from_(process: Process, address: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(process.app, client=(address, 4711))
    return httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers={"User-Agent": PHONE})


async def scan(process: Process, address: str, slug: str) -> httpx.Response:
    return await from_(process, address).get(f"/{slug}")


async def test_a_network_gets_so_many_new_places_a_minute_and_others_are_not_touched(
    process: Process, another_process: Process, api: httpx.AsyncClient, clock: Clock, told: Told
) -> None:
    """Trap 9: nothing is remembered for an address but how many came.

    Trap 30: who shares an address is still somebody else.
    """
    code = await group(api, 100, new_seats_per_minute=3)
    clock.now = clock.now.replace(second=20)
    met = [
        (await scan(one, "203.0.113.7", code["slug"])) for one in (process, another_process, process, another_process)
    ]
    assert [answer.headers["x-huoma-outcome"] for answer in met] == ["claimed"] * 3 + ["limited"]
    assert (met[3].status_code, met[3].headers["retry-after"]) == (429, "40")
    assert 'http-equiv="refresh"' in met[3].text
    assert (await scan(process, "203.0.113.8", code["slug"])).headers["x-huoma-outcome"] == "claimed"
    clock.forward(seconds=40)
    assert (await scan(process, "203.0.113.7", code["slug"])).headers["x-huoma-outcome"] == "claimed"
    assert (await told.kinds(code))["limited"] == 1


async def test_who_has_a_place_comes_back_however_many_came(process: Process, api: httpx.AsyncClient) -> None:
    code = await group(api, 100, new_seats_per_minute=1)
    phone = from_(process, "203.0.113.7")
    assert (await phone.get(f"/{code['slug']}")).headers["x-huoma-outcome"] == "claimed"
    assert (await scan(process, "203.0.113.7", code["slug"])).headers["x-huoma-outcome"] == "limited"
    assert (await phone.get(f"/{code['slug']}")).headers["x-huoma-outcome"] == "returned"


async def test_links_are_bounded_too_and_zero_is_no_bound(process: Process, link: MakeLink) -> None:
    for rate, expected in ((2, {"claimed": 2, "limited": 3}), (0, {"claimed": 5})):
        code = await link("https://a.example/", new_seats_per_minute=rate)
        met = [await scan(process, "203.0.113.7", code["slug"]) for _ in range(5)]
        assert Counter(answer.headers["x-huoma-outcome"] for answer in met) == expected


async def test_a_household_is_one_network_and_its_address_is_nowhere(
    process: Process, api: httpx.AsyncClient, redis: Redis, workspace: Workspace
) -> None:
    code = await group(api, 100, new_seats_per_minute=1)
    assert (await scan(process, "2001:db8:1:2::1", code["slug"])).headers["x-huoma-outcome"] == "claimed"
    assert (await scan(process, "2001:db8:1:2:ffff::9", code["slug"])).headers["x-huoma-outcome"] == "limited"
    assert (await scan(process, "2001:db8:1:3::1", code["slug"])).headers["x-huoma-outcome"] == "claimed"
    async for key in redis.scan_iter(f"huoma:{{{workspace.id}}}:*:news:*"):
        kept = await redis.hgetall(key)
        assert len(kept) == 2
        assert all("2001" not in network and "db8" not in network for network in kept)
        assert 0 < await redis.pttl(key) <= 120_000


async def flood(process: Process, address: str, slug: str, visitors: int) -> Counter[str]:
    """Send visitors without cookies from one network, who load their pictures."""
    met = [await Phone(from_(process, address)).visit(slug) for _ in range(visitors)]
    return Counter(seen.outcome for seen in met)


async def test_a_flood_from_one_network_cannot_use_up_an_advisers_day(
    process: Process, api: httpx.AsyncClient, redis: Redis, workspace: Workspace, clock: Clock
) -> None:
    clock.now = clock.now.replace(minute=0)
    ann = await adviser(api, "Ann", 40)
    code = await staff(api, ann)
    assert await flood(process, "203.0.113.7", code["slug"], 30) == {"claimed": 10, "limited": 20}
    clock.forward(minutes=50)
    assert await flood(process, "203.0.113.7", code["slug"], 5) == {"limited": 5}, "a pause makes no difference"
    assert await flood(process, "203.0.113.8", code["slug"], 1) == {"claimed": 1}
    day = local_day(clock(), "Asia/Shanghai")
    assert await counts.adds(redis, workspace.id, day, [ann["id"]]) == {ann["id"]: 11}
    clock.forward(minutes=10)
    assert await flood(process, "203.0.113.7", code["slug"], 11) == {"claimed": 10, "limited": 1}


async def test_the_holds_of_a_flood_come_back(
    process: Process, api: httpx.AsyncClient, redis: Redis, workspace: Workspace, clock: Clock
) -> None:
    ann = await adviser(api, "Ann", 12)
    code = await staff(api, ann, new_seats_per_minute=1_000)
    for i in range(12):
        await scan(process, f"198.51.100.{i}", code["slug"])
    assert (await scan(process, "203.0.113.9", code["slug"])).headers["x-huoma-outcome"] == "full"
    clock.forward(seconds=91)
    await process.reconciler.sweep(workspace.id)
    day = local_day(clock(), "Asia/Shanghai")
    assert await counts.adds(redis, workspace.id, day, [ann["id"]]) == {ann["id"]: 0}
    assert (await scan(process, "203.0.113.9", code["slug"])).headers["x-huoma-outcome"] == "claimed"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3::4", "20010db800010002"),
        # An IPv4 visitor behind NAT64, 6to4 and Teredo: a telephone carrier's gateway would be a network of thousands.
        ("64:ff9b::203.0.113.7", "203.0.113.7"),
        ("2002:cb00:7107:1::9", "203.0.113.7"),
        ("2001:0:4136:e378:8000:63bf:34ff:8ef8", "203.0.113.7"),
        # One that claims a private address would be bounded by nothing.
        ("64:ff9b::10.0.0.1", "64ff9b00000000"),
        ("2002:a00:1::9", "20020a0000010000"),
        ("fe80::1%eth0", ""),
        ("fd12::1", ""),
        ("10.1.2.3", ""),
        ("172.18.0.1", ""),
        ("192.168.1.9", ""),
        ("100.64.0.9", ""),
        ("172.32.0.1", "172.32.0.1"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("testclient", ""),
        ("", ""),
    ],
)
def test_a_network_is_an_address_or_the_half_of_one(address: str, network: str) -> None:
    """Trap 29: addresses of IPv6 are read whole."""
    assert network_of(address) == network


async def test_only_listed_proxies_are_believed(servers: Servers, api: httpx.AsyncClient, clock: Clock) -> None:
    code = await group(api, 100, new_seats_per_minute=1)
    settings = Settings(
        database_url=servers.database_url,
        redis_url=servers.redis_url,
        secret="a secret for tests only",
        public_url=PUBLIC_URL,
        trusted_proxies="10.0.0.0/8",
    )
    web = Web(settings, clock=clock)

    async def outcome(peer: str, forwarded: str) -> str:
        transport = httpx.ASGITransport(web, client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers={"User-Agent": PHONE}) as phone:
            answer = await phone.get(f"/{code['slug']}", headers={"X-Forwarded-For": forwarded})
        return str(answer.headers["x-huoma-outcome"])

    assert await outcome("10.1.2.3", "203.0.113.1") == "claimed"
    assert await outcome("10.1.2.3", "203.0.113.2") == "claimed", "the proxy is believed: another network"
    assert await outcome("10.1.2.3", "203.0.113.3, 203.0.113.2") == "limited", "but not what a client wrote before it"
    assert await outcome("198.51.100.1", "203.0.113.4") == "claimed"
    assert await outcome("198.51.100.1", "203.0.113.5") == "limited", "a stranger is not believed: one network"
    await web.close()


async def test_a_disabled_code_says_so_kindly_and_comes_back_when_enabled(
    process: Process, another_process: Process, api: httpx.AsyncClient, told: Told
) -> None:
    code = await group(api, 9)
    phone = process.phone()
    page = await phone.visit(code["slug"])
    done(await api.patch(f"/codes/{code['id']}", json={"disabled": True}))
    for one in (process, another_process):
        seen = await one.phone().scan(code["slug"])
        assert (seen.status, seen.outcome) == (410, "disabled")
    assert (await phone.scan(code["slug"])).outcome == "disabled", "not even who has a place"
    assert page.image
    done(await api.patch(f"/codes/{code['id']}", json={"disabled": False}))
    assert (await phone.scan(code["slug"])).outcome == "returned"
    assert (await told.kinds(code))["disabled"] == 3


async def test_a_code_is_open_from_its_first_second_to_its_last(
    process: Process, api: httpx.AsyncClient, clock: Clock, told: Told
) -> None:
    code = await group(api, 9, opens_at="2026-11-21T10:00:10Z", closes_at="2026-11-21T10:00:20Z")
    seen = await process.phone().scan(code["slug"])
    assert (seen.status, seen.outcome) == (503, "not_open")
    assert "<time>2026-11-21 18:00</time> 开放" in seen.text, "in the time of the workspace"
    english = await process.phone(**{"Accept-Language": "en"}).scan(code["slug"])
    assert "<time>2026-11-21 18:00</time> (Asia/Shanghai)" in english.text
    phone = process.phone()
    for seconds, outcome in ((9.999, "not_open"), (0.001, "claimed"), (9.999, "returned"), (0.001, "ended")):
        clock.forward(seconds=seconds)
        assert (await phone.visit(code["slug"])).outcome == outcome
    assert (await phone.visit(code["slug"])).status == 410
    assert await told.kinds(code) == {"not_open": 3, "claimed": 1, "seen": 1, "returned": 1, "ended": 2}


async def test_a_code_that_is_not_open_falls_back(process: Process, api: httpx.AsyncClient, told: Told) -> None:
    code = await group(api, 9, opens_at="2027-01-01T00:00:00Z", fallback={"url": "https://shop.example/"})
    assert (await process.phone().scan(code["slug"])).outcome == "fallback"
    assert await told.kinds(code) == {"fallback not_open": 1}


async def test_stickiness_ends_after_its_days(process: Process, api: httpx.AsyncClient, clock: Clock) -> None:
    code = await group(api, 9, sticky_days=1)
    done(await api.patch(f"/targets/{code['targets'][0]['id']}", json={"expires_at": "2026-12-01T00:00:00Z"}))
    seat = (await process.phone().client.get(f"/{code['slug']}", headers={"Accept": "application/json"})).json()["seat"]
    headers = {"Accept": "application/json", "X-Huoma-Seat": seat}
    phone = process.phone()
    await phone.client.get(f"/{code['slug']}/seat/{seat}.png")
    clock.forward(hours=23)
    assert (await process.phone().client.get(f"/{code['slug']}", headers=headers)).json()["outcome"] == "returned"
    clock.forward(hours=1)
    assert (await process.phone().client.get(f"/{code['slug']}", headers=headers)).json()["outcome"] == "claimed"
