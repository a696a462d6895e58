"""An environment for each version of transformers, made once and kept.

torch and whatever else does not depend on transformers is installed once, into an environment that the
others see after their own packages. This project is installed into each by pip, so that the bounds in
pyproject.toml are held against every set of versions.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = Path(__file__).with_name("versions.toml")
_LOCK = ROOT / "requirements.lock"
# at the versions of requirements.lock; hatchling and editables are what builds this project
_SHARED = ("jinja2", "msgspec", "rich", "typer", "tomli; python_version < '3.11'")
_FOR_TESTS = (
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
        return _python(self.home)


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
    if _is_made(environment.home, stamp := "\n".join([*wanted, *project["dependencies"]])):
        return
    _venv(environment.home, "--without-pip")
    site = _site_packages(environment.home)
    (site / "shared.pth").write_text(f"import site; site.addsitedir({str(_site_packages(shared))!r})\n")
    _install(environment.python, [*wanted, "--no-build-isolation", "--editable", str(ROOT)])
    (environment.home / ".made").write_text(stamp, encoding="utf-8")


def _make_shared(folder: Path) -> Path:
    home = folder / "shared"
    wanted = [f"torch=={versions()['torch']}", *_SHARED, *_FOR_TESTS]
    if not _is_made(home, stamp := "\n".join([*wanted, _LOCK.read_text(encoding="utf-8")])):
        _venv(home)
        _install(_python(home), ["--constraint", str(_LOCK), *wanted])
        (home / ".made").write_text(stamp, encoding="utf-8")
    return home


def _is_made(home: Path, stamp: str) -> bool:
    made = home / ".made"
    return made.exists() and made.read_text(encoding="utf-8") == stamp


def _venv(home: Path, *options: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", *options, str(home)], check=True)


def _install(python: Path, wanted: Sequence[str]) -> None:
    subprocess.run([str(python), "-m", "pip", "install", "-qq", *wanted], check=True)


def _python(home: Path) -> Path:
    return home / "bin" / "python"


def _site_packages(home: Path) -> Path:
    return next((home / "lib").glob("python*/site-packages"))
