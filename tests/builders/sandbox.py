"""Isolated builds without the seconds of their imports: the child is forked from a warm process.

It isolates itself and does its task as a new process does; only its imports are done already.
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
    """A replacement for `process._start`."""
    child_stdin, stdin = os.pipe()
    with open(child_stdin, "rb") as reading, open(os.devnull, "wb") as discarded:  # noqa: PTH123
        child = warm().start(
            "vlm_inspect.builders.sandbox.child:main",
            (),
            cwd=folder / "work",
            environment=process._ENVIRONMENT | {"HOME": str(folder / "home"), "TMPDIR": str(folder / "work")},  # noqa: SLF001
            stdin=reading,
            stdout=discarded,
            stderr=discarded,
            pass_fds=passed,
            session=True,
        )
    child.stdin = open(stdin, "wb")  # noqa: PTH123, SIM115
    return child
