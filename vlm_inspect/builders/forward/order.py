"""The order in which a module's `forward` uses its children, read from its source and never run.

Modules are declared in any order. Only `forward` shows whether a norm comes before or after an attention, and
whether an attention applies rotary positions. A condition on the module itself (`if self.use_rope:`) is
evaluated for each module by its attributes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from vlm_inspect.builders.forward.steps import (
    Branch,
    Step,
    UndecidedError,
    Use,
    is_activation,
    is_condition_true,
    is_position_name,
    own_method,
    steps_of,
)

if TYPE_CHECKING:
    from torch import nn

_MAX_CALL_DEPTH = 4
_MIN_CHILDREN = 2


def read_forward_order(module: nn.Module) -> tuple[str, ...]:
    """The names that a module's `forward` uses, in order.

    Children, own parameters, activation functions, and functions that apply positions. A name that is used
    several times is repeated. Of a branch on the module's own attributes only the side that is taken counts,
    of any other branch both sides.
    """
    if not _needs_order(module):
        return ()
    members = {*module._modules, *module._parameters}  # noqa: SLF001 - named_children() leaves shared ones out
    return tuple(
        use.name
        for use in _uses_of(module, _forward_steps(_kind(module)))
        if use.kind != "attribute" or use.name in members
    )


def _kind(module: nn.Module) -> Any:
    """The module's class. It is hashable, which the type checker does not know."""
    return type(module)


def _needs_order(module: nn.Module) -> bool:
    """Whether the order matters: for norms, functions and positions, but not for whole models."""
    if len(module._modules) < _MIN_CHILDREN or hasattr(type(module), "config_class"):  # noqa: SLF001 - as above
        return False
    return _has_norm(module) or _applies_positions(_kind(module))


def _has_norm(module: nn.Module) -> bool:
    """Whether a norm is among the children or their children, as in BERT."""
    children = [child for child in module._modules.values() if child is not None]  # noqa: SLF001 - as above
    below = [each for child in children for each in child._modules.values()]  # noqa: SLF001 - as above
    return any("Norm" in type(each).__name__ for each in (*children, *below))


@cache
def _applies_positions(kind: Hashable) -> bool:
    method = own_method(kind, "forward") if isinstance(kind, type) else None
    names = (*method.__code__.co_names, *method.__code__.co_varnames) if method is not None else ()
    return any(
        is_position_name(name) or is_activation(name) or own_method(kind, name) is not None for name in names
    )


@cache
def _forward_steps(kind: Hashable) -> tuple[Step, ...]:
    return tuple(_method_steps(kind, "forward", _MAX_CALL_DEPTH)) if isinstance(kind, type) else ()


def _method_steps(kind: type, name: str, depth: int) -> Iterator[Step]:
    """The steps of a method, with calls of the class's own methods replaced by their steps."""
    method = own_method(kind, name)
    if method is not None:
        yield from _with_inlined_calls(kind, steps_of(method), name, depth)


def _with_inlined_calls(kind: type, steps: tuple[Step, ...], caller: str, depth: int) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Branch):
            yield Branch(
                step.test,
                tuple(_with_inlined_calls(kind, step.then, caller, depth)),
                tuple(_with_inlined_calls(kind, step.otherwise, caller, depth)),
            )
        elif step.kind == "attribute" and step.name != caller and depth and own_method(kind, step.name):
            yield from _method_steps(kind, step.name, depth - 1)
        else:
            yield step


def _uses_of(module: nn.Module, steps: tuple[Step, ...]) -> Iterator[Use]:
    for step in steps:
        if isinstance(step, Use):
            yield step
            continue
        try:
            sides = [step.then if is_condition_true(step.test, module) else step.otherwise]
        except UndecidedError:
            sides = [step.then, step.otherwise]
        for side in sides:
            yield from _uses_of(module, side)
