"""An environment for each version of transformers, made once and kept.

torch and whatever else does not depend on transformers is installed once, into an environment that the
others see after their own packages. This project is installed into each by pip, so that the bounds in
pyproject.toml are held against every set of versions.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.support.venvs import (
    LOCK,
    ROOT,
    install,
    is_made,
    keep_stamp,
    python_of,
    see_also,
    site_packages,
    venv,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VERSIONS = Path(__file__).with_name("versions.toml")
# at the versions of requirements.lock; hatchling and editables are what builds this project
_SHARED = ("jinja2", "msgspec", "rich", "typer", "tomli; python_version < '3.11'")
FOR_TESTS = (
    "pytest",
    "hypothesis",
    "hatchling",
    "editables",
    "packaging",
    "psutil",
    "pyyaml",
    "regex",
    "tqdm",
)


@dataclass(frozen=True, slots=True)
class Environment:
    """A version of transformers with what stands beside it, and where it is installed."""

    packages: dict[str, str]
    folder: Path

    @property
    def version(self) -> str:
        """Of transformers."""
        return self.packages["transformers"]

    @property
    def home(self) -> Path:
        """Its folder."""
        return self.folder / f"transformers-{self.version}"

    @property
    def python(self) -> Path:
        """Its Python."""
        return python_of(self.home)


def environments(folder: Path) -> tuple[Environment, ...]:
    """All of them, oldest first; those not made yet are only named."""
    return tuple(Environment(packages, folder) for packages in versions()["environment"])


@cache
def versions() -> dict[str, Any]:
    """What versions.toml says."""
    return tomllib.loads(VERSIONS.read_text(encoding="utf-8"))


def make(environment: Environment) -> None:
    """Make the environment, or make it anew where what it should hold has changed."""
    shared = _make_shared(environment.folder)
    wanted = [f"{name}=={version}" for name, version in environment.packages.items()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if is_made(environment.home, stamp := "\n".join([*wanted, *project["dependencies"]])):
        return
    venv(environment.home, "--without-pip")
    see_also(environment.home, "shared", site_packages(shared))
    install(environment.python, [*wanted, "--no-build-isolation", "--editable", str(ROOT)])
    keep_stamp(environment.home, stamp)


def _make_shared(folder: Path) -> Path:
    home = folder / "shared"
    wanted = [f"torch=={versions()['torch']}", *_SHARED, *FOR_TESTS]
    if not is_made(home, stamp := "\n".join([*wanted, LOCK.read_text(encoding="utf-8")])):
        venv(home)
        install(python_of(home), ["--constraint", str(LOCK), *wanted])
        keep_stamp(home, stamp)
    return home
