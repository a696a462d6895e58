"""Tests in other environments: `make compat`, or `nox --list`. Environments are kept in `.nox`."""

from __future__ import annotations

import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
COMPAT = ROOT / "tests" / "compat"
ANSWERS = ROOT / ".nox" / "answers"
PROJECT = nox.project.load_toml("pyproject.toml")
VERSIONS = nox.project.load_toml(COMPAT / "versions.toml")
ENVIRONMENTS = {packages["transformers"]: packages for packages in VERSIONS["environment"]}
TORCH = f"torch=={VERSIONS['torch']}"
# what the tests of tests/compat import, and what builds this project; at the versions of requirements.lock
SHARED = (
    "editables",
    "hatchling",
    "hypothesis",
    "msgspec",
    "psutil",
    "pytest",
    "pytest-timeout",
    "pyyaml",
    "regex",
    "tqdm",
    "typer",
)
# every type again: that needs the transformers of requirements.lock, which not every Python can have
LOCKED_ONLY = ("tests/every_type", "tests/test_support_matrix.py")

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["compat", "matrix"]


@nox.session
@nox.parametrize("transformers", [nox.param(version, id=version) for version in ENVIRONMENTS])
def compat(session: nox.Session, transformers: str) -> None:
    """Describe every model type under one version of transformers, then run the tests for it."""
    session.install("--constraint", "requirements.lock", TORCH, *SHARED)
    packages = [f"{name}=={version}" for name, version in ENVIRONMENTS[transformers].items()]
    session.install(*packages, "--no-build-isolation", "--editable", ".")
    ANSWERS.mkdir(parents=True, exist_ok=True)
    newest, answers = ANSWERS / "newest-types.json", ANSWERS / f"{transformers}.json"
    offline = {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    survey = ("-W", "ignore", "-m", "tools.compat.survey")
    session.run(sys.executable, *survey, "types", str(newest), external=True)
    session.run("python", *survey, "answers", str(newest), str(answers), env=offline)
    # the oldest libraries warn of what the newest Python will drop
    pytest = ("-m", "pytest", "-W", "default", "-p", "no:cacheprovider", "-q", "--no-header")
    own = COMPAT / f"under_{transformers.replace('.', '_')}.py"
    files = [str(path) for path in (COMPAT / "under_any.py", own) if path.exists()]
    session.run("python", "-W", "ignore", *pytest, *files, env=offline)


@nox.session(venv_backend="none")
def matrix(session: nox.Session) -> None:
    """Write docs/support-matrix.md from the answers of `compat`."""
    answers = [str(path) for version in ENVIRONMENTS if (path := ANSWERS / f"{version}.json").exists()]
    session.run(sys.executable, "-m", "tools.compat.matrix", *answers)


@nox.session(python=nox.project.python_versions(PROJECT))
def tests(session: nox.Session) -> None:
    """Run the tests under one Python; `nox -s tests-3.12 -- tests/build` runs a part."""
    # the tests compare help texts, which typer words
    typer = next(line for line in Path("requirements.lock").read_text().splitlines() if "typer==" in line)
    session.install(TORCH, typer, "--editable", ".[dev]")
    everything = ("tests", *(f"--ignore={path}" for path in LOCKED_ONLY))
    session.run("python", "-m", "pytest", *(session.posargs or everything))
