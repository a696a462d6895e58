"""Isolated builds without the seconds that their imports take: the child is a fork of a warm process.

It is shut in and does its task as a new process does: only what it imported before is not new.
"""

import os
from functools import cache

from tests.warm import WarmProcess
from vlm_inspect.builders.sandbox import process

_MODULES = ("modeling_utils", "generation", "cache_utils", "models.auto", "modeling_outputs")


@cache
def warm():
    """The warm process, with the options and the environment of the children."""
    modules = ("torch", "accelerate", "landlockpy", *(f"transformers.{name}" for name in _MODULES))
    return WarmProcess(("-I", "-B"), process._ENVIRONMENT, ("vlm_inspect.builders.sandbox.child", *modules))  # noqa: SLF001


def start(folder, passed):
    """In place of `process._start`."""
    child_stdin, stdin = os.pipe()
    with open(child_stdin, "rb") as reading, open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        child = warm().start(
            "vlm_inspect.builders.sandbox.child:main",
            (),
            cwd=folder / "work",
            environment=process._ENVIRONMENT | {"HOME": str(folder / "home"), "TMPDIR": str(folder / "work")},  # noqa: SLF001
            stdin=reading,
            stdout=nowhere,
            stderr=nowhere,
            pass_fds=passed,
            session=True,
        )
    child.stdin = open(stdin, "wb")  # noqa: PTH123, SIM115
    return child
