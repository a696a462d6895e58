"""The parent process of an isolated build: start a child, wait within limits, read its answer."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from vlm_inspect.builders.sandbox import confine
from vlm_inspect.builders.sandbox.child import Answer, Task
from vlm_inspect.core.codec import MOST_BYTES, decode, from_tree_data
from vlm_inspect.core.errors import RemoteCodeError
from vlm_inspect.core.module_tree import ModuleTree

_HINT = "Omit --trust-remote-code: the model is then read from its headers and source code; nothing is run."
_START = "import sys; sys.path.append(sys.argv[1]); from vlm_inspect.builders.sandbox.child import main; main()"
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": os.defpath,
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}


class Limits(Struct, frozen=True):
    """What a repo's code may use before it is killed."""

    seconds: int = 120
    """Of CPU time; and of real time, which includes the imports of torch and transformers."""
    memory: int = 8 * 2**30
    """Bytes of address space on top of that of torch and transformers."""


class RemoteCode(Struct, frozen=True):
    """A repo's Python files at one commit, and the class to build."""

    files: Mapping[str, str]
    """Name → text: `modeling_phi3_v.py`; a module in a folder is `models/vit.py`."""
    model_class: str
    """`modeling_phi3_v.Phi3VForCausalLM`."""
    config_class: str | None = None


def build(code: RemoteCode, config: Mapping[str, Any], model: str, limits: Limits | None = None) -> ModuleTree:
    """Run the repo's code in an isolated child process, and return the tree that it sends.

    No process is left running, and no file is left behind. Raises RemoteCodeError if the system cannot
    isolate, or if the code fails, exceeds its limits or sends an invalid answer.
    """
    try:
        confine.check()
    except confine.SandboxUnavailableError as error:
        raise _error(f"its code was not run: {error}.", model) from error
    with tempfile.TemporaryDirectory(prefix="vlm-inspect-", ignore_cleanup_errors=True) as folder:
        return _tree(_run(Path(folder), code, config, model, limits or Limits()), model)


def _run(folder: Path, code: RemoteCode, config: Mapping[str, Any], model: str, limits: Limits) -> bytes:
    for name in ("home", "work", "code"):
        (folder / name).mkdir()
    _write_code(folder / "code", code.files)
    with _pipe() as (answer_pipe, write_end), _pipe() as (read_end, parent_pipe):
        ends = write_end.fileno(), read_end.fileno()
        classes = code.model_class, code.config_class
        task = Task(str(folder / "code"), dict(config), *classes, limits.memory, limits.seconds, *ends)
        child = _start(folder, ends)
        write_end.close()
        read_end.close()
        try:
            return _read_answer(child, msgspec.json.encode(task), answer_pipe, limits, model)
        finally:
            _end(child, parent_pipe)


def _start(folder: Path, descriptors: tuple[int, ...]) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[3])
    # variables that Python and torch need; none of them holds a secret
    inherited = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return subprocess.Popen(  # noqa: S603 - this Python interpreter, with our own program
        [sys.executable, "-I", "-B", "-c", _START, root],
        env={**inherited, **_ENVIRONMENT, "HOME": str(folder / "home"), "TMPDIR": str(folder / "work")},
        cwd=folder / "work",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=descriptors,
        start_new_session=True,
    )


def _read_answer(
    child: subprocess.Popen[bytes], task: bytes, answer_pipe: IO[bytes], limits: Limits, model: str
) -> bytes:
    """Send the task, and read until the child closes the pipe."""
    assert child.stdin is not None  # noqa: S101 - for the type checker
    with suppress(BrokenPipeError):
        child.stdin.write(task)
    with suppress(BrokenPipeError):
        child.stdin.close()
    answer = bytearray()
    deadline = time.monotonic() + limits.seconds
    while select.select([answer_pipe], [], [], max(0, deadline - time.monotonic()))[0]:
        data = os.read(answer_pipe.fileno(), 2**16)
        if not data:
            return bytes(answer)
        answer += data
        if len(answer) > MOST_BYTES:
            raise _error(f"its code sent an answer of more than {MOST_BYTES:,} bytes.", model)
    raise _error(f"its code did not end within {limits.seconds} s.", model)


def _tree(data: bytes, model: str) -> ModuleTree:
    if not data:
        raise _error("its code ended its process without an answer.", model)
    try:
        answer: Answer = decode(data, Answer)
        if answer.tree is not None:
            return from_tree_data(answer.tree)
    except ValueError as error:
        raise _error(f"its code sent an invalid answer: {_printable(str(error))}", model) from error
    problems = {"package": "needs a package that is not installed", "system": "was not run"}
    problem = problems.get(answer.kind, "does not build the model")
    hint = f"Install that package and try again. {_HINT}" if answer.kind == "package" else _HINT
    raise _error(f"its code {problem}: {_printable(answer.error)}", model, hint)


def _error(message: str, model: str, hint: str = _HINT) -> RemoteCodeError:
    return RemoteCodeError(message, hint=hint, model=model)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:300]


def _write_code(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ValueError(f"{name!r} leads out of the repo")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="surrogatepass")


def _end(child: subprocess.Popen[bytes], parent_pipe: IO[bytes]) -> None:
    parent_pipe.close()  # the outer process then kills the inner one and exits; if not, both are killed
    try:
        child.wait(timeout=0.3)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # its process group, which includes the inner process
        child.wait()


@contextmanager
def _pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    reading, writing = os.pipe()
    with open(reading, "rb", 0) as reader, open(writing, "wb", 0) as writer:  # noqa: PTH123 - descriptors
        yield reader, writer
