"""Prove that a run gave every place once and no place twice: by the counters, the totals, the events and `verify`."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
from redis.asyncio import Redis

from app.counters import counts
from app.domain.code import CodeId, TargetId, WorkspaceId
from bench.loopback import ROOT, MadeCode, Service
from bench.report import plain_url

# One pass over ten million events sorts them on disk; the service's own bound is for statements that someone waits for.
VERIFY_STATEMENT_SECONDS: Final = 1_800


async def apart(service: Service, code: MadeCode, groups: int, places: int) -> tuple[list[str], int]:
    """Name what is not exactly `places` in each of so many groups, and count the rows on record."""
    postgres = await asyncpg.connect(plain_url(service))
    redis = Redis.from_url(service.settings.redis_url, decode_responses=True)
    try:
        rows = await postgres.fetch(_TOTALS, code.id)
        targets = [TargetId(row["id"]) for row in rows]
        counted = await counts.read(redis, WorkspaceId(code.workspace), CodeId(code.id), targets)
        tellings: dict[str, Mapping[str, int]] = {
            "counters": {target: found.taken for target, found in counted.items()},
            "totals": {row["id"]: row["taken"] for row in rows},
            "events": dict(await postgres.fetch(_GIVEN, code.id)),
        }
        seats = await postgres.fetchrow(_SEATS, code.id)
        recorded = await postgres.fetchval("select count(*) from events where code_id = $1", code.id)
    finally:
        await redis.aclose()
        await postgres.close()
    return [*_unlike(tellings, targets, groups, places), *_odd_seats(seats, groups * places)], recorded


def verified(service: Service) -> list[str]:
    """Name what `huoma verify` finds; nothing when all agrees."""
    command = [sys.executable, "-m", "app.cli", "verify"]
    environment = service.environment | {"HUOMA_DATABASE_STATEMENT_SECONDS": str(VERIFY_STATEMENT_SECONDS)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr)
    return [] if done.returncode == 0 else [f"verify: {line}" for line in (done.stdout + done.stderr).splitlines()]


def _unlike(tellings: Mapping[str, Mapping[str, int]], targets: Sequence[str], groups: int, places: int) -> list[str]:
    wanted = dict.fromkeys(targets, places)
    found = [] if len(wanted) == groups else [f"{len(wanted)} groups on record, not {groups}"]
    for teller, told in tellings.items():
        odd = {target for target in wanted.keys() | told if told.get(target) != wanted.get(target)}
        if odd:
            one = min(odd)
            found.append(f"{teller}: {len(odd)} groups have not {places} places, such as {one}: {told.get(one, 0)}")
    return found


def _odd_seats(seats: Any, places: int) -> list[str]:
    said = f"{seats['n']} seats given, {seats['numbers']} numbers from {seats['first']} to {seats['last']}"
    exact = seats["n"] == seats["numbers"] == places and seats["last"] - seats["first"] == places - 1
    return [] if exact else [f"events: {said}, not {places}"]


_TOTALS: Final = """
    select t.id, coalesce(n.members + n.held + n.seen, 0) as taken
    from targets as t left join target_totals as n on n.target_id = t.id where t.code_id = $1
"""
_GIVEN: Final = """
    select target_id, count(*) - count(*) filter (where kind = 'x') * 2 as given
    from events where code_id = $1 and kind in ('c', 't', 'x') group by target_id
"""
_SEATS: Final = """
    select count(*) as n, count(distinct seat) as numbers, min(seat) as first, max(seat) as last
    from events where code_id = $1 and kind in ('c', 't')
"""
