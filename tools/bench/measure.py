"""Compare our command with a floor in alternating processes: CPU time, wall time and peak resident memory."""

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
from typing import Literal, NamedTuple

from tools.bench.workspace import Command, Workspace

_KIB_PER_GIB = 1 << 20


@dataclass(frozen=True)
class Benchmark:
    """Our command, a floor that does the minimum for the same result, and how much more ours may cost."""

    description: str
    command: Command
    floor: Command
    cpu_target: float | None = None
    """Most CPU time, as a ratio to the floor."""
    wall_target: float | None = None
    """Most wall time, as a ratio to the floor."""
    memory_target: float | None = None
    """Most peak resident memory of our command, in GiB."""
    exit_code: int = 0
    """The expected exit code of our command."""
    new_environment: Callable[[], Mapping[str, str]] = dict
    """Called before each process; returns additional environment variables."""


class Run(NamedTuple):
    """One process: CPU seconds (user and system), wall seconds, and peak resident memory in GiB."""

    cpu: float
    wall: float
    peak: float


@dataclass(frozen=True)
class Result:
    """A benchmark's runs: pairs of our command and the floor."""

    name: str
    benchmark: Benchmark
    pairs: Sequence[tuple[Run, Run]]

    def ratios(self, of: Literal["cpu", "wall"]) -> list[float]:
        """Our time relative to the floor's, for each pair."""
        return [getattr(ours, of) / getattr(floor, of) for ours, floor in self.pairs]

    def ratio(self, of: Literal["cpu", "wall"]) -> float:
        """Our time relative to the floor's, of the median pair."""
        return median(self.ratios(of))

    @property
    def peak(self) -> float:
        """Our greatest peak memory, in GiB."""
        return max(ours.peak for ours, _ in self.pairs)

    @property
    def missed(self) -> list[str]:
        """The missed targets, each with the measured value."""
        targets = (
            ("CPU", self.ratio("cpu"), self.benchmark.cpu_target),
            ("wall", self.ratio("wall"), self.benchmark.wall_target),
            ("GiB", self.peak, self.benchmark.memory_target),
        )
        return [f"{name} {value:.2f}" for name, value, most in targets if most is not None and value > most]


def measure(name: str, benchmark: Benchmark, pairs: int, workspace: Workspace) -> Result:
    """Run one pair to warm files and byte code, then measure; the sides take turns to be first."""
    _pair(benchmark, workspace, floor_first=False)
    measured = [_pair(benchmark, workspace, floor_first=bool(index % 2)) for index in range(pairs)]
    return Result(name, benchmark, measured)


def _pair(benchmark: Benchmark, workspace: Workspace, *, floor_first: bool) -> tuple[Run, Run]:
    def one(command: Command, exit_code: int = 0) -> Run:
        environment = workspace.environment | dict(benchmark.new_environment())
        return run(command, environment, workspace.empty, exit_code)

    floor = one(benchmark.floor) if floor_first else None
    ours = one(benchmark.command, benchmark.exit_code)
    return ours, floor or one(benchmark.floor)


def run(command: Command, environment: Mapping[str, str], folder: Path, exit_code: int = 0) -> Run:
    """Measure one process and discard its output.

    Raises CalledProcessError where it ends with another exit code: a crash is not a fast run.
    """
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != exit_code:
            errors.seek(0)
            sys.stderr.buffer.write(errors.read()[-2000:])
            raise subprocess.CalledProcessError(process.returncode, command)
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / _KIB_PER_GIB)
