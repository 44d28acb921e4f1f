"""Let the record lose what it had: the last commits in a failover, or everything since a dump that is restored."""

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import asyncpg

from bench.loopback import ROOT, MadeCode, Service, running_service
from bench.report import plain_url
from chaos.fault import Effort, Fault, Say
from chaos.judging import judge
from chaos.load import under_load
from chaos.row import Row
from chaos.visitors import Met, target_of

# Every process has shown the fresh group by then, and its events are recorded.
SHOWN_SECONDS: Final = 2.0
_LIMIT: Final = 10_000
_PAYLOAD: Final = "https://weixin.qq.com/g/" + "AwYAAInventedFresh_".ljust(64, "y")


@dataclass
class Ghost:
    """Hold the group that the record loses, and the one that is paused afterwards.

    Units: `paused_at` is the machine's monotonic clock when the pause had been answered.
    """

    target: str = ""
    paused: str = ""
    paused_at: float = 0.0
    said: list[str] = field(default_factory=list)

    def broken(self, met: Met) -> list[str]:
        """Name pages that showed the paused group after the pause had been answered."""
        late = [
            one for one in met.answers if one.given and one.at > self.paused_at and target_of(one.seat) == self.paused
        ]
        return [f"{len(late)} answers showed a paused group, such as {late[0]}"] if self.paused and late else self.said


async def commit_lost(service: Service, effort: Effort) -> Row:
    """Lose the commit that added a group, as a standby does that had not received it; nothing is restarted."""
    ghost = Ghost()

    def breaking(code: MadeCode) -> None:
        version = _ask(service, "select version from codes where id = $1", code.id)
        worker = service.children["worker"]
        # What the worker had recorded meanwhile would be lost with the commit, and is no concern of ours here.
        worker.send_signal(signal.SIGSTOP)
        try:
            _add_first(service, code, ghost)
            time.sleep(SHOWN_SECONDS)
            _run(service, _LOSE, ghost.target, code.id, version)
        finally:
            worker.send_signal(signal.SIGCONT)
        time.sleep(effort.seconds)
        ghost.paused = str(_ask(service, _FIRST, code.id))
        with service.api as api:
            api.patch(f"/targets/{ghost.paused}", json={"status": "paused"}).raise_for_status()
        ghost.paused_at = time.monotonic()

    said = (
        f"the commit that added a group taken out of PostgreSQL {SHOWN_SECONDS:.0f} s after it had been answered, "
        "nothing restarted; then another group paused"
    )
    return await _row(service, "PostgreSQL loses its last commit", said, effort, ghost, breaking)


async def dump_restored(service: Service, effort: Effort) -> Row:
    """Restore a dump that lacks a group and the last events, with Redis intact, as docs/operations.md describes."""
    ghost = Ghost()

    def breaking(code: MadeCode) -> None:
        with tempfile.TemporaryDirectory(prefix="huoma-dump-") as folder:
            dump = Path(folder) / "huoma.dump"
            _tool(service, "pg_dump", "--format=custom", f"--file={dump}", "huoma")
            _add_first(service, code, ghost)
            time.sleep(SHOWN_SECONDS)
            for name in ("serve", "worker"):
                service.stop(name)
            _tool(service, "psql", "-q", "-c", "alter database huoma rename to huoma_before", "postgres")
            _tool(service, "psql", "-q", "-c", "create database huoma", "postgres")
            _tool(service, "pg_restore", "--dbname=huoma", str(dump))
            for name in ("worker", "serve"):
                service.start(name)
        time.sleep(effort.seconds / 2)
        for command in ("verify", "rebuild"):
            ghost.said += _unclear(service, command)

    said = (
        "a dump, a fresh group, everything stopped, the dump restored beside an intact Redis, everything started; then "
        "`huoma verify` and `huoma rebuild`"
    )
    row = await _row(service, "An older dump is restored", said, effort, ghost, breaking)
    # The service was stopped, and the record has what the dump had.
    accepted = ("requests failed", "not on record")
    return replace(
        row,
        broken=tuple(what for what in row.broken if not any(one in what for one in accepted)),
        noted=f"{row.noted} Failed: while the service was stopped. Lost: what the dump lacks.",
    )


def _add_first(service: Service, code: MadeCode, ghost: Ghost) -> None:
    row = {"payload": _PAYLOAD, "member_limit": _LIMIT, "position": 0}
    with service.api as api:
        ghost.target = api.post(f"/codes/{code.id}/targets", json=row).raise_for_status().json()["id"]


def _unclear(service: Service, command: str) -> list[str]:
    """Run a command that may find differences; name what is no finding."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", command],
        env=service.environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    unclear = done.returncode not in (0, 1) or "Traceback" in done.stderr
    return [f"{command}: status {done.returncode}: {done.stderr[-300:]}"] if unclear else []


async def _row(
    service: Service,
    fault: str,
    injected: str,
    effort: Effort,
    ghost: Ghost,
    breaking: Callable[[MadeCode], object],
) -> Row:
    borne = await under_load(service, effort, breaking)
    # Neither may be shown any more: visitors who had a place there are given another one.
    borne.met.gone |= {ghost.target, ghost.paused}
    row = await judge(service, borne, fault=fault, injected=injected, also=ghost.broken)
    # `verify` names what was set aside for the group that is gone, and nothing else.
    expected = tuple(what for what in row.broken if what.startswith("verify: "))
    named = sum(ghost.target in what or "set aside" in what for what in expected)
    return replace(
        row,
        noted=f"{row.noted} `huoma verify` named {len(expected)} lines, {named} of them for the lost group.",
        broken=tuple(what for what in row.broken if what not in expected),
    )


def _ask(service: Service, query: str, *arguments: object) -> Any:
    async def ask() -> Any:
        postgres: Any = await asyncpg.connect(plain_url(service))
        try:
            return await postgres.fetchval(query, *arguments)
        finally:
            await postgres.close()

    return asyncio.run(ask())


def _run(service: Service, statements: Sequence[str], target: str, code: str, version: int) -> None:
    async def run() -> None:
        postgres: Any = await asyncpg.connect(plain_url(service))
        try:
            async with postgres.transaction():
                for statement in statements:
                    await postgres.execute(statement, target)
                await postgres.execute("update codes set version = $2 where id = $1", code, version)
        finally:
            await postgres.close()

    asyncio.run(run())


def _tool(service: Service, name: str, *arguments: str) -> None:
    """Run one of the programs that belong to the running PostgreSQL."""
    programs = Path(f"/proc/{service.servers.postgres.pid}/exe").readlink().parent
    place = parse_qs(urlsplit(plain_url(service)).query)
    command = [str(programs / name), "-U", "huoma", "-h", place["host"][0], "-p", place["port"][0], *arguments]
    subprocess.run(command, check=True, capture_output=True)


_LOSE: Final = tuple(
    f"delete from {table} where {column} = $1"  # Names of our own.
    for table, column in (
        ("events", "target_id"),
        ("stat_hours", "target_id"),
        ("target_totals", "target_id"),
        ("qr_revisions", "target_id"),
        ("targets", "id"),
    )
)
_FIRST: Final = """
    select t.id from targets as t left join target_totals as n on n.target_id = t.id
    where t.code_id = $1 and coalesce(n.members + n.held + n.seen, 0) < t.member_limit and t.removed_at is null
    order by t.position, t.id limit 1
"""


def _inject(effort: Effort, say: Say) -> Sequence[Row]:
    rows = []
    with running_service(workers=2) as service:
        for one in (commit_lost, dump_restored):
            say(one.__name__)
            rows.append(asyncio.run(one(service, effort)))
    return rows


FAULTS: Final = (Fault("record", _inject),)
