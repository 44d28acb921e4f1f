"""A thousand people scan one poster, and three masters of a cluster count; then a code rests and is edited there."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from app.counters import keys
from app.domain.code import WorkspaceId
from app.embedded.locks import until
from chaos.many import Many, Member, running_cluster
from tests.running import Service, crowd, group_payload, make_code, running_service, server_folder


@pytest.fixture(scope="module")
def many() -> Iterator[Many]:
    # Whoever is stopped here is not taken for dead by the others.
    with server_folder() as folder, running_cluster(folder, settings={"cluster-node-timeout": "60000"}) as many:
        yield many


@pytest.fixture(scope="module")
def service(many: Many) -> Iterator[Service]:
    with (
        server_folder() as folder,
        running_service(folder, workers=2, redis_url=many.url, rest_after_seconds=1) as service,
    ):
        yield service


def test_a_group_fills_up_on_a_cluster(service: Service) -> None:
    code, slug = make_code(service, "poster", [50, 50])
    met = asyncio.run(crowd(service.url, slug, visitors=160, connections=20))
    assert Counter(visited.outcome for visited in met) == {"claimed": 100, "full": 60}
    with service.api as api:
        api.post(f"/codes/{code}/targets", json={"payload": group_payload(9), "member_limit": 5}).raise_for_status()
    met = asyncio.run(crowd(service.url, slug, visitors=7, connections=3))
    assert Counter(visited.outcome for visited in met) == {"claimed": 5, "full": 2}
    service.wait_until_drained()
    assert service.run("rebuild").returncode == 0
    service.wait_until_drained()
    with service.api as api:
        targets = api.get(f"/codes/{code}/targets").raise_for_status().json()["items"]
    assert [target["seen"] for target in targets] == [50, 50, 5]


def test_a_worker_that_starts_while_a_master_is_away_records_what_the_others_have(service: Service, many: Many) -> None:
    _, slug = make_code(service, "poster", [50])
    with service.api as api:
        ours = keys.events(WorkspaceId(api.get("/workspace").raise_for_status().json()["id"]))
    here, away = many.master_of(ours), _master_of_another_workspace(service, many, ours)
    service.stop("worker")
    asyncio.run(crowd(service.url, slug, visitors=5, connections=1))
    assert away.pid
    os.kill(away.pid, signal.SIGSTOP)
    try:
        assert here.ask("XLEN", ours) > 0
        service.start("worker")
        assert until(lambda: here.ask("XLEN", ours) == 0, 40)
    finally:
        os.kill(away.pid, signal.SIGCONT)


def _master_of_another_workspace(service: Service, many: Many, ours: str) -> Member:
    """Make workspaces until one is counted by another master than ours."""
    here = many.master_of(ours)
    while True:
        service.run("workspaces", "create", "another")
        for row in service.run("workspaces", "list").stdout.splitlines():
            master = many.master_of(keys.events(WorkspaceId(row.split()[0])))
            if master is not here:
                return master
