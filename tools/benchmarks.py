"""What is measured: a function per benchmark, and their list."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from measure import Benchmark

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(__file__).parent
PYTHON = sys.executable
OURS = (PYTHON, "-m", "vlm_inspect")


def every_type(folder: Path) -> Benchmark:
    """One process for all multimodal types."""
    configs = _configs("types", folder)
    return Benchmark(
        name="every type",
        ours=[*OURS, "table", "--offline", *configs],
        floor=[PYTHON, str(TOOLS / "floors" / "build_models.py"), *configs],
        ours_does=f"`vlm-inspect table` of {len(configs)} config.json: build, describe, a row each",
        floor_does="imports transformers and builds the same classes on meta, in a loop",
        target=1.3,
        memory_target=1.5,
    )


def seed_models(folder: Path) -> Benchmark:
    """The first question that a user asks: the built-in models, from a cold start."""
    configs = _configs("built-in", folder)
    return Benchmark(
        name="built-in models",
        ours=[*OURS, "table", "--offline"],
        floor=[PYTHON, str(TOOLS / "floors" / "build_models.py"), *configs],
        ours_does="`vlm-inspect table --offline`: nine rows, cold",
        floor_does=f"imports torch and transformers and builds the same {len(configs)} classes on meta",
        target=1.10,
    )


def help_text(_: Path) -> Benchmark:
    """A question that needs no model."""
    return _printing("help", [*OURS, "--help"], "`vlm-inspect --help`")


def diff_of_files(folder: Path) -> Benchmark:
    """Two models that were looked at before."""
    return replace(_printing("diff", _diff(folder), _DIFF, ends_with=1), remark=_ARGUMENTS)


def diff_as_command(folder: Path) -> Benchmark:
    """The same, against what a command costs as soon as it takes arguments."""
    command = _diff(folder)
    floor = [PYTHON, str(TOOLS / "floors" / "print_table_as_command.py"), str(_lines(command)), "name"]
    return Benchmark(
        name="diff, as a command",
        ours=command,
        floor=floor,
        ours_does=_DIFF,
        floor_does="a typer command with two arguments and an option, which prints the same table",
        target=1.5,
        ends_with=1,
    )


BENCHMARKS: Mapping[str, Callable[[Path], Benchmark]] = {
    "every_type": every_type,
    "seed_models": seed_models,
    "help": help_text,
    "diff": diff_of_files,
    "diff_as_command": diff_as_command,
}
_ARGUMENTS = (
    "A floor that typer alone exceeds: it makes a pydantic validator for each argument as soon as a command "
    "takes any. The next benchmark has that in its floor."
)
_DIFF = "`vlm-inspect diff` of two snapshot files"


def _printing(name: str, command: list[str], does: str, *, ends_with: int = 0) -> Benchmark:
    """What only prints, against a bare script that prints as much."""
    lines = _lines(command)
    return Benchmark(
        name=name,
        ours=command,
        floor=[PYTHON, str(TOOLS / "floors" / "print_table.py"), str(lines)],
        ours_does=does,
        floor_does=f"imports typer and rich and prints a table of {lines} rows",
        target=1.5,
        ends_with=ends_with,
    )


def _diff(folder: Path) -> list[str]:
    """The command, of two snapshot files that are written for it."""
    models = [f"TIGER-Lab/Mantis-8B-{name}-llama3" for name in ("siglip", "clip")]
    _prepare([*OURS, "snapshot", *models, "--offline", "--folder", str(folder)])
    return [*OURS, "diff", *map(str, sorted(folder.glob("*.json"))), "--format", "terminal"]


def _lines(command: list[str]) -> int:
    """The lines that a command prints."""
    return len(subprocess.run(command, capture_output=True, check=False).stdout.splitlines())


def _configs(which: str, folder: Path) -> list[str]:
    """Folders with a config.json each."""
    _prepare([PYTHON, str(TOOLS / "write_configs.py"), which, str(folder)])
    return [str(path.parent) for path in sorted(folder.glob("*/config.json"))]


def _prepare(command: list[str]) -> None:
    """Run in a process of its own, so that what it loads is nobody's measured memory."""
    subprocess.run(command, check=True, capture_output=True)
