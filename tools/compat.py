"""The tool under every version of transformers that it supports: `make compat`.

For each version of tools/support/versions.toml an environment is made (once) and asked for every model of
the catalogue and every multimodal type that it has. The answers go to docs/support-matrix.json, and the
page docs/support-matrix.md is made from them. Then the tests of tests/compat run in each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.support import page
from tools.support.environments import Environment, environments, make
from tools.support.survey import mapped_types
from tools.support.venvs import ROOT

DATA = ROOT / "docs" / "support-matrix.json"
PAGE = ROOT / "docs" / "support-matrix.md"
TESTS = ROOT / "tests" / "compat"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one environment gave."""

    version: str
    answers: dict[str, Any]
    failures: str
    seconds: float


def main() -> int:
    """Ask all versions, or those named, and write data and page. Ends with 1 where a test failed."""
    options = _options()
    chosen = [
        each for each in environments(options.folder) if each.version in (options.only or [each.version])
    ]
    for environment in chosen:  # one after the other: pip and the disk gain nothing from two at a time
        make(environment)
    (options.folder / "newest.json").write_text(json.dumps(mapped_types()), encoding="utf-8")
    start = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(_outcome, chosen))
    if not options.check:
        _write(outcomes)
    failed = [outcome for outcome in outcomes if outcome.failures]
    for outcome in failed:
        print(f"\ntransformers {outcome.version}:\n{outcome.failures}")
    print(f"{len(outcomes)} versions in {time.monotonic() - start:.0f} s; tests failed in {len(failed)}.")
    stale = options.check and any(_kept(outcome.version) != outcome.answers for outcome in outcomes)
    if stale:
        print("docs/support-matrix.json says otherwise: make compat")
    return 1 if failed or stale else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=ROOT / ".compat", help="where the environments are")
    parser.add_argument("--only", action="append", metavar="VERSION", help="of transformers; may be repeated")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="versions at a time")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the data is stale")
    return parser.parse_args()


def _outcome(environment: Environment) -> Outcome:
    start = time.monotonic()
    answers = _survey(environment)
    failures = _failures(environment)
    outcome = Outcome(environment.version, answers, failures, time.monotonic() - start)
    print(
        f"transformers {outcome.version:7}{len(answers['types']):4} types {outcome.seconds:5.0f} s",
        flush=True,
    )
    return outcome


def _survey(environment: Environment) -> dict[str, Any]:
    output = environment.folder / f"{environment.version}.json"
    newest = environment.folder / "newest.json"
    done = _run(environment, "-m", "tools.support.survey", str(newest), str(output))
    if done.returncode:
        raise SystemExit(f"transformers {environment.version}:\n{done.stdout}")
    return dict(json.loads(output.read_text(encoding="utf-8")))


def _failures(environment: Environment) -> str:
    """What the tests for all versions, and those for this one, say where they fail."""
    own = TESTS / f"under_{environment.version.replace('.', '_')}.py"
    files = [str(path) for path in (TESTS / "under_any.py", own) if path.exists()]
    # the oldest libraries warn of what today's Python will drop: their business, not this project's
    quietly = ("-W", "default", "-p", "no:cacheprovider", "-q", "--no-header")
    done = _run(environment, "-m", "pytest", *quietly, *files)
    return done.stdout if done.returncode else ""


def _run(environment: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(environment.python), "-W", "ignore", *arguments],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _kept(version: str) -> dict[str, Any] | None:
    """What the data says of a version."""
    return page.load(DATA).get(version) if DATA.exists() else None


def _write(outcomes: Sequence[Outcome]) -> None:
    """Data and page: what was asked anew, beside what was not."""
    data = page.load(DATA) if DATA.exists() else {}
    data.update({outcome.version: outcome.answers for outcome in outcomes})
    known = {environment.version for environment in environments(ROOT)}
    data = {version: answers for version, answers in data.items() if version in known}
    DATA.write_text(page.dump(data), encoding="utf-8")
    PAGE.write_text(page.render(data), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
