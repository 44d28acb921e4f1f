"""A poster is scanned in the evening, forgotten overnight, and scanned again by a crowd in the morning."""

import asyncio
import time
from collections import Counter

from redis import Redis

from tests.running import READY_SECONDS, crowd, make_code, running_service, server_folder


def test_a_poster_is_forgotten_overnight_and_gives_every_place_once() -> None:
    limits = [30, 30]
    with server_folder() as folder, running_service(folder, workers=2, rest_after_seconds=1) as service:
        code, slug = make_code(service, "poster", limits, hold_seconds=10)
        evening = asyncio.run(crowd(service.url, slug, 20, 5))
        with Redis.from_url(service.servers.servers.redis_url) as redis:
            until = time.monotonic() + READY_SECONDS
            while [key for key in redis.scan_iter(f"*{code}*") if b":news:" not in key]:
                assert time.monotonic() < until, "a code that nobody scans leaves Redis"
                time.sleep(0.1)
        assert service.run("verify").returncode == 0

        morning = asyncio.run(crowd(service.url, slug, 60, 20))

        assert Counter(one.outcome for one in evening) == {"claimed": 20}
        assert Counter(one.outcome for one in morning) == {"claimed": 40, "full": 20}
        shown = Counter(one.target for one in evening + morning if one.target)
        assert sorted(shown.values()) == limits
        service.wait_until_drained()
