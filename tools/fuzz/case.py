"""A case: files and the commands that are run on them, which a seed, a kind and a number make again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One input."""

    files: Mapping[str, bytes]
    """Name in the case's folder → content."""
    commands: tuple[Command, ...]
    """Words behind `vlm-inspect`, run one after another in that folder."""
    writes: tuple[str, ...] = ()
    """Files, or folders with all in them, that these commands name to be written."""
    starts: bool = False
    """Whether a command of these may start a process: a stranger's pattern is tried in one."""
    anywhere: bool = False
    """Whether the user's own words, who may read what is theirs, are what is strange."""
    follows: Callable[[Path, list[int]], list[str]] | None = field(default=None, compare=False)
    """What must hold of the folder after the commands, given their exit codes; the faults as sentences."""


Maker = Callable[[random.Random], Case]


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of hostile input."""

    make: Maker
    share: int
    """How many of 100,000 inputs are of this kind."""
    told: str
    """What is fuzzed, for the report."""


def randomness(seed: int, kind: str, number: int) -> random.Random:
    """The same for ever for the same three."""
    return random.Random(f"{seed}:{kind}:{number}")  # noqa: S311 - to be repeated, not to be secret


def keep(case: Case, folder: Path, told: Mapping[str, object]) -> None:
    """Write a case as files, with what was found of it and how to run it again."""
    for name, content in case.files.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    commands = [list(command) for command in case.commands]
    said = json.dumps({**told, "commands": commands}, indent=2, ensure_ascii=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "finding.json").write_text(said + "\n", encoding="utf-8")
