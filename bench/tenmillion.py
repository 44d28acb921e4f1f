"""Let ten million visitors storm one poster with fifty thousand groups behind it (千万人同时加群): `make bench-10m`.

A smaller storm takes the same way; only a whole one is judged by its speed and kept in `docs/benchmarks.md`.
"""

import argparse
import sys
from typing import Final

from app.domain import limits
from bench.report import PATH, Section, table, write
from bench.storm import FULL_SIZE, PLACES, Size, Storm, storm
from bench.watch import REDIS, peaks

CLAIMS_LEAST: Final = 30_000
ROWS_LEAST: Final = 30_000
# How many times as much a process may keep in the second half as in the first.
GROWTH_MAX: Final = 1.5
# A member of some 50 characters in a sorted set: its text, its place in a hash table and in a skip list.
HELD_BYTES: Final = 200
# Its counter, its name as a field beside it, and the same again for those of its places that are only held.
GROUP_BYTES: Final = 300
# A line in the stream until the worker has recorded it.
EVENT_BYTES: Final = 150
# What is recorded within less says nothing of how quickly a worker records.
_TELLING_SECONDS: Final = 5.0


def main() -> int:
    """Storm, say what was found, keep it when it was a whole one; exit 1 when a promise did not hold."""
    size = _size()
    found = storm(size, lambda what: print(f"ten million: {what}", file=sys.stderr, flush=True))
    section = told(found)
    print(f"\n## {section.name}\n\n{section.machine}\n\n{section.text}", flush=True)
    if size.visitors >= FULL_SIZE:
        write([section], " ".join(["python -m bench.tenmillion", *sys.argv[1:]]))
        print(f"Written to {PATH.name}.")
    for line in section.broken:
        print(f"BROKEN {line}", file=sys.stderr)
    return 1 if section.broken else 0


def told(found: Storm) -> Section:
    """Tell what was found."""
    broken = [*found.wrong, *(_missed(found) if found.size.visitors >= FULL_SIZE else ())]
    return Section("ten million", found.machine, _text(found), broken)


def recording_rate(found: Storm) -> float:
    """Count rows a second when the crowd had gone, if enough was left then to tell; else from first to last."""
    if found.draining_seconds >= _TELLING_SECONDS:
        return found.left / found.draining_seconds
    return found.rows / (found.storming_seconds + found.draining_seconds)


def redis_bytes(found: Storm) -> tuple[int, int, int]:
    """Tell what Redis kept before the first visitor, at most, and when all was on record."""
    kept = [sample.memory[REDIS] for sample in found.samples]
    return kept[0], max(kept), kept[-1]


def _missed(found: Storm) -> list[str]:
    missed = []
    if found.scans_a_second < CLAIMS_LEAST:
        missed.append(f"{found.scans_a_second:,.0f} scans/s, less than {CLAIMS_LEAST:,}")
    if recording_rate(found) < ROWS_LEAST:
        missed.append(f"{recording_rate(found):,.0f} rows/s recorded, less than {ROWS_LEAST:,}")
    for label, memory in peaks(found.samples).items():
        if label != REDIS and memory.growth > GROWTH_MAX:
            missed.append(f"{label}: {memory.growth:.2f} times the memory in the second half")
    before, highest, after = redis_bytes(found)
    bound = _held(found) * HELD_BYTES + found.size.groups * GROUP_BYTES
    if after - before > bound:
        missed.append(f"Redis keeps {_mb(after - before)} MB, more than {_mb(bound)}")
    # The worst that may be: a worker that records nothing until the last visitor has gone.
    bound += found.rows * EVENT_BYTES
    if highest - before > bound:
        missed.append(f"Redis kept {_mb(highest - before)} MB at most, more than {_mb(bound)}")
    return missed


def _held(found: Storm) -> int:
    return found.size.places - sum(one.seen for one in found.met)


def _text(found: Storm) -> str:
    size = found.size
    before, highest, after = redis_bytes(found)
    backlog = max(sample.given - sample.recorded for sample in found.samples)
    entries = max(sample.entries for sample in found.samples)
    while_storming = (found.rows - found.left) / found.storming_seconds
    alone = f"{found.left / found.draining_seconds:,.0f}" if found.draining_seconds >= _TELLING_SECONDS else "–"
    rows = [
        ["scans/s, first to last", f"{found.scans_a_second:,.0f}"],
        ["rows/s recorded, while they came", f"{while_storming:,.0f}"],
        ["rows/s recorded, when they had gone", alone],
        ["minutes, first visitor to last", f"{found.storming_seconds / 60:.1f}"],
        ["minutes, until all was on record", f"{found.draining_seconds / 60:.1f}"],
        ["minutes, to verify", f"{found.verify_seconds / 60:.1f}"],
        ["minutes, with everything", f"{found.seconds / 60:.1f}"],
        ["rows on record", f"{found.rows:,}"],
        ["highest backlog, places not on record", f"{backlog:,}"],
        ["highest backlog, entries of the stream", f"{entries:,}"],
        ["Redis MB, before", _mb(before)],
        ["Redis MB, at most", _mb(highest)],
        ["Redis MB, all on record", _mb(after)],
        ["Redis bytes a place held, all on record", f"{(after - before) / max(1, _held(found)):,.0f}"],
    ]
    return f"""\
{size.visitors:,} visitors, {size.groups:,} groups of {PLACES} behind one code, {size.processes} claiming processes
with {size.at_once} visitors at a time each, without HTTP; every place is signed, one visitor in {size.one_in} sees the
picture, the others' places are held for {limits.HOLD_SECONDS_MAX // 60} minutes: Redis cannot be made to remember more.
One worker records meanwhile, on the same cores.
{_exact(found)}

{table(["", "measured"], rows)}

{table(["process", "CPU µs a scan", "peak MB, first half", "second half"], _by_process(found))}
"""


def _exact(found: Storm) -> str:
    if found.wrong:
        return "NOT exact: " + "; ".join(found.wrong)
    return f"""\
In the end every group had exactly {PLACES} places by counters, totals and events, and no seat number was given twice;
{found.size.places:,} visitors were told of a place, one more that all is full; `huoma verify` found that all agree."""


def _by_process(found: Storm) -> list[list[str]]:
    kept = peaks(found.samples)
    rows = []
    for label, seconds in found.cpu.items():
        halves = [_mb(kept[label].first), _mb(kept[label].second)] if label in kept else ["–", "–"]
        rows.append([label, f"{seconds / found.size.visitors * 1e6:.1f}", *halves])
    return rows


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f}"


def _size() -> Size:
    parser = argparse.ArgumentParser(prog="python -m bench.tenmillion", description=__doc__)
    parser.add_argument(
        "--groups", type=int, default=limits.TARGETS_PER_CODE, help=f"groups of {PLACES} behind the code"
    )
    parser.add_argument("--visitors", type=int, help="as many as there are places by default, never less")
    parser.add_argument("--processes", type=int, default=2, help="claiming processes")
    parser.add_argument("--at-once", type=int, default=512, help="visitors at a time in each")
    parser.add_argument("--one-in", type=int, default=10, help="of so many visitors one sees the picture")
    options = parser.parse_args()
    places = options.groups * PLACES
    visitors = places if options.visitors is None else options.visitors
    if visitors < places:
        parser.error(f"{options.groups} groups have {places} places: with less visitors they do not fill")
    return Size(options.groups, visitors, options.processes, options.at_once, options.one_in)


if __name__ == "__main__":
    sys.exit(main())
