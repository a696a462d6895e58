"""The tool under every Python that this machine has: `make pythons`.

For each version an environment is made, with this project from its wheel, and asked what the program
answers: help, tables, cards, trees, snapshots of the catalogue's models and of every multimodal type. The
answers must be those of the Python that requirements.lock is for, to the byte, under the same transformers.
Then the tests run against the installed wheel. What came of it goes to docs/pythons.json and docs/pythons.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from tools.support import interpreters, python_page
from tools.support.environments import versions
from tools.support.interpreters import Interpreter
from tools.support.venvs import ROOT

# what says nothing of a Python: every type again, by answers that another test has blessed or measured
NOT_RUN = ("tests/every_type", "tests/test_support_matrix.py")
PACKAGES = ("transformers", "torch", "huggingface_hub", "tokenizers", "numpy", "msgspec")


def main() -> int:
    """Ask all that are here, or those named, and write data and page. Ends with 1 where something differs."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    built = interpreters.wheel(options.folder / "wheel")
    measure = interpreters.interpreter(versions()["measure"], options.folder)
    if measure is None:
        raise SystemExit(f"Python {versions()['measure']} is not here, and the others are held against it.")
    interpreters.make(measure, built)
    outcomes = {}
    for version in options.only or versions()["pythons"]:
        found = interpreters.interpreter(version, options.folder)
        outcomes[version] = _outcome(found, measure, built, options) if found else None
        python_page.write(outcomes)
        print(f"Python {version}: {python_page.summary(outcomes[version])}", flush=True)
        if found and found != measure and not options.keep:
            interpreters.drop(found)
    return 0 if all(map(python_page.is_well, outcomes.values())) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".pythons", help="where the environments are made"
    )
    parser.add_argument("--only", action="append", metavar="VERSION", help="of Python; may be repeated")
    parser.add_argument("--keep", action="store_true", help="keep the environments (3 GB each)")
    parser.add_argument("--tests", nargs="*", default=["tests"], metavar="PATH", help="which tests to run")
    return parser.parse_args()


def _outcome(
    found: Interpreter, measure: Interpreter, built: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """What one Python gave."""
    interpreters.make(found, built)
    packages = _packages(found)
    other = measure
    if found != measure and packages["transformers"] != _packages(measure)["transformers"]:
        other = interpreters.make_with(measure, packages["transformers"])
    with tempfile.TemporaryDirectory() as place:
        here, there = Path(place, "here"), Path(place, "there")
        _ask(found, here)
        _ask(other, there)
        compared, different = _compare(here, there)
    passed, failed = _tests(found, [str(ROOT / path) for path in options.tests])
    # what fails under the other Python as well is the matter of the packages that both have
    alike = _tests(other, failed)[1] if failed and other != found else []
    return {
        "python": _said(found, "import platform; print(platform.python_version())"),
        "packages": packages,
        "answers": compared,
        "different": different,
        "run": options.tests,
        "passed": passed,
        "alike": len(alike),
        "failed": sorted({_short(name) for name in failed} - {_short(name) for name in alike}),
    }


def _short(test: str) -> str:
    """A test by its path from here."""
    return test.removeprefix(f"{ROOT}/")


def _packages(where: Interpreter) -> dict[str, str]:
    script = f"from importlib.metadata import version as v; print(*(v(n) for n in {PACKAGES!r}))"
    return dict(zip(PACKAGES, (each.partition("+")[0] for each in _said(where, script).split()), strict=True))


def _said(where: Interpreter, script: str) -> str:
    return subprocess.run(
        [str(where.python), "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()


def _ask(where: Interpreter, folder: Path) -> None:
    """The program's answers in a folder of their own; nothing is asked of the Hub, nothing kept."""
    with tempfile.TemporaryDirectory() as home:
        quiet = {"HF_HUB_OFFLINE": "1", "HF_HOME": home, "COLUMNS": "100", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [str(where.python), "-m", "tools.support.answers", str(folder)]
        subprocess.run(command, env={**os.environ, **quiet}, cwd=where.home, check=True)


def _compare(here: Path, there: Path) -> tuple[int, list[str]]:
    """How many files there are, and those that are not the same to the byte, or in one folder alone."""
    files = {
        path.relative_to(folder).as_posix()
        for folder in (here, there)
        for path in folder.rglob("*")
        if path.is_file()
    }
    different = [name for name in sorted(files) if _content(here / name) != _content(there / name)]
    return len(files), different


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _tests(where: Interpreter, tests: list[str]) -> tuple[int, list[str]]:
    """How many tests pass against the installed wheel, and those that do not, as pytest names them."""
    with tempfile.TemporaryDirectory() as place:
        report = Path(place, "report.xml")
        # the package that is installed is imported, not the one beside the tests
        settings = ("--import-mode=append", "-c", str(ROOT / "pyproject.toml"), f"--junit-xml={report}")
        quiet = ("-q", "--tb=short", "-p", "no:cacheprovider", "-o", "junit_family=xunit1")
        ignored = [f"--ignore={ROOT / path}" for path in NOT_RUN]
        done = subprocess.run(
            [str(where.python), "-m", "pytest", *quiet, *settings, *ignored, *tests],
            cwd=where.home,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode not in {0, 1}:
            raise SystemExit(done.stdout)
        if done.returncode:
            print(done.stdout[done.stdout.find("= FAILURES") :][-20_000:], flush=True)
        return _read(report)


def _read(report: Path) -> tuple[int, list[str]]:
    """What pytest reports: how many passed, and the rest."""
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - pytest has just written it
    failed = [each for each in cases if each.find("failure") is not None or each.find("error") is not None]
    passed = sum(not len(each.findall("*")) for each in cases)
    return passed, sorted({f"{ROOT / str(each.get('file'))}::{each.get('name')}" for each in failed})


if __name__ == "__main__":
    sys.exit(main())
