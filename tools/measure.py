"""Two processes compared: ours and the floor in turn, in CPU time and peak resident memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_KIB_PER_GIB = 1 << 20


@dataclass(frozen=True)
class Benchmark:
    """One comparison: what we run, the least that any tool must do for it, and how much more may be ours."""

    name: str
    ours: Sequence[str]
    floor: Sequence[str]
    ours_does: str
    floor_does: str
    target: float
    """CPU time, ours over the floor's."""
    memory_target: float | None = None
    """Peak resident memory of ours in GiB."""
    remark: str = ""
    """What the reader should know of the figure."""
    ends_with: int = 0
    """The exit code of ours: 1 where it has found a difference."""


@dataclass(frozen=True)
class Run:
    """One process, from start to exit."""

    cpu: float
    """Seconds, user and system."""
    peak: float
    """Peak resident memory in GiB."""


@dataclass(frozen=True)
class Measured:
    """A benchmark's runs, in pairs."""

    benchmark: Benchmark
    pairs: Sequence[tuple[Run, Run]]

    @property
    def ratios(self) -> list[float]:
        """CPU time of ours over the floor's, pair by pair."""
        return [ours.cpu / floor.cpu for ours, floor in self.pairs]

    @property
    def ratio(self) -> float:
        """The median pair's."""
        return median(self.ratios)

    @property
    def peak(self) -> float:
        """The greatest peak of ours, in GiB."""
        return max(ours.peak for ours, _ in self.pairs)

    @property
    def holds(self) -> bool:
        """Whether the targets are met."""
        most = self.benchmark.memory_target
        return self.ratio <= self.benchmark.target and (most is None or self.peak <= most)


def measure(benchmark: Benchmark, pairs: int, environment: Mapping[str, str]) -> Measured:
    """Each side once for warm files and byte code, then in pairs, each pair beginning with the other side."""
    _pair(benchmark, environment, is_odd=False)
    measured = [_pair(benchmark, environment, is_odd=bool(index % 2)) for index in range(pairs)]
    return Measured(benchmark, measured)


def _pair(benchmark: Benchmark, environment: Mapping[str, str], *, is_odd: bool) -> tuple[Run, Run]:
    if is_odd:
        floor = run(benchmark.floor, environment)
        return run(benchmark.ours, environment, benchmark.ends_with), floor
    ours = run(benchmark.ours, environment, benchmark.ends_with)
    return ours, run(benchmark.floor, environment)


def run(command: Sequence[str], environment: Mapping[str, str], ends_with: int = 0) -> Run:
    """One process, its output thrown away. Raises where it does not end well: a crash is quick."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != ends_with:
            said.seek(0)
            sys.stderr.buffer.write(said.read()[-2000:])
            raise subprocess.CalledProcessError(process.returncode, command)
    return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _KIB_PER_GIB)


def clean_environment(folder: Path) -> dict[str, str]:
    """Byte code beside nobody's sources, no network, no colour: the same for both sides."""
    dropped = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    fixed = {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    return {**kept, **fixed}
