"""Environments with something broken in them: the packages of this one, some left out, some replaced."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import vlm_inspect
from tests.cli.program import Answer, environment
from vlm_inspect.__main__ import main

_DROP_FROM_BOUND, _PASS_BY_PERMISSIONS = 24, (1, 2)
_VERSION_3 = 0x20080522


class Environment:
    """A virtual environment of links to the packages that this one sees."""

    def __init__(self, home):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
        self.python = home / "bin" / "python"
        self.site = next((home / "lib").glob("python*/site-packages"))
        (self.site / "vlm_inspect").symlink_to(Path(vlm_inspect.__file__).parent)
        for place in map(Path, sys.path):
            for entry in place.iterdir() if place.name == "site-packages" else ():
                if entry.suffix != ".pth" and not (self.site / entry.name).exists():
                    (self.site / entry.name).symlink_to(entry)

    def without(self, name):
        """Take a package out, as if it had never been installed."""
        for entry in (self.site / name, *self.site.glob(f"{name}-*.dist-info")):
            entry.unlink()

    def instead(self, name, version, source=None):
        """Put another version in a package's place: its metadata, and its code where that is given."""
        (real,) = self.site.glob(f"{name}-*.dist-info")
        stated = (real / "METADATA").read_text(encoding="utf-8").splitlines()
        real.unlink()
        info = self.site / f"{name}-{version}.dist-info"
        info.mkdir()
        lines = [f"Version: {version}" if line.startswith("Version: ") else line for line in stated]
        (info / "METADATA").write_text("\n".join(lines), encoding="utf-8")
        if source is not None:
            (self.site / name).unlink()
            (self.site / name).mkdir()
            (self.site / name / "__init__.py").write_text(source, encoding="utf-8")

    def run(self, *arguments, cwd, **env):
        """`vlm-inspect` there."""
        return run_under(self.python, *arguments, cwd=cwd, **env)


def run_under(python, *arguments, cwd, options=(), before=None, **env):
    """`vlm-inspect` by some Python, with options of Python's own; `before` runs in the child at its start."""
    command = [python, *options, "-m", "vlm_inspect", *arguments]
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        preexec_fn=before,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def as_any_user():
    """For a child that the superuser starts: permissions hold for it as for any other user."""
    libc = ctypes.CDLL(None)
    for capability in _PASS_BY_PERMISSIONS:
        libc.prctl(_DROP_FROM_BOUND, capability, 0, 0, 0)


def main_as_any_user():
    """Run the program in a fork, as any other user.

    A fork executes nothing, so the capabilities are dropped from the effective and the permitted set; access(2) of the
    superuser goes by the second.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    for capability in _PASS_BY_PERMISSIONS:
        for number in (0, 1):
            sets[number] &= ~(1 << capability)
    assert libc.capset(header, sets) == 0, ctypes.get_errno()
    main()


def main_with_packages():
    """Run the program in a fork, with the packages in the folder PACKAGES before the installed ones."""
    sys.path.insert(0, os.environ["PACKAGES"])
    main()
