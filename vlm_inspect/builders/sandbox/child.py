"""The child process: import the trusted libraries, isolate the process, then run the repo's code.

There are two processes. The outer one forks the inner one, which runs the code, and kills it when the parent
closes the parent pipe: when the parent has its answer, the time is over, or the parent is dead.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from vlm_inspect.builders.config_limits import counted_modules
from vlm_inspect.builders.sandbox import confine
from vlm_inspect.core.codec import Name, Text, TreeData, to_tree_data
from vlm_inspect.core.errors import typed_error_text

if TYPE_CHECKING:
    from vlm_inspect.core.module_tree import ModuleTree

PACKAGE = "remote_code"
"""The package under which the repo's modules are imported."""


class Task(msgspec.Struct):
    """What to build, and the limits."""

    code: str
    """The folder with the repo's Python files."""
    config: dict[str, Any]
    model_class: str
    """`modeling_phi3_v.Phi3VForCausalLM`, as in `auto_map`."""
    config_class: str | None
    """As `model_class`; None for the model class's own `config_class`."""
    memory: int
    seconds: int
    answer: int
    """File descriptor to write the answer to."""
    parent_pipe: int
    """File descriptor that closes when the parent is done with this process."""


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """A tree, or the error."""

    tree: TreeData | None = None
    error: Text = ""
    kind: Name = "failed"
    """`package`: one is missing. `system`: it cannot isolate. `failed`: the code does not build the model."""


def main() -> None:
    """Do the task that is read from standard input, and end the process."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _import_libraries()
    namespaces = confine.enter_namespaces()
    inner = os.fork()
    if inner == 0:
        os.close(task.parent_pipe)
        _run_inner(task, namespaces=namespaces)
    os.close(task.answer)
    finished = os.pidfd_open(inner)
    ready, _, _ = select.select([finished, task.parent_pipe], [], [])
    if finished not in ready:
        os.kill(inner, signal.SIGKILL)
    os.waitpid(inner, 0)
    os._exit(0)


def _import_libraries() -> None:
    """Import what every build needs, before the files that may be read are restricted."""
    parts = ("modeling_utils", "generation", "cache_utils", "models.auto", "modeling_outputs")
    for module in ("torch", "accelerate", "landlockpy", *(f"transformers.{part}" for part in parts)):
        import_module(module)


def _run_inner(task: Task, *, namespaces: bool) -> None:
    try:
        confine.confine([Path(task.code)], task.memory, task.seconds)
        answer = Answer(tree=to_tree_data(_build(task, namespaces=namespaces)))
    except ModuleNotFoundError as error:
        answer = Answer(error=typed_error_text(error), kind="package")
    except confine.SandboxUnavailableError as error:
        answer = Answer(error=typed_error_text(error), kind="system")
    except BaseException as error:  # noqa: BLE001 - untrusted code may raise anything, including SystemExit
        answer = Answer(error=typed_error_text(error), kind="failed")
    with suppress(BaseException), open(task.answer, "wb") as pipe:  # noqa: PTH123 - a descriptor
        pipe.write(msgspec.json.encode(answer))
    os._exit(0)


def _build(task: Task, *, namespaces: bool) -> ModuleTree:
    from accelerate import init_empty_weights

    from vlm_inspect.builders.transformers.module_tree import read_model

    package = ModuleType(PACKAGE)
    package.__path__ = [task.code]
    sys.modules[PACKAGE] = package
    model_class = _import_class(task.model_class)
    config_class = _import_class(task.config_class) if task.config_class else model_class.config_class
    config = config_class.from_dict(task.config)
    config._attn_implementation = "eager"  # noqa: SLF001 - a kernel that is not installed must not prevent a build
    with counted_modules(task.model_class), init_empty_weights(include_buffers=True):
        live = _construct(model_class, config)
        notes = ["Built by running the repo's own code, isolated."]
        if not namespaces:
            notes[0] += " This system allows no namespaces: sockets and processes are refused."
        try:
            live.tie_weights()
        except Exception:  # noqa: BLE001 - code for an older transformers declares ties in another way
            notes.append("its code could not say which of its weights are tied.")
    return read_model(live, config, tuple(notes))


def _construct(model_class: Any, config: Any) -> Any:
    try:
        return model_class._from_config(config, attn_implementation="eager")  # noqa: SLF001 - AutoModel's own way
    except Exception:  # noqa: BLE001 - code for an older transformers; the next line raises the error that counts
        return model_class(config)


def _import_class(reference: str) -> Any:
    module, _, name = reference.rpartition(".")
    return getattr(import_module(f"{PACKAGE}.{module}"), name)
