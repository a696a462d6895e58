"""`make bench`: the cost of our commands compared with scripts that do the minimum for the same result.

Exits with 1 where a target is missed. Without names, writes docs/benchmarks.md.
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

from tools.bench.benchmarks import BENCHMARKS
from tools.bench.measure import Result, measure
from tools.bench.workspace import ROOT, Workspace

PAGE = ROOT / "docs" / "benchmarks.md"
PAIRS = 7
_LIBRARIES = ("torch", "transformers", "accelerate", "huggingface_hub", "typer", "rich", "msgspec")
_TITLES = ("benchmark", "CPU", "target", "range", "wall", "target", "GiB", "target", "result", "ours; floor")
_INTRODUCTION = """\
# Benchmarks

Written by `make bench`. Each benchmark runs our command and a *floor*, a script that does the minimum for the
same result, in alternating processes. CPU time (user and system) and wall time are ratios to the floor, of
the median of {pairs} pairs; memory is our greatest resident peak.

{machine}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the named benchmarks, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"Only these: {', '.join(BENCHMARKS)}.")
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"Runs of each side. Default: {PAIRS}.")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"unknown benchmark {', '.join(unknown)}; choose from {', '.join(BENCHMARKS)}")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names or BENCHMARKS:
            workspace = Workspace(Path(folder) / name)
            results.append(measure(name, BENCHMARKS[name](workspace), options.pairs, workspace))
            print(f"{name}: {outcome(results[-1])}", file=sys.stderr, flush=True)
    print("\n".join(table(results)))
    if not options.names and options.pairs >= PAIRS:
        PAGE.write_text(page(results), encoding="utf-8")
    return 1 if any(result.missed for result in results) else 0


def page(results: Sequence[Result]) -> str:
    """The report as Markdown."""
    pairs = min(len(result.pairs) for result in results)
    libraries = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in _LIBRARIES)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    machine = f"{machine}, Python {platform.python_version()}, {libraries}."
    return "\n".join([_INTRODUCTION.format(pairs=pairs, machine=machine), *table(results)]) + "\n"


def table(results: Sequence[Result]) -> Iterator[str]:
    """The lines of the table."""
    for row in (_TITLES, ["---"] * len(_TITLES), *map(_row, results)):
        yield f"| {' | '.join(row)} |"


def outcome(result: Result) -> str:
    """Whether the targets are met."""
    benchmark = result.benchmark
    if {benchmark.cpu_target, benchmark.wall_target, benchmark.memory_target} == {None}:
        return "no target"
    return f"missed: {', '.join(result.missed)}" if result.missed else "met"


def _row(result: Result) -> Sequence[str]:
    benchmark, ratios = result.benchmark, result.ratios("cpu")
    return (
        result.name,
        f"**{result.ratio('cpu'):.2f}**",
        _number(benchmark.cpu_target),
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        f"**{result.ratio('wall'):.2f}**",
        _number(benchmark.wall_target),
        f"{result.peak:.2f}",
        _number(benchmark.memory_target),
        outcome(result),
        benchmark.description,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
