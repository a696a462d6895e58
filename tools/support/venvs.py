"""Virtual environments: made, filled by pip, and known again by a stamp of what was to be in them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"


def venv(home: Path, *options: str, interpreter: Path | str = sys.executable) -> None:
    """An empty environment; what was there before is gone."""
    subprocess.run([str(interpreter), "-m", "venv", "--clear", *options, str(home)], check=True)


def install(python: Path, wanted: Sequence[str]) -> None:
    """Have pip install into the environment of that Python. Raises CalledProcessError where it refuses."""
    subprocess.run([str(python), "-m", "pip", "install", "-qq", *wanted], check=True)


def python_of(home: Path) -> Path:
    """An environment's Python."""
    return home / "bin" / "python"


def site_packages(home: Path) -> Path:
    """Where an environment's packages lie."""
    return next((home / "lib").glob("python*/site-packages"))


def see_also(home: Path, name: str, place: Path) -> None:
    """Let an environment find the packages in another place too, after its own, with their .pth files."""
    line = f"import site; site.addsitedir({str(place)!r})\n"
    (site_packages(home) / f"{name}.pth").write_text(line, encoding="utf-8")


def is_made(home: Path, stamp: str) -> bool:
    """Whether the environment is there and whole, with what the stamp says."""
    made = home / ".made"
    return made.exists() and made.read_text(encoding="utf-8") == stamp


def keep_stamp(home: Path, stamp: str) -> None:
    """Say that the environment is whole."""
    (home / ".made").write_text(stamp, encoding="utf-8")
