"""Methods of lists, tables and texts, and copies of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vlm_inspect.build.source.operators import LONGEST_VALUE
from vlm_inspect.build.source.rounds import items_of
from vlm_inspect.build.source.values import Instance, Items, Table, Unknown, Value

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine


def table(args: Sequence[Value], named: Mapping[str, Value]) -> Value:
    """`dict(a=1)`, `OrderedDict([("a", 1)])`."""
    made = Table(named)
    source = args[0] if args else Table()
    if isinstance(source, Table):
        made.update(source)
        made.exact = source.exact
    elif isinstance(source, Items):
        pairs = [each for each in source if isinstance(each, tuple) and len(each) == 2]  # noqa: PLR2004 - key, value
        made.update({key: value for key, value in pairs if isinstance(key, (str, int))})
        made.exact = source.exact and len(made) >= len(source)
    else:
        return _NOT_TOLD
    return made


_NOT_TOLD = Unknown("the text does not tell it")


def copied(machine: Machine, value: Value, depth: int = 0) -> Value:
    """A copy whose changes leave the original as it is."""
    deepest = 30
    machine.spend(1)
    if depth > deepest:
        return _NOT_TOLD
    if isinstance(value, Instance):
        held = {name: copied(machine, each, depth + 1) for name, each in value.attributes.items()}
        return Instance(value.made_by, held, value.is_module, dict(value.replaced), value.open_reason)
    if isinstance(value, Items):
        items = Items(copied(machine, each, depth + 1) for each in value)
        items.exact = value.exact
        return items
    if isinstance(value, Table):
        made = Table({key: copied(machine, each, depth + 1) for key, each in value.items()})
        made.exact = value.exact
        return made
    return value


def method(
    machine: Machine, name: str, owner: Value, args: Sequence[Value], named: Mapping[str, Value]
) -> Value:
    """A method of a list, a table or a text."""
    if isinstance(owner, Items):
        return _of_items(machine, name, owner, args)
    if isinstance(owner, Table):
        return _of_table(machine, name, owner, args, named)
    if isinstance(owner, str) and all(isinstance(each, str) for each in args) and not named:
        result = getattr(owner, name)(*args) if len(args) <= 2 else None  # noqa: PLR2004 - replace takes two
        return (
            Items(result)
            if isinstance(result, list)
            else result
            if isinstance(result, (str, bool))
            else _NOT_TOLD
        )
    return _NOT_TOLD


def _of_items(machine: Machine, name: str, owner: Items, args: Sequence[Value]) -> Value:
    if name == "append" and args and len(owner) < LONGEST_VALUE:
        machine.append(owner, args[0])
    elif name == "extend" and args:
        more = items_of(args[0])
        machine.refill(owner, [*owner, *(more or [])], exact=owner.exact and more is not None)
    elif name == "insert" and len(args) == 2 and type(args[0]) is int:  # noqa: PLR2004 - place, item
        content = list(owner)
        content.insert(args[0], args[1])
        machine.refill(owner, content, exact=owner.exact)
    elif name == "copy":
        return copied(machine, owner)
    elif name == "index":
        return _NOT_TOLD
    else:
        machine.refill(owner, list(owner), exact=False)
    return None


def _of_table(
    machine: Machine, name: str, owner: Table, args: Sequence[Value], named: Mapping[str, Value]
) -> Value:
    key = args[0] if args else None
    if name in {"get", "pop", "setdefault"}:
        if not isinstance(key, (str, int)) or (key not in owner and not owner.exact):
            return _NOT_TOLD
        found = owner.get(key, args[1] if len(args) > 1 else None)
        if name == "pop":
            machine.remove(owner, key)
        elif name == "setdefault":
            machine.set(owner, key, found)
        return found
    if name == "update":
        more = table(args, named)
        for each, value in more.items() if isinstance(more, Table) else ():
            machine.set(owner, each, value)
        owner.exact = owner.exact and isinstance(more, Table) and more.exact
        return None
    views = {
        "items": [tuple(pair) for pair in owner.items()],
        "keys": list(owner),
        "values": list(owner.values()),
    }
    if name in views:
        items = Items(views[name])
        items.exact = owner.exact
        return items
    return copied(machine, owner) if name == "copy" else _NOT_TOLD
