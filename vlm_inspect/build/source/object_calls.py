"""`getattr`, `hasattr`, `setattr`, `isinstance`: questions to objects that are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from vlm_inspect.build.source.targets import set_attribute
from vlm_inspect.build.source.values import ClassRef, Foreign, Instance, Items, Table, Unknown, Value

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine

_KINDS: Mapping[str, tuple[type, ...]] = {
    "builtins.int": (int,),
    "builtins.float": (float,),
    "builtins.str": (str,),
    "builtins.bool": (bool,),
    "builtins.list": (Items,),
    "builtins.tuple": (tuple,),
    "builtins.dict": (Table,),
}

_NOT_TOLD = Unknown("the text does not tell it")


def _getattr(machine: Machine, args: Sequence[Value]) -> Value:
    if len(args) < 2 or not isinstance(args[1], str):  # noqa: PLR2004 - object, name
        return _NOT_TOLD
    found = machine.attribute(args[0], args[1])
    given = len(args) > 2  # noqa: PLR2004 - a default
    return args[2] if given and isinstance(found, Unknown) and _is_whole(args[0]) else found


def _hasattr(machine: Machine, args: Sequence[Value]) -> Value:
    if len(args) != 2 or not isinstance(args[1], str) or isinstance(args[0], (Unknown, Foreign)):  # noqa: PLR2004 - object, name
        return _NOT_TOLD
    if not isinstance(machine.attribute(args[0], args[1]), Unknown):
        return True
    return False if _is_whole(args[0]) and args[1] not in getattr(args[0], "attributes", {}) else _NOT_TOLD


def _is_whole(value: Value) -> bool:
    """Whether an object has no other attributes than those that are known."""
    return isinstance(value, Instance) and not value.open_reason and not value.is_module


def _setattr(machine: Machine, args: Sequence[Value]) -> Value:
    if len(args) == 3 and isinstance(args[1], str):  # noqa: PLR2004 - object, name, value
        set_attribute(machine, args[0], args[1], args[2])
    elif args and isinstance(args[0], Instance):
        args[0].open_reason = "a name that the text does not tell is set on it"
    return None


def _isinstance(machine: Machine, args: Sequence[Value]) -> Value:
    if len(args) != 2:  # noqa: PLR2004 - value, class
        return _NOT_TOLD
    value, wanted = args
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    answers = [_is_of(machine, value, kind) for kind in kinds]
    if True in answers:
        return True
    return _NOT_TOLD if None in answers else False


def _is_of(machine: Machine, value: Value, kind: Value) -> bool | None:
    if isinstance(value, (Unknown, Foreign)):
        return None
    if isinstance(kind, Foreign) and kind.path in _KINDS:
        return isinstance(value, _KINDS[kind.path])
    if isinstance(kind, ClassRef):
        if isinstance(value, Instance) and isinstance(value.made_by, ClassRef):
            line = machine.line_of(value.made_by)
            return any(isinstance(each, ClassRef) and each.node is kind.node for each in line)
        return None if isinstance(value, Instance) else False
    return None


ON_OBJECTS: Mapping[str, Callable[[Machine, Sequence[Value]], Value]] = {
    "getattr": _getattr,
    "hasattr": _hasattr,
    "setattr": _setattr,
    "isinstance": _isinstance,
    "print": lambda machine, args: None,  # noqa: ARG005 - it does nothing here
}
