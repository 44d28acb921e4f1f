"""A thousand people scan one poster, and three masters of a cluster count; then a code rests and is edited there."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from chaos.many import running_cluster
from tests.running import Service, crowd, group_payload, make_code, running_service, server_folder


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with (
        server_folder() as folder,
        running_cluster(folder / "redis") as many,
        running_service(folder / "huoma", workers=2, redis_url=many.url, rest_after_seconds=1) as service,
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
