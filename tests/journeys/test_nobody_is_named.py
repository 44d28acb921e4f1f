"""After a load whose every address, agent, key and secret is known, none is found in any dump (privacy)."""

import asyncio
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis
from redis.client import NEVER_DECODE

from app.counters.server import connect
from tests.running import KEY, PHONE, Service, group_payload, running_service, server_folder

SECRET = "a secret that nobody may ever read anywhere"
# Public, so that they are bounded; the last two are one household.
ADDRESSES = ["203.0.113.77", "198.51.100.23", "2001:db8:77:88::99", "2001:db8:77:88:1234:5678:9abc:def0"]
AGENT = PHONE + " UnheardOfPhone/47.11"
MARKS = ["UnheardOfPhone", "UnheardOfReferrer", "UnheardOfQuery"]


def spellings(address: str) -> set[bytes]:
    """Spell an address in every way that a program might keep it, whole or as the network it belongs to."""
    found = ip_address(address)
    texts = {address, found.exploded, found.compressed, str(int(found)), f"{int(found):x}", found.packed.hex()}
    packed = {found.packed, found.packed[::-1]}
    if isinstance(found, IPv6Address):
        network = int(found) >> 64
        texts |= {str(network), f"{network:x}", f"{network:016x}", ":".join(found.exploded.split(":")[:4])}
        packed |= {network.to_bytes(8, "big"), network.to_bytes(8, "little")}
    else:
        texts |= {".".join(reversed(address.split("."))), "-".join(address.split(".")), f"::ffff:{address}"}
    return {text.encode() for text in texts} | {text.upper().encode() for text in texts} | packed


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def service(log: Path) -> Iterator[Service]:
    """Run everything, with what it prints in a file; it believes a proxy on this machine."""
    with server_folder() as folder, running_service(folder, log=log, secret=SECRET) as service:
        yield service


async def visits(service: Service, slug: str) -> None:
    """Come through a proxy that says from where, and directly; scan, look, come back, and go wrong in every way."""
    headers = {"User-Agent": AGENT, "Referer": "https://UnheardOfReferrer.example/"}
    for address in ADDRESSES:
        forged = {"X-Forwarded-For": address, "X-Real-IP": address, "Forwarded": f"for={address}"}
        async with httpx.AsyncClient(
            base_url=service.url, headers=headers | forged, trust_env=False, verify=False, timeout=30
        ) as phone:
            for path in (f"/{slug}?q=UnheardOfQuery", f"/{slug}", "/UnheardOfQuery", f"/{slug}/seat/UnheardOf.png"):
                page = await phone.get(path)
            for _ in range(3):
                phone.cookies.clear()
                page = await phone.get(f"/{slug}")
            image = page.text.partition('src="')[2].partition('"')[0]
            if image.startswith("/"):
                await phone.get(image)
            await phone.head(f"/{slug}")
            await phone.post(f"/{slug}", content=b"UnheardOfQuery")
            await phone.get("/api/v1/codes", headers={"Authorization": f"Bearer hm_{'z' * 40}"})
            await phone.get("/api/v1/codes/UnheardOfQuery", headers={"Authorization": f"Bearer {KEY}"})
            await phone.post("/api/v1/codes", content=b"{", headers={"Authorization": f"Bearer {KEY}"})


async def record_of(service: Service) -> bytes:
    """Spell every row of every table, as text, with bytes as they are."""
    url = service.servers.servers.database_url.replace("postgresql+asyncpg://", "postgresql://")
    postgres = await asyncpg.connect(url)
    found = []
    try:
        tables = await postgres.fetch(
            "select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'm', 'S') and n.nspname = 'public'"
        )
        for (table,) in tables:
            for row in await postgres.fetch(f"select * from {table}"):
                found += [value if isinstance(value, bytes) else str(value).encode() for value in row.values()]
    finally:
        await postgres.close()
    return b"\n".join(found)


async def counters_of(service: Service) -> bytes:
    """Spell every key of Redis with all that is in it, and the files it keeps."""
    redis = connect(service.servers.servers.redis_url, connections=2, timeout_seconds=5)
    found: list[Any] = []
    try:
        async for key in redis.scan_iter():
            found += [key, await _value(redis, str(key))]
    finally:
        await redis.aclose()
    return repr(found).encode()


async def _value(redis: Redis, key: str) -> object:
    match await redis.type(key):
        case "hash":
            return await redis.hgetall(key)
        case "zset":
            return await redis.zrange(key, 0, -1, withscores=True)
        case "stream":
            return await redis.xrange(key)
        case "string" if not key.startswith("huoma:{slugs}"):
            return await redis.execute_command("GET", key, **{NEVER_DECODE: True})  # type: ignore[no-untyped-call]
        case other:
            return other


def files_of(service: Service) -> bytes:
    folder = Path(service.environment["HUOMA_DATA_DIR"])
    kept = [
        path for path in folder.rglob("*") if path.is_file() and ("aof" in path.name or path.suffix in (".rdb", ".log"))
    ]
    assert any("aof" in path.name for path in kept)
    return b"".join(path.read_bytes() for path in kept)


def test_no_dump_holds_an_address_an_agent_a_key_or_a_secret(service: Service, log: Path) -> None:
    with service.api as api:
        body = {"name": "poster", "kind": "group", "new_seats_per_minute": 2}
        code = api.post("/codes", json=body).raise_for_status().json()
        row = {"payload": group_payload(1), "member_limit": 50}
        api.post(f"/codes/{code['id']}/targets", json=row).raise_for_status()
        made = api.post("/keys", json={"name": "n", "scope": "read"}).raise_for_status().json()["key"]
        api.post("/keys", json={"name": "n", "scope": "read"}, headers={"Idempotency-Key": "once"}).raise_for_status()
    asyncio.run(visits(service, code["slug"]))
    # While news of the last minute are still there, and events may still wait.
    dumps = {"redis": asyncio.run(counters_of(service))}
    service.wait_until_drained()
    # Somebody goes away in the middle, and servers say so.
    assert service.stop("serve") == 0
    assert service.stop("worker") == 0
    dumps |= {
        "record": asyncio.run(record_of(service)),
        "files": files_of(service),
        "logs": log.read_bytes(),
    }
    assert code["slug"].encode() in dumps["record"]
    assert code["id"].encode() in dumps["redis"]
    assert code["id"].encode() in dumps["files"]
    assert b"worker_started" in dumps["logs"]
    assert b":news:" in dumps["redis"], "networks were counted"

    hidden = {name: spellings(address) for name, address in zip(ADDRESSES, ADDRESSES, strict=True)}
    hidden |= {mark: {mark.encode(), mark.lower().encode()} for mark in MARKS}
    hidden |= {name: {name.encode(), name.encode().hex().encode()} for name in (KEY, made, SECRET, "z" * 40)}
    found = [
        (place, name, spelt)
        for place, dump in dumps.items()
        for name, ways in hidden.items()
        for spelt in ways
        # Four bytes are found by chance in anything long.
        if len(spelt) > 4 and spelt in dump
    ]
    assert found == []
    few = {spelt for ways in hidden.values() for spelt in ways if len(spelt) <= 4}
    assert [spelt for spelt in few for place in ("record", "redis", "logs") if spelt in dumps[place]] == []


def test_a_spelling_that_is_kept_would_be_found() -> None:
    assert b"cb00714d" in spellings("203.0.113.77")
    assert b"3405803853" in spellings("203.0.113.77")
    assert b"20010db800770088" in spellings(ADDRESSES[2])
