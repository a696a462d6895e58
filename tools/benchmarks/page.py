"""docs/benchmarks.md: the figures, and how they were come by."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from statistics import median

from tools.benchmarks.growth import Grown
from tools.benchmarks.measure import Measured

LIBRARIES = ("torch", "transformers", "accelerate", "huggingface_hub", "typer", "rich", "msgspec")
_HOW = """\
Written by `make bench`. Every figure is of a run that compares two processes, ours and a *floor*: a bare
script that does the least that any tool must do for the same answer. The two run in turn, after a pair
that warms files and byte code; ours is the installed command, started in a folder without a configuration.
A ratio is the median of {rounds} pairs, in CPU time (user and system) from start to exit, or in wall time;
the peak is resident memory, the greatest of all runs.

Machine: {machine}. Libraries: {libraries}."""
_TYPER = """\
The second ratio is of the same floor as a typer command with two arguments and an option: what typer alone
costs anyone who uses it. Since version 0.29 typer imports pydantic and makes a validator of it for every
parameter that is not a plain switch, whether it was given or not; there is no way to do without, and it alone
takes nearly the time of the bare script once more. requirements.lock holds the last version that does not, so
that the figures are of this tool. Where typer alone is above a target, the target is out of reach, and the
row says so."""


def page(measured: Sequence[Measured], grown: Sequence[Grown]) -> str:
    """The whole page."""
    built = [each for each in measured if each.benchmark.typer is None]
    printed = [each for each in measured if each.benchmark.typer is not None]
    return "\n".join([*_head(measured), *_built(built), *_printed(printed), *_grown(grown), *_told(measured)])


def verdict(each: Measured | Grown) -> str:
    """Whether the targets are met, in a few words."""
    if isinstance(each, Measured) and not each.benchmark.has_targets:
        return ""
    if not each.missed:
        return "holds"
    words = f"missed: {', '.join(each.missed)}"
    if isinstance(each, Measured) and each.out_of_reach:
        return f"{words}; typer alone {each.typer_ratio:.2f}"
    return words


def _head(measured: Sequence[Measured]) -> Iterator[str]:
    rounds = min((len(each.rounds) for each in measured), default=0)
    libraries = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in LIBRARIES)
    yield "# Benchmarks"
    yield ""
    yield _HOW.format(rounds=rounds, machine=_machine(), libraries=libraries)


def _built(measured: Sequence[Measured]) -> Iterator[str]:
    yield from ("", "## With a model to build or to read", "")
    yield "| benchmark | CPU | target | pairs | wall | target | ours, peak | |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for each in measured:
        benchmark = each.benchmark
        limit = f" of {benchmark.memory_target:.1f}" if benchmark.memory_target else ""
        yield _row(
            benchmark.name,
            f"**{each.ratio:.2f}**",
            _target(benchmark.target),
            f"{min(each.ratios):.2f} to {max(each.ratios):.2f}",
            f"**{each.wall_ratio:.2f}**",
            _target(benchmark.wall_target),
            f"{each.peak:.2f} GiB{limit}",
            verdict(each),
        )


def _printed(measured: Sequence[Measured]) -> Iterator[str]:
    yield from ("", "## Without", "", _TYPER, "")
    yield "| benchmark | CPU | target | pairs | typer alone | ours over typer alone | ours, peak | |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for each in measured:
        alone = each.typer_ratio or 1.0
        yield _row(
            each.benchmark.name,
            f"**{each.ratio:.2f}**",
            _target(each.benchmark.target),
            f"{min(each.ratios):.2f} to {max(each.ratios):.2f}",
            f"{alone:.2f}",
            f"{median(one.ours.cpu / one.typer.cpu for one in each.rounds if one.typer):.2f}",
            f"{each.peak:.2f} GiB",
            verdict(each),
        )


def _grown(grown: Sequence[Grown]) -> Iterator[str]:
    if not grown:
        return
    yield from ("", "## A further model", "")
    yield "One process for a table of so many models: what each costs beyond those of the smaller table."
    yield ""
    yield "| benchmark | models | CPU each | peak each | peak | |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for each in grown:
        sizes = list(each.runs)
        for index, size in enumerate(sizes[1:]):
            last = index == len(sizes) - 2
            yield _row(
                each.growth.name,
                f"{sizes[index]:,} to {size:,}",
                f"{each.seconds[index] * 1000:.1f} ms",
                f"{each.memory[index]:.3f} MiB",
                f"{each.runs[size].peak:.2f} GiB",
                verdict(each) if last else "",
            )


def _told(measured: Sequence[Measured]) -> Iterator[str]:
    yield from ("", "## What is compared")
    for each in measured:
        benchmark = each.benchmark
        remark = f" {benchmark.remark}" if benchmark.remark else ""
        yield ""
        yield f"**{benchmark.name}**: {benchmark.ours_does}. Floor: {benchmark.floor_does}.{remark}"
    yield ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _target(value: float | None) -> str:
    return f"{value:.2f}" if value is not None else ""


def _machine() -> str:
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    return f"{machine}, Python {platform.python_version()}"
