"""A thousand people scan one poster at once; three groups of two hundred stand behind it."""

import asyncio
from collections import Counter

from tests.running import Service, crowd, make_code


def test_a_thousand_visitors_fill_three_groups_and_not_one_place_more(service: Service) -> None:
    _, slug = make_code(service, "poster", [200, 200, 200])

    met = asyncio.run(crowd(service.url, slug, visitors=1000, connections=100))

    assert Counter(visited.outcome for visited in met) == {"claimed": 600, "full": 400}
    assert sorted(Counter(visited.target for visited in met if visited.target).values()) == [200, 200, 200]
    assert {visited.status for visited in met if visited.outcome == "full"} == {503}
    assert {visited.picture for visited in met if visited.outcome == "claimed"} == {"claimed"}


def test_afterwards_counters_and_record_agree(service: Service) -> None:
    code, slug = make_code(service, "parcel card", [3, 3])
    asyncio.run(crowd(service.url, slug, visitors=10, connections=5))

    service.wait_until_drained()

    with service.api as api:
        targets = api.get(f"/codes/{code}/targets").raise_for_status().json()["items"]
    assert [(target["seen"], target["held"], target["state"]) for target in targets] == [(3, 0, "full"), (3, 0, "full")]
