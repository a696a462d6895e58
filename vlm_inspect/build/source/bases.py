"""A class's line of bases, and what it makes of the class: a module, a configuration, something unread."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlm_inspect.build.source.frame import Frame
from vlm_inspect.build.source.library import PACKAGE
from vlm_inspect.build.source.values import (
    Choice,
    ClassRef,
    Foreign,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine

CONFIG_BASES = frozenset({f"{PACKAGE}.PretrainedConfig", f"{PACKAGE}.PreTrainedConfig"})


_PLAIN_BASES = ("abc.", "typing.", "collections.", "enum.", "dataclasses.", f"{PACKAGE}.")


def line_of(machine: Machine, what: ClassRef) -> list[Value]:
    """A class and its bases, those that several share at their last place, as Python looks them up."""
    key = id(what.node)
    if key not in machine.bases:
        machine.bases[key] = [what, Unknown("its bases go in a circle")]
        machine.bases[key] = _line(machine, what)
    return machine.bases[key]


def _line(machine: Machine, what: ClassRef) -> list[Value]:
    line: list[Value] = [what]
    for base in what.node.bases:
        at = base.value if isinstance(base, ast.Subscript) else base  # Generic[T]
        found = machine.evaluate(at, Frame(what.scope))
        line += machine.line_of(found) if isinstance(found, ClassRef) else [found]
    kept: list[Value] = []
    for each in reversed(line):
        if not any(_same(each, other) for other in kept):
            kept.insert(0, each)
    return kept


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, ClassRef) and isinstance(other, ClassRef):
        return one.node is other.node
    return bool(one == other) if isinstance(one, Foreign) else False


def open_base(line: list[Value]) -> str:
    """Why a class may be more than its text says: a base that is not read; empty where all are known."""
    for each in line:
        if isinstance(each, Foreign) and not (
            each.path.startswith(("torch.nn.", *_PLAIN_BASES)) or each.path == "builtins.object"
        ):
            return f"its base {each.path} is not read"
        if isinstance(each, (Unknown, Choice)):
            return each.reason if isinstance(each, Unknown) else "its base is one of several"
    return ""


def is_module(line: list[Value]) -> bool:
    """Whether a class is a module of torch."""
    return any(
        isinstance(each, Foreign)
        and (each.path.startswith("torch.nn.") or each.path == f"{PACKAGE}.PreTrainedModel")
        for each in line
    )


def is_config(line: Sequence[Value]) -> bool:
    """Whether a class is a configuration of transformers."""
    return any(isinstance(each, Foreign) and each.path in CONFIG_BASES for each in line)
