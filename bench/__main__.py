"""Measure by name, say what was found, keep it in `docs/benchmarks.md`; exit 1 when a promise did not hold."""

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Final

from bench import contenders, curves, drain, fill, holds, metrics, page, resting, targets
from bench.report import PATH, Section, write
from bench.targets import Effort

MEASUREMENTS: Final[Mapping[str, Callable[[Effort, Callable[[str], None]], Section]]] = {
    "contenders": contenders.measure,
    "metrics": metrics.measure,
    "targets": targets.measure,
    "holds": holds.measure,
    "fill": fill.measure,
    "page": page.measure,
    "resting": resting.measure,
    "drain": drain.measure,
    "curves": curves.measure,
}
QUICK: Final = Effort(rounds=1, seconds=1.0, runs=2, size=1_000)


def main() -> int:
    """Run the measurements asked for, all of them by default."""
    options = _parser().parse_args()
    unknown = set(options.names) - set(MEASUREMENTS)
    if unknown:
        _parser().error(f"no such measurement: {', '.join(sorted(unknown))}")
    names = options.names or list(MEASUREMENTS)
    sections = [_measured(name, QUICK if options.quick else Effort()) for name in names]
    if not options.quick:
        write(sections, " ".join(["python -m bench", *options.names]))
        print(f"Written to {PATH.name}.")
    broken = [f"{section.name}: {what}" for section in sections for what in section.broken]
    for line in broken:
        print(f"BROKEN {line}", file=sys.stderr)
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(MEASUREMENTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="try whether measuring works; nothing is written")
    return parser


def _measured(name: str, effort: Effort) -> Section:
    section = MEASUREMENTS[name](effort, lambda what: print(f"{name}: {what}", file=sys.stderr, flush=True))
    print(f"\n## {name}\n\n{section.machine}\n\n{section.text}", flush=True)
    return section


if __name__ == "__main__":
    sys.exit(main())
