"""Some of the cases again, by the console script: what runs in a process of ours is what users run."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tools.fuzz.case import Case
from tools.fuzz.program import run_script
from tools.fuzz.worker import Result, cases, faults_of_command

_NOT_BY_SCRIPT = frozenset({"child"})
"""The isolated child is a stand-in's, which the script does not have."""


def run_sample(seed: int, counts: Mapping[str, int], wanted: int, *, jobs: int) -> Iterator[Result]:
    """Results of cases that lie evenly among the numbers of each kind."""
    chosen = list(_chosen(counts, wanted))
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(partial(_run, seed), chosen)


def _chosen(counts: Mapping[str, int], wanted: int) -> Iterator[tuple[str, int]]:
    total = sum(count for kind, count in counts.items() if kind not in _NOT_BY_SCRIPT)
    for kind, count in counts.items():
        share = round(wanted * count / total) if total and kind not in _NOT_BY_SCRIPT else 0
        for place in range(share):
            yield kind, place * count // share


def _run(seed: int, chosen: tuple[str, int]) -> Result:
    kind, number = chosen
    (_, case) = next(cases(seed, kind, range(number, number + 1)))
    with tempfile.TemporaryDirectory(prefix="fuzz-script-") as name:
        faults = tuple(_faults(case, Path(name)))
    return Result(kind, number, "by the script", 0.0, faults)


def _faults(case: Case, home: Path) -> Iterator[str]:
    folder = home / "case"
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for command in _callable(case.commands):
        before = _listing(home)
        try:
            said = run_script(command, folder, home)
        except subprocess.TimeoutExpired:
            yield "more than 120 s"
            return
        yield from faults_of_command(command, said)
        named = {folder / name for name in case.writes}
        for path in sorted(_listing(home) - before):
            if not any(path == each or each in path.parents for each in named):
                yield f"{path.relative_to(home)} was written"
    shutil.rmtree(folder)


def _callable(commands: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """The commands that a system can start: no word with a NUL, half a character, or of endless length."""
    for command in commands:
        if all("\0" not in word and len(word) < 100_000 and _is_whole(word) for word in command):  # noqa: PLR2004
            yield command


def _is_whole(word: str) -> bool:
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _listing(home: Path) -> set[Path]:
    """Files, but those of the caches that the Hub's library keeps in its home."""
    return {
        path for path in home.rglob("*") if path.is_file() and "hf" not in path.relative_to(home).parts[:1]
    }
