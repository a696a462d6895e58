"""Records and module trees as JSON data, and back.

A record has a key for each of its fields. Empty fields are left out; an unknown field is null, with the
reason under `unknown`. A module tree is a list of its different nodes, so that equal layers are written once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from vlm_inspect.core.architecture import SCHEMA_VERSION, Architecture
from vlm_inspect.core.errors import InvalidConfigError
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, NodePool, Shape, is_path_part

MOST_BYTES = 64 * 1024 * 1024
"""Bytes of an encoded tree."""
_MOST_MODULES = 2_000_000
DEEPEST = 200
"""Levels of a tree."""
_LARGEST_TENSOR = 2**50

# fields whose default is not the null of an unknown value
_NULLABLE = {"model_type", "model_class", "passes"}
_ALWAYS_WRITTEN = {*_NULLABLE, "components", "parameters", "path", "ties", "revision", "schema_version"}
_EMPTY: tuple[object, ...] = ((), [], {}, "")

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=2_000)]
TensorShape = Annotated[tuple[Annotated[int, Meta(ge=0, lt=2**45)], ...], Meta(max_length=16)]
_Value = bool | int | float | Text | Annotated[tuple[int, ...], Meta(max_length=64)] | None


def to_data(record: Any) -> Any:
    """Convert a record to JSON data, with keys in the order of its fields."""
    return _without_empty(msgspec.to_builtins(record))


def architecture_from_data(data: Any) -> Architecture:
    """Convert the data of `to_data` to a record. Raises InvalidConfigError."""
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        is_newer = isinstance(version, int) and version > SCHEMA_VERSION
        raise InvalidConfigError(
            f"written with schema {version!r:.80}; this vlm-inspect reads schema {SCHEMA_VERSION}.",
            hint="It was written by a newer vlm-inspect: upgrade this one." if is_newer else "",
        )
    try:
        record: Architecture = msgspec.convert(_without_unknown(data), Architecture)
    except msgspec.ValidationError as error:
        raise InvalidConfigError(f"not a record of vlm-inspect: {error}") from error
    return record


def _without_empty(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        return [_without_empty(item) for item in data]
    if not isinstance(data, dict):
        return data
    unknown = data.get("unknown", ())
    return {
        key: None if key in unknown and value in _EMPTY else _without_empty(value)
        for key, value in data.items()
        if key in _ALWAYS_WRITTEN
        or key in unknown
        # a class may support no attention backend; None is unknown
        or not (value is None or (value in _EMPTY and key != "attention_backends"))
    }


def _without_unknown(data: Any) -> Any:
    """Drop each null that has a reason, so that the field gets its default."""
    if isinstance(data, list):
        return [_without_unknown(item) for item in data]
    if not isinstance(data, dict):
        return data
    unknown = data.get("unknown")
    reasons = unknown.keys() - _NULLABLE if isinstance(unknown, dict) else ()
    return {key: _without_unknown(value) for key, value in data.items() if value is not None or key not in reasons}


class NodeData(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A node. Its children are indices of earlier nodes, so that there is no cycle."""

    class_name: Name
    detail: Text = ""
    attributes: dict[Name, _Value] = {}
    parameters: dict[Name, TensorShape] = {}
    buffers: dict[Name, TensorShape] = {}
    children: dict[Name, int] = {}
    forward_order: tuple[Name, ...] = ()
    decoder_half: tuple[Name, ...] = ()


class TreeData(Struct, forbid_unknown_fields=True):
    """A tree: its nodes, the root last, and the other fields of a ModuleTree by name."""

    nodes: Annotated[list[NodeData], Meta(min_length=1, max_length=200_000)]
    fields: dict[Name, Any] = {}


class CheckedNodes:
    """Creates nodes from untrusted data, and counts modules and levels before the tree gets too large."""

    def __init__(self, most_modules: int = _MOST_MODULES) -> None:
        self._pool = NodePool()
        self._most = most_modules
        self._sizes: dict[int, tuple[int, int]] = {}

    def node(
        self,
        class_name: str,
        children: Iterable[tuple[str, ModuleNode]],
        parameters: Mapping[str, Shape],
        *,
        buffers: Mapping[str, Shape] | None = None,
        **fields: Any,
    ) -> ModuleNode:
        """Create a node of these children, which must come from the same object. Raises ValueError."""
        size, depth, named = 1, 1, []
        for name, child in children:
            child_size, child_depth = self._sizes[id(child)]
            size, depth = size + child_size, max(depth, child_depth + 1)
            if size > self._most:
                raise ValueError(f"more than {self._most:,} modules")
            if depth > DEEPEST:
                raise ValueError(f"modules are nested more than {DEEPEST} deep")
            named.append((_checked_name(name), child))
        node = self._pool.node(
            class_name,
            parameters=_checked_shapes(parameters),
            buffers=_checked_shapes(buffers or {}),
            children=tuple(named),
            **fields,
        )
        self._sizes[id(node)] = size, depth
        return node


def to_tree_data(tree: ModuleTree) -> TreeData:
    """Convert a tree to its nodes, each once, and its other fields."""
    nodes: list[NodeData] = []
    _append_node(tree.root, nodes, {})
    names = [name for name in ModuleTree.__struct_fields__ if name != "root"]
    fields = {name: msgspec.to_builtins(getattr(tree, name)) for name in names}
    return TreeData(nodes, {name: value for name, value in fields.items() if value})


def from_tree_data(data: TreeData) -> ModuleTree:
    """Convert the data of `to_tree_data` to a tree. Raises ValueError if it is not a tree, or too large."""
    checked = CheckedNodes()
    nodes: list[ModuleNode] = []
    for node in data.nodes:
        if not all(0 <= index < len(nodes) for index in node.children.values()):
            raise ValueError(f"{node.class_name} has a child that does not come before it")
        children = [(name, nodes[index]) for name, index in node.children.items()]
        fields: dict[str, Any] = {name: getattr(node, name) for name in ("detail", "forward_order", "decoder_half")}
        fields["attributes"] = tuple(node.attributes.items())
        nodes.append(checked.node(node.class_name, children, node.parameters, buffers=node.buffers, **fields))
    try:
        return msgspec.convert({**data.fields, "root": nodes[-1]}, ModuleTree)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(f"not a tree: {error}") from error


def to_bytes(tree: ModuleTree) -> bytes:
    """Encode a tree as JSON."""
    return msgspec.json.encode(to_tree_data(tree))


def from_bytes(data: bytes) -> ModuleTree:
    """Decode a tree of `to_bytes`. Raises ValueError."""
    return from_tree_data(decode(data, TreeData))


def decode(data: bytes, kind: type[Any]) -> Any:
    """Decode JSON of a known type; replace characters that a terminal would act on. Raises ValueError."""
    try:
        return msgspec.convert(_printable(msgspec.json.decode(data)), kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"unexpected data: {error}") from error


def _append_node(node: ModuleNode, nodes: list[NodeData], indices: dict[int, int]) -> int:
    """Return the index of a node; a new one is appended after its children."""
    if id(node) not in indices:
        children = {name: _append_node(child, nodes, indices) for name, child in node.children}
        attributes, parameters, buffers = dict(node.attributes), dict(node.parameters), dict(node.buffers)
        fields = (node.detail, attributes, parameters, buffers, children, node.forward_order, node.decoder_half)
        nodes.append(NodeData(node.class_name, *fields))
        indices[id(node)] = len(nodes) - 1
    return indices[id(node)]


def _checked_shapes(shapes: Mapping[str, Shape]) -> tuple[tuple[str, Shape], ...]:
    for name, shape in shapes.items():
        if math.prod(shape) > _LARGEST_TENSOR:
            raise ValueError(f"{name} has the shape {shape}, which is too large")
    return tuple((_checked_name(name), shape) for name, shape in shapes.items())


def _checked_name(name: str) -> str:
    if not is_path_part(name):
        raise ValueError(f"{name!r:.80} is not the name of a module")
    return name


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isprintable() else "".join(c if c.isprintable() else "?" for c in value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return value
