"""`make bench`: what an answer costs, against the least that any tool must do for it.

Each benchmark runs ours and the floor in turn and compares their CPU time, which other work on the
machine changes little. Ends with 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks import BENCHMARKS, ROOT
from measure import Measured, clean_environment, measure

REPORT = ROOT / "docs" / "benchmarks.md"
LEAST_PAIRS = 7
LIBRARIES = ("torch", "transformers", "accelerate", "typer", "rich")


def main() -> int:
    """Measure what was asked for; all of it is written down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"Only these: {', '.join(BENCHMARKS)}.")
    parser.add_argument("--pairs", type=int, default=LEAST_PAIRS, help="Runs of each side.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measured = list(_measured(asked.names or list(BENCHMARKS), asked.pairs, Path(name)))
    if not asked.names and asked.pairs >= LEAST_PAIRS:
        REPORT.write_text(report(measured), encoding="utf-8")
        print(f"Written: {REPORT.relative_to(ROOT)}")
    return 0 if all(each.holds for each in measured) else 1


def _measured(names: Sequence[str], pairs: int, folder: Path) -> Iterator[Measured]:
    environment = clean_environment(folder)
    for name in names:
        (folder / name).mkdir()
        each = measure(BENCHMARKS[name](folder / name), pairs, environment)
        state = "holds" if each.holds else "MISSED"
        print(f"{name}: {each.ratio:.2f} x the floor, {each.peak:.2f} GiB: {state}", flush=True)
        yield each


def report(measured: Sequence[Measured]) -> str:
    """The page: the figures, and how they were come by."""
    return "\n".join(_lines(measured)) + "\n"


def _lines(measured: Sequence[Measured]) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    pairs = len(measured[0].pairs)
    yield "Written by `make bench`. Every figure is of a run that compares two processes, ours and a *floor*:"
    yield "a bare script that does the least that any tool must do for the same answer. The two run in turn,"
    yield f"after a pair that warms files and byte code. The ratio is the median of {pairs} pairs, in CPU"
    yield "time (user and system) from start to exit; the peak is resident memory, the greatest of all runs."
    yield ""
    yield f"Machine: {_machine()}. Libraries: {', '.join(f'{name} {_version(name)}' for name in LIBRARIES)}."
    yield ""
    yield "| benchmark | ours | floor | ratio | target | pairs | ours, peak |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    yield from map(_row, measured)
    yield ""
    yield "## What is compared"
    for each in measured:
        benchmark = each.benchmark
        yield ""
        remark = f" {benchmark.remark}" if benchmark.remark else ""
        yield f"**{benchmark.name}**: {benchmark.ours_does}. Floor: {benchmark.floor_does}.{remark}"


def _row(each: Measured) -> str:
    ours, floor = (median(run.cpu for run in side) for side in zip(*each.pairs, strict=True))
    limit = each.benchmark.memory_target
    cells = (
        each.benchmark.name,
        f"{ours:.2f} s",
        f"{floor:.2f} s",
        f"**{each.ratio:.2f}**",
        f"{each.benchmark.target:.2f}" + ("" if each.holds else ", missed"),
        f"{min(each.ratios):.2f} to {max(each.ratios):.2f}",
        f"{each.peak:.2f} GiB" + (f" of {limit:.1f}" if limit else ""),
    )
    return f"| {' | '.join(cells)} |"


def _machine() -> str:
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    return f"{machine}, Python {platform.python_version()}"


def _version(name: str) -> str:
    return version(name).partition("+")[0]


if __name__ == "__main__":
    sys.exit(main())
