"""Two processes compared: ours and the floor in turn, in CPU time, wall time and peak resident memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tools.benchmarks.place import Place

_KIB_PER_GIB = 1 << 20
Command = Sequence[str]


@dataclass(frozen=True)
class Benchmark:
    """One comparison: what we run, the least that any tool must do for it, and how much more may be ours."""

    name: str
    ours: Command
    floor: Command
    ours_does: str
    floor_does: str
    target: float | None = None
    """CPU time, ours over the floor's."""
    wall_target: float | None = None
    """Wall time, ours over the floor's."""
    memory_target: float | None = None
    """Peak resident memory of ours in GiB."""
    typer: Command | None = None
    """The floor once more, as a typer command that takes arguments: what typer alone costs."""
    remark: str = ""
    """What the reader should know of the figure."""
    ends_with: int = 0
    """The exit code of ours: 1 where it has found a difference."""
    fresh: Callable[[], Mapping[str, str]] = dict
    """Called before each process; what it returns is added to the process's environment."""

    @property
    def has_targets(self) -> bool:
        """Whether anything is promised; else the figure is there to be known."""
        return {self.target, self.wall_target, self.memory_target} != {None}


@dataclass(frozen=True)
class Run:
    """One process, from start to exit."""

    cpu: float
    """Seconds, user and system."""
    wall: float
    """Seconds."""
    peak: float
    """Peak resident memory in GiB."""


@dataclass(frozen=True)
class Round:
    """What was run in turn."""

    ours: Run
    floor: Run
    typer: Run | None = None


@dataclass(frozen=True)
class Measured:
    """A benchmark's rounds."""

    benchmark: Benchmark
    rounds: Sequence[Round]

    @property
    def ratios(self) -> list[float]:
        """CPU time of ours over the floor's, round by round."""
        return [each.ours.cpu / each.floor.cpu for each in self.rounds]

    @property
    def ratio(self) -> float:
        """The median round's."""
        return median(self.ratios)

    @property
    def wall_ratio(self) -> float:
        """As `ratio`, of wall time."""
        return median(each.ours.wall / each.floor.wall for each in self.rounds)

    @property
    def typer_ratio(self) -> float | None:
        """CPU time of the floor as a typer command over the floor's: the least that a command can reach."""
        ratios = [each.typer.cpu / each.floor.cpu for each in self.rounds if each.typer]
        return median(ratios) if ratios else None

    @property
    def peak(self) -> float:
        """The greatest peak of ours, in GiB."""
        return max(each.ours.peak for each in self.rounds)

    @property
    def missed(self) -> list[str]:
        """Which of the targets are missed, each with what was measured."""
        limits = (
            ("CPU", self.ratio, self.benchmark.target),
            ("wall", self.wall_ratio, self.benchmark.wall_target),
            ("GiB", self.peak, self.benchmark.memory_target),
        )
        return [f"{name} {value:.2f}" for name, value, most in limits if most is not None and value > most]

    @property
    def out_of_reach(self) -> bool:
        """Whether typer alone takes more than the target allows."""
        alone, target = self.typer_ratio, self.benchmark.target
        return alone is not None and target is not None and alone > target


def measure(benchmark: Benchmark, rounds: int, place: Place) -> Measured:
    """Each side once for warm files and byte code, then in rounds, each beginning with the other side."""
    _round(benchmark, place, is_odd=False)
    return Measured(benchmark, [_round(benchmark, place, is_odd=bool(index % 2)) for index in range(rounds)])


def _round(benchmark: Benchmark, place: Place, *, is_odd: bool) -> Round:
    floor = _one(benchmark, benchmark.floor, place) if is_odd else None
    ours = _one(benchmark, benchmark.ours, place, benchmark.ends_with)
    typer = _one(benchmark, benchmark.typer, place) if benchmark.typer else None
    return Round(ours, floor or _one(benchmark, benchmark.floor, place), typer)


def _one(benchmark: Benchmark, command: Command, place: Place, ends_with: int = 0) -> Run:
    return run(command, place.environment | dict(benchmark.fresh()), place.empty, ends_with)


def run(command: Command, environment: Mapping[str, str], folder: Path, ends_with: int = 0) -> Run:
    """One process, its output thrown away. Raises where it does not end well: a crash is quick."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdout=subprocess.DEVNULL, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != ends_with:
            said.seek(0)
            sys.stderr.buffer.write(said.read()[-2000:])
            raise subprocess.CalledProcessError(process.returncode, command)
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / _KIB_PER_GIB)
