"""Records as JSON and back, derived from their fields.

msgspec does the work: it converts and checks nested records in one pass, names the path of a
wrong value, and imports in a fraction of what other validators take. What is written here is only the
contract's rule for what is left out: a value that does not arise is not written, one that is unknown
is written as null with its reason beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from vlm_inspect.core.architecture import SCHEMA_VERSION, Architecture
from vlm_inspect.core.errors import InvalidConfigError
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, NodePool, Shape, can_be_a_part

_ALWAYS_WRITTEN = {
    "components",
    "parameters",
    "path",
    "ties",
    "revision",
    "schema_version",
    "model_type",
    "model_class",
}
# of these, none at all says something else than nothing known
_EMPTY_IS_AN_ANSWER = {"attention_backends"}
_NOTHING: tuple[object, ...] = ((), [], {}, "")
# fields that have no default to fall back to
_NULL_WITHOUT_DEFAULT = {"model_type", "model_class"}


def to_data(record: Any) -> Any:
    """A record as JSON-able data, keys in the order of its fields."""
    return _leave_out(msgspec.to_builtins(record))


def architecture_from_data(data: Any) -> Architecture:
    """The record that `to_data` wrote. Raises InvalidConfigError where it is not one, or is newer."""
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise InvalidConfigError(
            f"a record of schema {SCHEMA_VERSION} was expected, and this one says {version!r}.",
            hint="Write it again with this vlm-inspect, or use the vlm-inspect that wrote it.",
        )
    try:
        record: Architecture = msgspec.convert(_restored(data), Architecture, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidConfigError(f"not a record of vlm-inspect: {error}") from error
    return record


def _leave_out(data: Any) -> Any:
    """The contract's rule for what is not written, and null for what is unknown."""
    if isinstance(data, (list, tuple)):
        return [_leave_out(item) for item in data]
    if not isinstance(data, dict):
        return data
    reasons = data.get("unknown") or {}
    kept = {}
    for key, value in data.items():
        says_nothing = value is None or (value in _NOTHING and key not in _EMPTY_IS_AN_ANSWER)
        if key in _ALWAYS_WRITTEN or key in reasons or not says_nothing:
            kept[key] = None if key in reasons and value in _NOTHING else _leave_out(value)
    return kept


def _restored(data: Any) -> Any:
    """As `_leave_out` found it: a null with a reason is the field's own way to hold nothing."""
    if isinstance(data, list):
        return [_restored(item) for item in data]
    if not isinstance(data, dict):
        return data
    reasons = data.get("unknown")
    known = {
        key: value
        for key, value in data.items()
        if value is not None
        or key in _NULL_WITHOUT_DEFAULT
        or not isinstance(reasons, dict)
        or key not in reasons
    }
    return {key: _restored(value) for key, value in known.items()}


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
