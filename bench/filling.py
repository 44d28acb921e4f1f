"""Put codes straight into the record, by the million: through the API it would take a day."""

from typing import Final

import asyncpg

from app.counters import sieve
from app.counters.server import connect
from bench.loopback import MadeCode, Service
from bench.report import plain_url
from bench.targets import ENDLESS

# Half an id each, so that ids of several fillings differ.
_ID: Final = "lpad(to_hex({0}), 8, '0') || lpad(to_hex({1}), 8, '0')"


async def fill(service: Service, first: int, count: int, *, targets: int, hold_seconds: int) -> list[MadeCode]:
    """Write group codes numbered from `first` on, each with so many targets that never fill.

    Cost: three statements; some 20 µs a row.
    """
    postgres = await asyncpg.connect(plain_url(service), command_timeout=None)
    try:
        workspace = await postgres.fetchval("select id from workspaces order by id limit 1")
        async with postgres.transaction():
            # What the rows refer to is written beside them: looking it up a million times would prove nothing.
            await postgres.execute("set local session_replication_role = replica")
            await postgres.execute(_CODES, workspace, first, first + count - 1, hold_seconds)
            await postgres.execute(_SLUGS, workspace, first, first + count - 1)
            await postgres.execute(_TARGETS, workspace, first, first + count - 1, targets, ENDLESS)
        for table in ("codes", "slugs", "targets"):
            await postgres.execute(f"analyze {table}")
    finally:
        await postgres.close()
    await _unsieve(service)
    return [
        MadeCode(workspace, f"{number:08x}{0:08x}", f"filled{number:08x}") for number in range(first, first + count)
    ]


async def _unsieve(service: Service) -> None:
    """Throw the sieve of slugs away, which has never heard of these; the worker makes another."""
    redis = connect(service.settings.redis_url, connections=1, timeout_seconds=5)
    await sieve.forget(redis)
    await redis.aclose()


_CODES: Final = f"""
    insert into codes (id, workspace_id, name, kind, strategy, slug, hold_seconds, sticky_days)
    select {_ID.format("c", 0)}, $1, 'code ' || c, 'group', 'fill', 'filled' || lpad(to_hex(c), 8, '0'), $4, 30
    from generate_series($2::bigint, $3::bigint) as c
"""
_SLUGS: Final = f"""
    insert into slugs (slug, workspace_id, code_id)
    select 'filled' || lpad(to_hex(c), 8, '0'), $1, {_ID.format("c", 0)}
    from generate_series($2::bigint, $3::bigint) as c
"""
_TARGETS: Final = f"""
    insert into targets (
        id, workspace_id, code_id, position, name, kind, status, member_limit, weight, display, payload
    )
    select {_ID.format("c", "t")}, $1, {_ID.format("c", 0)}, t * 1024, 'target ' || t, 'wechat_group', 'live', $5, 1,
        'drawn', 'https://weixin.qq.com/g/' || rpad('AwYAAInvented' || c || '_' || t || '_', 64, 'x')
    from generate_series($2::bigint, $3::bigint) as c cross join generate_series(1, $4::int) as t
"""
