"""`make bench`: what an answer costs, against the least that any tool must do for it.

Each benchmark runs ours and the floor in turn and compares their CPU time, which other work on the
machine changes little, and their wall time. Ends with 1 where a target within reach is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from tools.benchmarks import BENCHMARKS
from tools.benchmarks.growth import Grown, grow, growths
from tools.benchmarks.measure import Measured, measure
from tools.benchmarks.page import page, verdict
from tools.benchmarks.place import ROOT, Place

REPORT = ROOT / "docs" / "benchmarks.md"
LEAST_PAIRS = 7
GROWTH = "growth"
NAMES = (*BENCHMARKS, GROWTH)


def main() -> int:
    """Measure what was asked for; all of it is written down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"Only these: {', '.join(NAMES)}.")
    parser.add_argument("--pairs", type=int, default=LEAST_PAIRS, help="Runs of each side.")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in NAMES]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    wanted = asked.names or NAMES
    with tempfile.TemporaryDirectory() as name:
        measured = list(_measured(wanted, asked.pairs, Path(name)))
        grown = list(_grown(Path(name))) if GROWTH in wanted else []
    if not asked.names and asked.pairs >= LEAST_PAIRS:
        REPORT.write_text(page(measured, grown), encoding="utf-8")
        print(f"Written: {REPORT.relative_to(ROOT)}")
    failed = [each for each in measured if each.missed and not each.out_of_reach]
    return 1 if failed or any(each.missed for each in grown) else 0


def _measured(names: Collection[str], pairs: int, folder: Path) -> Iterator[Measured]:
    for name in names:
        if name == GROWTH:
            continue
        place = Place(folder / name)
        each = measure(BENCHMARKS[name](place), pairs, place)
        figures = f"CPU {each.ratio:.2f}, wall {each.wall_ratio:.2f}, {each.peak:.2f} GiB"
        print(f"{name}: {figures}: {verdict(each) or 'for information'}", flush=True)
        yield each


def _grown(folder: Path) -> Iterator[Grown]:
    for index, growth in enumerate(growths()):
        each = grow(growth, Place(folder / f"{GROWTH}{index}"))
        milliseconds = ", ".join(f"{seconds * 1000:.1f}" for seconds in each.seconds)
        memory = ", ".join(f"{size:.3f}" for size in each.memory)
        print(f"{growth.name}: {milliseconds} ms, {memory} MiB for each further model: {verdict(each)}")
        yield each


if __name__ == "__main__":
    sys.exit(main())
