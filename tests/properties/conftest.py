"""A program that runs commands on generated files and checks all that they do."""

import itertools
import os
import shutil
import sys
from functools import cache

import pytest

from tests.cli.program import call
from tests.properties.audit import Audit
from tests.properties.seeds import TINY, as_json, snapshots
from tests.render.output_faults import faults_of, of_errors, steering

_audit = cache(Audit)  # one for the process, since a hook cannot be removed


class Program:
    """Runs commands in this process, in a folder of their own."""

    def __init__(self, home, audit):
        self.folder = home / "work" / "case"
        self.forbidden = home / "work" / "outside"
        self.call = call
        self._audit = audit

    def run(self, files, *commands, writes=(), reads_outside=False):
        """Run commands on files, check them, and return their exit codes.

        `writes`: the files and folders that the commands name to be written.
        `reads_outside`: the user's own words are what is generated, and may name any file.
        """
        self._write(files)
        codes = []
        for command in commands:
            before = self._listing(writes)
            with self._audit.record(
                writable=[self.folder] if writes else [],
                forbidden=None if reads_outside else str(self.forbidden),
            ) as faults:
                answer = self.call(*command)
                codes.append(answer.code)
                faults.extend(faults_of_answer(command, answer))
            if self._listing(writes) != before:
                faults.append("a file changed that the command line does not name")
            assert not faults, f"{command}: {faults}"
        return codes

    def _write(self, files):
        os.chdir(self.folder.parent)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        os.chdir(self.folder)
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _listing(self, writes):
        """All files but those that may be written, with their contents."""
        named = [self.folder / name for name in writes]
        return {
            path: path.read_bytes()
            for path in self.folder.parent.rglob("*")
            if path.is_file() and not any(path == each or each in path.parents for each in named)
        }


def faults_of_answer(command, answer):
    """What is wrong with an exit code and with what was printed."""
    if answer.code not in {0, 1, 2, 3}:
        yield f"exit code {answer.code}: {answer.stderr}"
    if answer.code in {2, 3} and not (answer.stdout + answer.stderr).strip():
        yield f"exit code {answer.code} without a message"
    yield from of_errors(answer.stderr)
    form = dict(itertools.pairwise(command)).get("--format", "markdown")
    if "--names-only" in command or command[0] == "snapshot":
        yield from steering(answer.stdout)
    elif answer.stdout:
        yield from faults_of(answer.stdout, form, folded=command[0] == "diff")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The program in an empty home, with torch imported and caches of the process filled."""
    home = tmp_path_factory.mktemp("home")
    for name in ("hub", "cache", "work/outside"):
        (home / name).mkdir(parents=True)
    (home / "work" / "outside.json").write_text("{}", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"HOME": home, "XDG_CACHE_HOME": home / "cache", "FORCE_COLOR": "1"}.items():
            patch.setenv(name, str(value))
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.chdir(home)
        audit = _audit()
        audit.caches = (home / "cache", os.environ["HF_HOME"])
        ours = Program(home, audit)
        _warm_up(ours)
        yield ours


def _warm_up(program):
    """Run each command once: what it imports must not count as the time of an example."""
    program._write({"model/config.json": as_json(TINY), "a.json": snapshots()[0]})  # noqa: SLF001 - before the audit
    for command in ("show", "tree", "table", "verify"):
        program.call(command, "./model", "--offline")
    program.call("diff", "./model", "a.json", "--offline")
    program.call("snapshot", "./model", "--folder", "kept", "--offline")
    program.call("check", "--folder", "kept", "--offline")
