"""Use the command line as an operator does, while the service runs."""

import asyncio
import re

import httpx
import pytest
from redis import Redis

from tests.running import Service, crowd, make_code


def test_counters_that_drift_are_named_and_rebuilt(service: Service) -> None:
    code, slug = make_code(service, "poster", [20, 20])
    asyncio.run(crowd(service.url, slug, visitors=30, connections=5))
    service.wait_until_drained()
    redis = Redis.from_url(service.servers.servers.redis_url, decode_responses=True)
    [counts] = redis.scan_iter(f"*code:{code}:counts", count=10_000)
    target = next(str(field) for field in redis.hkeys(counts) if ":" not in str(field))
    redis.hincrby(counts, target, 5)

    found = service.run("verify")
    rebuilt = service.run("rebuild")
    again = service.run("verify")

    assert found.returncode == 1
    assert re.search(rf"target {target}: places taken: counters say \d+, record says \d+", found.stdout)
    assert (rebuilt.returncode, again.returncode) == (0, 0)
    assert "agree" in again.stdout


def test_a_workspace_is_made_with_a_key_that_sees_nothing_of_others(service: Service) -> None:
    code, _ = make_code(service, "ours", [5])
    made = service.run("workspaces", "create", "Franchise 12", "--time-zone", "Asia/Urumqi")
    assert made.returncode == 0, made.stderr
    workspace, key = re.findall(r"^(?:workspace|key) (\S+)$", made.stdout, re.MULTILINE)
    with httpx.Client(
        base_url=service.url + "/api/v1", headers={"Authorization": f"Bearer {key}"}, trust_env=False
    ) as api:
        assert api.get("/workspace").json()["name"] == "Franchise 12"
        assert api.get("/codes").json()["items"] == []
        assert api.get(f"/codes/{code}").status_code == 404
    assert workspace in service.run("workspaces", "list").stdout


def test_a_lost_key_is_replaced(service: Service) -> None:
    workspace = service.run("workspaces", "list").stdout.split("\t")[0]
    made = service.run("keys", "create", workspace)
    key = made.stdout.split()[-1]
    answer = httpx.get(service.url + "/api/v1/workspace", headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("workspaces", "create", "x", "--time-zone", "Mars/Olympus"), "time zone"),
        (("keys", "create", "nobody"), "no such workspace"),
    ],
)
def test_a_mistake_is_explained_and_changes_nothing(service: Service, command: tuple[str, ...], says: str) -> None:
    before = service.run("workspaces", "list").stdout
    refused = service.run(*command)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr
    assert service.run("workspaces", "list").stdout == before


def test_one_workspace_is_verified_and_rebuilt_and_what_fails_ends_in_no_traceback(service: Service) -> None:
    code, slug = make_code(service, "poster", [20])
    asyncio.run(crowd(service.url, slug, visitors=3, connections=1))
    service.wait_until_drained()
    workspace = service.run("workspaces", "list").stdout.split("\t")[0]
    redis = Redis.from_url(service.servers.servers.redis_url, decode_responses=True)
    [counts] = redis.scan_iter(f"*code:{code}:counts", count=10_000)
    redis.rename(counts, "elsewhere")
    redis.set(counts, "no counts")

    named = service.run("verify", "--workspace", workspace)
    failed = service.run("rebuild", "--workspace", workspace)
    redis.rename("elsewhere", counts)
    mended = service.run("rebuild")
    agreed = service.run("verify", "--workspace", workspace)
    nowhere = service.run("verify", "--workspace", "nowhere")

    assert (named.returncode, failed.returncode, mended.returncode, agreed.returncode) == (1, 1, 0, 0), agreed.stdout
    assert f"code {code}: could not be compared" in named.stdout
    assert f"code {code}: was not rebuilt and is as it was" in failed.stdout
    assert "Traceback" not in named.stderr + failed.stderr
    assert (nowhere.returncode, nowhere.stderr) == (
        2, "huoma: There is no workspace nowhere; `huoma workspaces list` names them.\n",
    )  # fmt: skip
