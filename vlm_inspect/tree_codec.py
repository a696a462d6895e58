"""A ModuleTree as bytes: between two processes, and in the cache.

Each kind of module stands once. What is read may have been written by a process in which a stranger's
code ran: it is checked as hostile data, sizes before contents, and makes a tree or a ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, get_type_hints

import msgspec

from vlm_inspect.patterns import can_be_a_part
from vlm_inspect.tree import Attribute, ModuleNode, ModuleTree, NodePool, Shape

MOST_BYTES = 64 * 1024 * 1024
"""Of a whole tree."""
_MOST_NODES = 200_000
_MOST_MODULES = 2_000_000
_DEEPEST = 200
_LARGEST_TENSOR = 2**50

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=2_000)]
Side = Annotated[int, msgspec.Meta(ge=0, lt=2**45)]
Sides = Annotated[list[Side], msgspec.Meta(max_length=16)]
Value = bool | int | float | Text | Annotated[list[int], msgspec.Meta(max_length=64)] | None


class WireNode(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A node; its children are numbers of nodes that came before it, so that there is no circle."""

    class_name: Name
    detail: Text = ""
    attributes: dict[Name, Value] = {}
    parameters: dict[Name, Sides] = {}
    buffers: dict[Name, Sides] = {}
    children: dict[Name, int] = {}
    forward_order: list[Name] = []


class WireTree(msgspec.Struct, forbid_unknown_fields=True):
    """A tree: its nodes, the root last, and the other fields of a ModuleTree by name."""

    nodes: Annotated[list[WireNode], msgspec.Meta(min_length=1, max_length=_MOST_NODES)]
    fields: dict[Name, Any] = {}


def to_wire(tree: ModuleTree) -> WireTree:
    """A tree as its nodes, each once."""
    nodes: list[WireNode] = []
    _number(tree.root, nodes, {})
    told = {name: msgspec.to_builtins(getattr(tree, name)) for name in _fields()}
    return WireTree(nodes, {name: value for name, value in told.items() if value})


def from_wire(wire: WireTree) -> ModuleTree:
    """The tree. Raises ValueError where the nodes make none, or a field is of another kind."""
    pool = NodePool()
    nodes: list[ModuleNode] = []
    sizes: list[tuple[int, int]] = []
    for sent in wire.nodes:
        below = [sizes[_earlier(number, len(nodes))] for number in sent.children.values()]
        sizes.append(_checked(1 + sum(size for size, _ in below), 1 + max((d for _, d in below), default=0)))
        nodes.append(_node(sent, nodes, pool))
    return ModuleTree(nodes[-1], **_beside(wire.fields))


def to_bytes(tree: ModuleTree) -> bytes:
    """The tree as JSON."""
    return msgspec.json.encode(to_wire(tree))


def from_bytes(data: bytes) -> ModuleTree:
    """What `to_bytes` wrote. Raises ValueError."""
    return from_wire(decode(data, WireTree))


def decode(data: bytes, kind: type[Any]) -> Any:
    """JSON of a known kind. Raises ValueError where the bytes are none."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"not what was expected: {error}") from error


@cache
def _fields() -> Mapping[str, Any]:
    """The fields of a ModuleTree beside its root, with their types."""
    return {name: kind for name, kind in get_type_hints(ModuleTree).items() if name != "root"}


def _beside(sent: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sent.keys() - _fields().keys()
    if unknown:
        raise ValueError(f"a tree has no {_printable(min(unknown))!r}")
    try:
        return {
            name: msgspec.convert(_all_printable(value, 0), _fields()[name]) for name, value in sent.items()
        }
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(f"not a tree: {error}") from error


def _number(node: ModuleNode, nodes: list[WireNode], numbers: dict[int, int]) -> int:
    if id(node) not in numbers:
        children = {name: _number(child, nodes, numbers) for name, child in node.children}
        nodes.append(
            WireNode(
                class_name=node.class_name,
                detail=node.detail,
                attributes={name: _sent(value) for name, value in node.attributes},
                parameters={name: list(shape) for name, shape in node.parameters},
                buffers={name: list(shape) for name, shape in node.buffers},
                children=children,
                forward_order=list(node.forward_order),
            )
        )
        numbers[id(node)] = len(nodes) - 1
    return numbers[id(node)]


def _sent(value: Attribute) -> Value:
    return list(value) if isinstance(value, tuple) else value


def _node(sent: WireNode, nodes: list[ModuleNode], pool: NodePool) -> ModuleNode:
    return pool.node(
        _printable(sent.class_name),
        detail=_printable(sent.detail),
        attributes=tuple((_printable(name), _received(value)) for name, value in sent.attributes.items()),
        parameters=_shapes(sent.parameters),
        buffers=_shapes(sent.buffers),
        children=tuple((_name(name), nodes[number]) for name, number in sent.children.items()),
        forward_order=tuple(map(_printable, sent.forward_order)),
    )


def _received(value: Value) -> Attribute:
    if isinstance(value, list):
        return tuple(value)
    return _printable(value) if isinstance(value, str) else value


def _shapes(sent: dict[str, list[int]]) -> tuple[tuple[str, Shape], ...]:
    shapes = tuple((_name(name), tuple(sides)) for name, sides in sent.items())
    for name, shape in shapes:
        size = 1
        for side in shape:
            size *= side
        if size > _LARGEST_TENSOR:
            raise ValueError(f"{name} has the shape {shape}, which is beyond any model")
    return shapes


def _earlier(number: int, so_far: int) -> int:
    if not 0 <= number < so_far:
        raise ValueError(f"a module names the module {number}, which does not come before it")
    return number


def _checked(size: int, depth: int) -> tuple[int, int]:
    if size > _MOST_MODULES or depth > _DEEPEST:
        raise ValueError(f"more than {_MOST_MODULES:,} modules, or nested more than {_DEEPEST} deep")
    return size, depth


def _name(name: str) -> str:
    if not can_be_a_part(name):
        raise ValueError(f"{_printable(name)!r} is no name of a module")
    return _printable(name)


def _all_printable(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} deep")
    if isinstance(value, str):
        return _printable(value)
    if isinstance(value, list):
        return [_all_printable(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_printable(str(key)): _all_printable(item, depth + 1) for key, item in value.items()}
    return value


def _printable(text: str) -> str:
    """The text without what a terminal would act on."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
