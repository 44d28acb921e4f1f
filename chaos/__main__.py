"""Inject every fault, or those named, print the table, keep it in `docs/reliability.md`; exit 1 names what broke."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Final

from bench.loopback import running_service
from bench.report import machine
from chaos import failover, postgresql, processes, record, redis
from chaos.fault import Effort, Fault, Say
from chaos.report import PATH, laid_out, write
from chaos.row import Row

FAULTS: Final[tuple[Fault, ...]] = (
    *redis.FAULTS,
    *postgresql.FAULTS,
    *record.FAULTS,
    *processes.FAULTS,
    *failover.FAULTS,
)
QUICK: Final = Effort(people=100, per_second=25.0, rounds=3, seconds=4.0)


def main() -> int:
    """Inject the faults asked for, all of them by default."""
    options = _parser().parse_args()
    names = {fault.name for fault in FAULTS}
    unknown = set(options.names) - names
    if unknown:
        _parser().error(f"no such fault: {', '.join(sorted(unknown))}")
    chosen = [fault for fault in FAULTS if not options.names or fault.name in options.names]
    rows: list[Row] = []
    for fault in chosen:
        rows += _rows(fault, QUICK if options.quick else Effort())
    print(laid_out(rows))
    if not options.names and not options.quick:
        with running_service() as service:
            write(rows, asyncio.run(machine(service)), "make chaos")
        print(f"\nWritten to {PATH.name}.")
    broken = [f"{row.fault}: {what}" for row in rows for what in row.broken]
    for line in broken:
        print(f"BROKEN {line}", file=sys.stderr)
    return 1 if broken else 0


def _rows(fault: Fault, effort: Effort) -> Sequence[Row]:
    say: Say = lambda what: print(f"{fault.name}: {what}", file=sys.stderr, flush=True)  # noqa: E731
    began = time.monotonic()
    rows = fault.inject(effort, say)
    say(f"{time.monotonic() - began:.0f} s")
    return rows


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(fault.name for fault in FAULTS)
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="FAULT", help=f"any of {names}; all by default")
    parser.add_argument("--quick", action="store_true", help="try whether it works; nothing is written")
    return parser


if __name__ == "__main__":
    sys.exit(main())
