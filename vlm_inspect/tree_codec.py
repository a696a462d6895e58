"""A ModuleTree as JSON: between two processes, and in the cache.

Each kind of module is written once. The bytes may come from a process that ran untrusted code: sizes are
checked before contents, and the result is a tree or a ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from vlm_inspect.patterns import can_be_a_part
from vlm_inspect.tree import ModuleNode, ModuleTree, NodePool, Shape

MOST_BYTES = 64 * 1024 * 1024
"""Of a whole tree."""
_MOST_NODES = 200_000
_MOST_MODULES = 2_000_000
_DEEPEST = 200
_LARGEST_TENSOR = 2**50

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=2_000)]
Side = Annotated[int, Meta(ge=0, lt=2**45)]
Sides = Annotated[tuple[Side, ...], Meta(max_length=16)]
Value = bool | int | float | Text | Annotated[tuple[int, ...], Meta(max_length=64)] | None


class NodeData(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A node. Its children are indices of earlier nodes, so that there is no cycle."""

    class_name: Name
    detail: Text = ""
    attributes: dict[Name, Value] = {}
    parameters: dict[Name, Sides] = {}
    buffers: dict[Name, Sides] = {}
    children: dict[Name, int] = {}
    forward_order: tuple[Name, ...] = ()


class TreeData(msgspec.Struct, forbid_unknown_fields=True):
    """A tree: its nodes, the root last, and the other fields of a ModuleTree by name."""

    nodes: Annotated[list[NodeData], Meta(min_length=1, max_length=_MOST_NODES)]
    fields: dict[Name, Any] = {}


def to_tree_data(tree: ModuleTree) -> TreeData:
    """A tree as its nodes, each once."""
    nodes: list[NodeData] = []
    _add(tree.root, nodes, {})
    fields = {name: msgspec.to_builtins(getattr(tree, name)) for name in _field_types()}
    return TreeData(nodes, {name: value for name, value in fields.items() if value})


def from_tree_data(data: TreeData) -> ModuleTree:
    """The tree. Raises ValueError if the nodes are not a tree, or a field is unknown or has another type."""
    pool = NodePool()
    nodes: list[ModuleNode] = []
    sizes: list[tuple[int, int]] = []
    for node in data.nodes:
        if not all(0 <= index < len(nodes) for index in node.children.values()):
            raise ValueError(f"{node.class_name} has a child that does not come before it")
        below = [sizes[index] for index in node.children.values()]
        size, depth = 1 + sum(size for size, _ in below), 1 + max((depth for _, depth in below), default=0)
        if size > _MOST_MODULES or depth > _DEEPEST:
            raise ValueError(f"more than {_MOST_MODULES:,} modules, or nested more than {_DEEPEST} deep")
        sizes.append((size, depth))
        nodes.append(
            pool.node(
                node.class_name,
                detail=node.detail,
                attributes=tuple(node.attributes.items()),
                parameters=_shapes(node.parameters),
                buffers=_shapes(node.buffers),
                children=tuple((_part(name), nodes[index]) for name, index in node.children.items()),
                forward_order=node.forward_order,
            )
        )
    return ModuleTree(nodes[-1], **_fields(data.fields))


def to_bytes(tree: ModuleTree) -> bytes:
    """The tree as JSON."""
    return msgspec.json.encode(to_tree_data(tree))


def from_bytes(data: bytes) -> ModuleTree:
    """What `to_bytes` wrote. Raises ValueError."""
    return from_tree_data(decode(data, TreeData))


def decode(data: bytes, kind: type[Any]) -> Any:
    """JSON of a known type, without characters that a terminal would act on. Raises ValueError."""
    try:
        return msgspec.convert(_printable(msgspec.json.decode(data)), kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"not what was expected: {error}") from error


@cache
def _field_types() -> Mapping[str, Any]:
    """The fields of a ModuleTree except its root, with their types."""
    return {name: kind for name, kind in get_type_hints(ModuleTree).items() if name != "root"}


def _fields(sent: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sent.keys() - _field_types().keys()
    if unknown:
        raise ValueError(f"a tree has no {min(unknown)!r}")
    try:
        return {name: msgspec.convert(value, _field_types()[name]) for name, value in sent.items()}
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(f"not a tree: {error}") from error


def _add(node: ModuleNode, nodes: list[NodeData], indices: dict[int, int]) -> int:
    """The index of a node, which is added after its children if it is new."""
    if id(node) not in indices:
        nodes.append(
            NodeData(
                class_name=node.class_name,
                detail=node.detail,
                attributes=dict(node.attributes),
                parameters=dict(node.parameters),
                buffers=dict(node.buffers),
                children={name: _add(child, nodes, indices) for name, child in node.children},
                forward_order=node.forward_order,
            )
        )
        indices[id(node)] = len(nodes) - 1
    return indices[id(node)]


def _shapes(sent: Mapping[str, Shape]) -> tuple[tuple[str, Shape], ...]:
    for name, shape in sent.items():
        if math.prod(shape) > _LARGEST_TENSOR:
            raise ValueError(f"{name} has the shape {shape}, which is beyond any model")
    return tuple((_part(name), shape) for name, shape in sent.items())


def _part(name: str) -> str:
    if not can_be_a_part(name):
        raise ValueError(f"{name!r} is no name of a module")
    return name


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isprintable() else "".join(c if c.isprintable() else "?" for c in value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return value
