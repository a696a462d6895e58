"""What one further model costs: tables of 20, 200 and 2,000 models, of 50 architectures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tools.benchmarks.hub import fresh_home
from tools.benchmarks.measure import Run, run
from tools.benchmarks.place import OURS, Place

SIZES = (20, 200, 2_000)
_MIB_PER_GIB = 1024


@dataclass(frozen=True)
class Growth:
    """The same question of more and more models."""

    name: str
    does: str
    options: Sequence[str] = ()
    seconds_target: float = 1.1
    """Seconds of a further model among the many, over those of one among the few."""
    memory_target: float = 0.1
    """MiB of a further model."""


@dataclass(frozen=True)
class Grown:
    """A run of each size."""

    growth: Growth
    runs: Mapping[int, Run]

    @property
    def seconds(self) -> list[float]:
        """CPU seconds of each further model, from one size to the next."""
        return [
            (self.runs[more].cpu - self.runs[few].cpu) / (more - few) for few, more in pairwise(self.runs)
        ]

    @property
    def memory(self) -> list[float]:
        """MiB at the peak for each further model, from one size to the next."""
        return [
            (self.runs[more].peak - self.runs[few].peak) * _MIB_PER_GIB / (more - few)
            for few, more in pairwise(self.runs)
        ]

    @property
    def missed(self) -> list[str]:
        """Which of the targets are missed, each with what was measured."""
        grows = self.seconds[-1] / self.seconds[0]
        found = []
        if grows > self.growth.seconds_target:
            found.append(f"seconds grow {grows:.2f} times")
        if self.memory[-1] > self.growth.memory_target:
            found.append(f"{self.memory[-1]:.2f} MiB each")
        return found


def growths() -> list[Growth]:
    """With the answers that are kept, and without."""
    return [
        Growth("growth", "`vlm-inspect table` of config.json files of 50 architectures, nothing cached"),
        Growth("growth, no cache", "the same with `--no-cache`: each is built", ["--no-cache"]),
    ]


def grow(growth: Growth, place: Place, sizes: Sequence[int] = SIZES) -> Grown:
    """Each size once, from an empty cache."""
    configs = place.configs("many")
    runs = {}
    for size in sizes:
        command = [*OURS, "table", "--offline", *growth.options, *configs[:size]]
        environment = place.environment | {"HF_HOME": fresh_home(place)}
        runs[size] = run(command, environment, place.empty)
    return Grown(growth, runs)
