"""In what order a module's own code uses its parts: read from its source, never run.

Modules are declared in any order. Whether a norm stands before an attention or after it, and whether an
attention turns its queries by their positions, only `forward` says; and it may say it under a condition
on the module itself (`if self.use_rope:`), which is decided for each module by its own attributes.
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
    decided,
    is_activation,
    own_method,
    steps_of,
    tells_position,
)

if TYPE_CHECKING:
    from torch import nn

_DEEPEST_CALL = 4
_FEWEST = 2


def used_in_order(module: nn.Module) -> tuple[str, ...]:
    """What a module's `forward` uses, in its order.

    Children, own parameters, and functions that activate or turn by position. One that is used at several
    places is named as often. Of a branch on the module's own attributes only the side that is taken counts,
    of any other branch both.
    """
    if not _needs_order(module):
        return ()
    held = {*module._modules, *module._parameters}  # noqa: SLF001 - named_children() leaves shared ones out
    return tuple(
        use.name
        for use in _uses(module, _program(_kind(module)))
        if use.kind != "attribute" or use.name in held
    )


def _kind(module: nn.Module) -> Any:
    """The module's class: torch's own, to a type checker that does not look into torch, is not hashable."""
    return type(module)


def _needs_order(module: nn.Module) -> bool:
    """Only where something turns on the order: around norms and functions, and where positions are applied.

    Whole models are long, and declare nothing beside layers that an order would tell.
    """
    if len(module._modules) < _FEWEST or hasattr(type(module), "config_class"):  # noqa: SLF001 - as above
        return False
    return _holds_norm(module) or _applies_positions(_kind(module))


def _holds_norm(module: nn.Module) -> bool:
    """Whether a norm is among the children or theirs, as BERT's are."""
    children = [child for child in module._modules.values() if child is not None]  # noqa: SLF001 - as above
    below = [each for child in children for each in child._modules.values()]  # noqa: SLF001 - as above
    return any("Norm" in type(each).__name__ for each in (*children, *below))


@cache
def _applies_positions(kind: Hashable) -> bool:
    method = own_method(kind, "forward") if isinstance(kind, type) else None
    names = (*method.__code__.co_names, *method.__code__.co_varnames) if method is not None else ()
    return any(
        tells_position(name) or is_activation(name) or own_method(kind, name) is not None for name in names
    )


@cache
def _program(kind: Hashable) -> tuple[Step, ...]:
    return tuple(_expanded(kind, "forward", _DEEPEST_CALL)) if isinstance(kind, type) else ()


def _expanded(kind: type, name: str, depth: int) -> Iterator[Step]:
    """The steps of a method, with those of the class's own methods in the places of their calls."""
    method = own_method(kind, name)
    if method is not None:
        yield from _inlined(kind, steps_of(method), name, depth)


def _inlined(kind: type, steps: tuple[Step, ...], inside: str, depth: int) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Branch):
            yield Branch(
                step.test,
                tuple(_inlined(kind, step.then, inside, depth)),
                tuple(_inlined(kind, step.otherwise, inside, depth)),
            )
        elif step.kind == "attribute" and step.name != inside and depth and own_method(kind, step.name):
            yield from _expanded(kind, step.name, depth - 1)
        else:
            yield step


def _uses(module: nn.Module, steps: tuple[Step, ...]) -> Iterator[Use]:
    for step in steps:
        if isinstance(step, Use):
            yield step
            continue
        try:
            sides = [step.then if decided(step.test, module) else step.otherwise]
        except UndecidedError:
            sides = [step.then, step.otherwise]
        for side in sides:
            yield from _uses(module, side)
