"""A process that makes cases and runs them, one after another, watched."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.fuzz import watch
from tools.fuzz.case import Case, Command, randomness
from tools.fuzz.outputs import FORMS, faults_of, of_errors
from tools.fuzz.program import CODES, Program, Said
from tools.fuzz.watch import Allowed, TooLongError, Watch, limit_memory


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one input."""

    kind: str
    number: int
    outcome: str
    """`answered`, `differs`, `refused` …: what the last command's exit code means."""
    seconds: float
    faults: tuple[str, ...] = ()
    trace: str = ""
    """What was said on standard error, where there are faults."""


_OUTCOMES = {0: "answered", 1: "differs", 2: "usage error", 3: "refused"}


@dataclass(slots=True)
class Worker:
    """Runs cases in a folder of its own, in this process. There can be one in a process."""

    home: Path
    folder: Path = field(init=False)
    program: Program = field(init=False)
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        """Get all that every case needs, before anything is limited or watched."""
        for name in ("hf", "cache", "work"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        _prepare_environment(self.home)
        self.folder = self.home / "work" / "case"
        bait = self.home / "work" / "bait"
        for name in ("bait", "bait.json"):
            (self.home / "work" / name).write_text("{}", encoding="utf-8")
        self.program = Program()
        self._warm_up()
        _answer_from_a_file()
        self.watch = Watch(bait, (str(self.home / "hf"), str(self.home / "cache")))  # type: ignore[arg-type]
        limit_memory()

    def run(self, kind: str, number: int, case: Case) -> Result:
        """One case's result."""
        self._lay_out(case.files)
        allowed = Allowed(
            self.folder, tuple(self.folder / name for name in case.writes), case.starts, case.anywhere
        )
        faults, said, start = [], [], time.perf_counter()
        try:
            with self.watch.over(allowed):
                said = [self._said(command) for command in case.commands]
        except TooLongError:
            faults = [f"more than {watch.SECONDS} s: {_place()}"]
        except BaseException as error:  # noqa: BLE001 - whatever gets past the program's own roof is a finding
            faults = [f"{type(error).__name__} gets out of the program: {error}\n{traceback.format_exc()}"]
        seconds = time.perf_counter() - start
        for command, each in zip(case.commands, said, strict=False):
            faults += faults_of_command(command, each)
        if case.follows and len(said) == len(case.commands):
            faults += case.follows(self.folder, [each.code for each in said])
        outcome = _OUTCOMES.get(said[-1].code, "bug") if said else "ended"
        errors = "".join(each.err for each in said)
        found = (*faults, *allowed.faults)
        return Result(kind, number, outcome, seconds, found, errors if found else "")

    def _warm_up(self) -> None:
        """Import what every build imports, and run what fills caches: it counts for no case."""
        from tools.fuzz import seeds

        seeds.configs()
        seeds.tensors()
        self._lay_out(
            {"model/config.json": json.dumps(seeds.TINY).encode(), "a.json": seeds.snapshot_texts()[0]}
        )
        for form in FORMS:
            for command in ("show", "tree", "table"):
                self.program.run((command, "./model", "--no-cache", "--format", form))
            self.program.run(("diff", "./model", "a.json", "--format", form))
        for words in (
            ("verify", "./model"),
            ("snapshot", "./model", "--folder", "kept"),
            ("check", "--folder", "kept"),
        ):
            self.program.run(words)

    def _said(self, command: Command) -> Said:
        return self.program.run(command, terminal=_form(command) == "terminal")

    def _lay_out(self, files: Mapping[str, bytes]) -> None:
        os.chdir(self.home)
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        os.chdir(self.folder)


def cases(seed: int, kind: str, numbers: range) -> Iterator[tuple[int, Case]]:
    """The cases of these numbers."""
    from tools.fuzz.kinds import KINDS

    make = KINDS[kind].make
    for number in numbers:
        yield number, make(randomness(seed, kind, number))


def signature(result: Result) -> str:
    """What tells one sort of finding from another: the fault without its figures, and where it was raised."""
    places = re.findall(
        r'File "[^"]*?(?:vlm_inspect|tools)/([^"]+)", line (\d+)', result.trace or result.faults[0]
    )
    fault = re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "#", result.faults[0].partition("\n")[0])[:80]
    return f"{result.kind}: {fault}" + (f" ({':'.join(places[-1])})" if places else "")


def faults_of_command(command: Command, said: Said) -> Iterator[str]:
    """What is wrong with what a command said, and with what it ended as."""
    if said.code not in CODES:
        yield f"exit code {said.code}: {said.err.partition('This is a bug')[2][:300]}"
    yield from of_errors(said.err)
    if said.out:
        form = _form(command)
        yield from (f"{form}: {fault}" for fault in faults_of(said.out, form, folded=command[0] == "diff"))


def _form(command: Command) -> str:
    """The format that a command's words ask for; without any, that of a pipe."""
    words = dict(itertools.pairwise(command))
    stated = words.get("--format", "markdown")
    if "--names-only" in command or command[0] == "snapshot":
        return "text"
    return stated if stated in (*FORMS, "github") else "markdown"


def _place() -> str:
    """Where the clock rang."""
    return traceback.format_exc(limit=-6).replace("\n", " | ")[:1_500]


def _prepare_environment(home: Path) -> None:
    from tools.fuzz.program import environment

    os.environ.clear()
    os.environ.update(environment(home))


def _answer_from_a_file() -> None:
    """A stand-in for the isolated child: what it says is in a file; how it is read is the real thing."""
    from tools.fuzz.kinds.children import ANSWER
    from vlm_inspect.build import remote
    from vlm_inspect.build.remote import process

    def build(_code: object, _config: object, model: str, _limits: object = None) -> Any:
        return process._tree(process._Heard(Path(ANSWER).read_bytes()), model)  # noqa: SLF001 - the parent's own reading

    with contextlib.suppress(AttributeError):
        remote.build = build  # type: ignore[assignment]
