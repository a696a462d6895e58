"""An environment for each Python: this project from its wheel, and what its tests need.

The packages are those of requirements.lock where pip can have them for that Python, and else what pip
chooses by the ranges of pyproject.toml. The libraries that a torch with CUDA is linked to are the same for
every Python, and large: they are installed once, and the environments see them after their own packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.support.environments import FOR_TESTS, versions
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

_PYENV = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
_OF_CUDA = ("cuda-toolkit", "nvidia-")
_REQUIREMENTS = """
import sys
from importlib.metadata import requires
from packaging.requirements import Requirement
for each in map(Requirement, requires("torch")):
    if each.name.startswith(tuple(sys.argv[1:])) and (each.marker is None or each.marker.evaluate()):
        each.marker = None
        print(each)
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python of this machine, and where its environment is."""

    version: str
    program: Path
    folder: Path

    @property
    def home(self) -> Path:
        """Its environment."""
        return self.folder / f"python-{self.version}"

    @property
    def python(self) -> Path:
        """The Python of its environment."""
        return python_of(self.home)


def interpreter(version: str, folder: Path) -> Interpreter | None:
    """The Python of that version: on the path, or pyenv's newest; None where there is none."""
    places = [shutil.which(f"python{version}"), *sorted(_PYENV.glob(f"{version}.*/bin/python"), reverse=True)]
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    for place in filter(None, places):
        done = subprocess.run([str(place), "-c", script], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return Interpreter(version, Path(place), folder)
    return None


def wheel(folder: Path) -> Path:
    """This project's wheel, built anew."""
    shutil.rmtree(folder, ignore_errors=True)
    builder = folder.parent / "builder"
    if not is_made(builder, "pip"):
        venv(builder)
        keep_stamp(builder, "pip")
    command = [str(python_of(builder)), "-m", "pip", "wheel", "-qq", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    (built,) = folder.glob("*.whl")
    return built


def make(where: Interpreter, built: Path) -> None:
    """Make the environment: torch, the wheel with its dependencies, what the tests need."""
    stamp = "\n".join([versions()["torch"], LOCK.read_text(encoding="utf-8")])
    if not is_made(where.home, stamp):
        venv(where.home, interpreter=where.program)
        install(where.python, ["--no-deps", f"torch=={versions()['torch']}"])
        install(where.python, ["packaging"])
        _add_cuda(where)
        _add_packages(where, built)
        keep_stamp(where.home, stamp)
    install(where.python, ["--no-deps", "--force-reinstall", str(built)])
    # the tests and tools, and not the package beside them: what is installed comes first
    (site_packages(where.home) / "tests.pth").write_text(f"{ROOT}\n", encoding="utf-8")


def make_with(where: Interpreter, transformers: str) -> Interpreter:
    """The same environment but for an older transformers, and what that needs to be otherwise."""
    other = Interpreter(where.version, where.program, where.folder / f"transformers-{transformers}")
    if not is_made(other.home, transformers):
        venv(other.home, interpreter=where.program)
        see_also(other.home, "same", site_packages(where.home))
        install(other.python, [f"transformers=={transformers}"])
        keep_stamp(other.home, transformers)
    return other


def drop(where: Interpreter) -> None:
    """Give the disk its space back."""
    shutil.rmtree(where.home, ignore_errors=True)


def _add_cuda(where: Interpreter) -> None:
    """What torch says that it needs of CUDA: nothing, where it was built for the CPU."""
    command = [str(where.python), "-c", _REQUIREMENTS, *_OF_CUDA]
    wanted = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    shared = where.folder / "cuda"
    if wanted and not is_made(shared, "\n".join(wanted)):
        shutil.rmtree(shared, ignore_errors=True)
        install(where.python, ["--target", str(shared), *wanted])
        keep_stamp(shared, "\n".join(wanted))
    if wanted:
        see_also(where.home, "cuda", shared)


def _add_packages(where: Interpreter, built: Path) -> None:
    wanted = [f"{built}[dev]", f"torch=={versions()['torch']}", *FOR_TESTS]
    try:
        install(where.python, ["--constraint", str(LOCK), *wanted])
    except subprocess.CalledProcessError:
        print(f"Python {where.version}: requirements.lock is not for it; pip chooses.", flush=True)
        # all but typer, which words the help: that is compared to the byte
        locked = LOCK.read_text(encoding="utf-8").splitlines()
        install(where.python, [*wanted, *(each for each in locked if each.startswith("typer=="))])
