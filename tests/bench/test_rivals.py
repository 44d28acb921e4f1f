"""The contenders that are not huoma must do honest work, and huoma without metrics must be huoma otherwise."""

import os
import subprocess
import sys

import httpx
import pytest

from app.embedded import Servers
from bench import bare, idiomatic
from bench.loopback import ROOT


def run(program: str, **variables: str) -> None:
    subprocess.run([sys.executable, "-c", program], env=os.environ | variables, cwd=ROOT, check=True)


async def test_the_bare_one_sends_on_and_is_not_kept() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(bare.build()), base_url="http://bench.test") as client:
        met = await client.get("/poster")

    assert (met.status_code, met.headers["cache-control"]) == (302, "no-store")
    assert met.headers["location"]


async def test_the_idiomatic_one_gives_places_in_order_and_knows_who_comes_back(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idiomatic, "MEMBER_LIMIT", 1)
    monkeypatch.setenv("HUOMA_REDIS_URL", servers.redis_url)
    monkeypatch.setenv("HUOMA_SECRET", "a secret for measuring only")
    transport = httpx.ASGITransport(idiomatic.build())
    async with httpx.AsyncClient(transport=transport, base_url="http://bench.test") as client:
        first = await client.get("/poster-of-this-test")
        again = await client.get("/poster-of-this-test")
        others = []
        for _ in range(idiomatic.TARGETS):
            client.cookies.clear()
            others.append(await client.get("/poster-of-this-test"))

    assert first.headers["location"] == again.headers["location"] == "https://www.example.com/1"
    assert first.headers["cache-control"] == "no-store"
    given = [met.headers.get("location") for met in others]
    assert given == [*(f"https://www.example.com/{number}" for number in (2, 3, 4, 5)), None]
    assert others[-1].status_code == 503


def test_huoma_without_metrics_counts_nothing_in_a_scan() -> None:
    run(
        "import bench.without_metrics as without\n"
        "from app import main\n"
        "from app.services import batching\n"
        "from app.web import scan\n"
        "from prometheus_client.metrics import MetricWrapperBase\n"
        "assert without.build is main.from_environment\n"
        "counting = [*vars(scan).values(), *vars(batching).values()]\n"
        "assert not [one for one in counting if isinstance(one, MetricWrapperBase)]\n"
        "scan.SCANS.labels('claimed').inc()\n"
        "batching.BATCH_SIZE.observe(1)\n"
    )


def test_another_application_is_served_where_servers_look_for_huoma() -> None:
    run(
        "import bench.bare, bench.serving\nfrom app import main\nassert main.from_environment is bench.bare.build\n",
        BENCH_FACTORY="bench.bare:build",
    )
