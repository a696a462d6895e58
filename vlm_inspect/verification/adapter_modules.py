"""Which modules an adapter's configuration asks for, as PEFT reads it.

`target_modules` is a list of names that modules end in, or a pattern for their whole path.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from vlm_inspect.core.module_tree import ModuleNode

SECONDS = 5
_LONGEST = 10_000
_TRY = (
    "import json, re, sys; pattern, names = json.load(sys.stdin); match = re.compile(pattern).fullmatch; "
    "json.dump([name for name in names if match(name)], sys.stdout)"
)


def matches(pattern: str, names: Sequence[str]) -> frozenset[str] | None:
    """The names that the expression matches from end to end; None where it is none, or takes too long."""
    if len(pattern) > _LONGEST:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - this Python; the expression comes by its input
            [sys.executable, "-I", "-S", "-c", _TRY],
            input=json.dumps([pattern, list(names)]).encode(),
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return frozenset(json.loads(done.stdout))


# the classes that PEFT puts a LoRA on
_CARRIERS = ("Linear", "Embedding", "Conv1d", "Conv2d", "Conv3d", "Conv1D", "MultiheadAttention")
_LAYER = re.compile(r".*?\.[^.]*\.(\d+)\.")


class Targets(Struct, frozen=True):
    """The modules that an adapter is put on."""

    modules: frozenset[str] | None
    """Their paths; None where that cannot be told."""
    unknown: str = ""
    """Why it cannot."""


def targets_of(config: Mapping[str, Any], root: ModuleNode, head: str | None) -> Targets:
    """The modules of a model that an adapter's configuration asks for. `head`: the output layer's path."""
    names = [path for path, _ in root.walk() if path]
    wanted = config.get("target_modules")
    if isinstance(wanted, str) and wanted.lower() == "all-linear":
        return Targets(frozenset(path for path in _linear(root) if path != head))
    if isinstance(wanted, str):
        found = matches(wanted, names)
        return _untried("target_modules") if found is None else _without_excluded(found, config)
    if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
        return Targets(None, "its configuration names no target_modules")
    is_asked = _layers_asked(config)
    if is_asked is None:
        return Targets(None, "its configuration names layers in a way that is not read here")
    exact, ends = set(wanted), tuple(f".{name}" for name in wanted)
    found = frozenset(name for name in names if name in exact or (name.endswith(ends) and is_asked(name)))
    return _without_excluded(found, config)


def carriers(root: ModuleNode) -> set[str]:
    """The modules that can carry an adapter."""
    return {path for path, node in root.walk() if node.class_name.endswith(_CARRIERS)}


def _linear(root: ModuleNode) -> set[str]:
    return {path for path, node in root.walk() if node.class_name in {"Linear", "Conv1D"}}


def _layers_asked(config: Mapping[str, Any]) -> Callable[[str], bool] | None:
    """Whether a module lies in one of the layers that the configuration asks for."""
    layers = config.get("layers_to_transform")
    if layers is None or layers == []:
        return lambda _: True
    numbers = [layers] if isinstance(layers, int) else layers
    if config.get("layers_pattern") or not isinstance(numbers, list):
        return None
    if not all(isinstance(number, int) for number in numbers):
        return None
    asked = set(numbers)

    def is_asked(name: str) -> bool:
        match = _LAYER.match(name)
        return match is not None and int(match[1]) in asked

    return is_asked


def _without_excluded(found: frozenset[str], config: Mapping[str, Any]) -> Targets:
    excluded = config.get("exclude_modules") or []
    if isinstance(excluded, str):
        out = matches(excluded, sorted(found))
        return _untried("exclude_modules") if out is None else Targets(found - out)
    names = excluded if isinstance(excluded, list) else []
    exact = {name for name in names if isinstance(name, str)}
    ends = tuple(f".{name}" for name in exact)
    return Targets(frozenset(name for name in found if name not in exact and not name.endswith(ends)))


def _untried(key: str) -> Targets:
    return Targets(None, f"its {key} is a pattern that is wrong, or takes too long to try")
