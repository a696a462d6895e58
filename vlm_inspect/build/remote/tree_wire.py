"""A ModuleTree as bytes between two processes.

What arrives was written by a process in which a stranger's code ran: it is checked as hostile data,
sizes before contents, and makes a tree or a ValueError, nothing else.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from vlm_inspect.tree import Attribute, ModuleNode, ModuleTree, NodePool, Shape

MOST_BYTES = 64 * 1024 * 1024
"""Of a whole answer."""
_MOST_NODES = 200_000
_MOST_MODULES = 2_000_000
_DEEPEST = 200
_LARGEST_TENSOR = 2**50

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=2_000)]
Side = Annotated[int, msgspec.Meta(ge=0, lt=2**45)]
Sides = Annotated[list[Side], msgspec.Meta(max_length=16)]
Value = bool | int | float | Text | Annotated[list[int], msgspec.Meta(max_length=64)] | None


class WireNode(msgspec.Struct, forbid_unknown_fields=True):
    """A node; its children are numbers of nodes that came before it, so that there is no circle."""

    class_name: Name
    detail: Text = ""
    attributes: dict[Name, Value] = {}
    parameters: dict[Name, Sides] = {}
    buffers: dict[Name, Sides] = {}
    children: dict[Name, int] = {}


class WireTree(msgspec.Struct, forbid_unknown_fields=True):
    """A tree: its nodes, the root last."""

    nodes: Annotated[list[WireNode], msgspec.Meta(min_length=1, max_length=_MOST_NODES)]
    ties: list[list[Text]] = []
    accessors: dict[Name, Text] = {}
    config: dict[str, Any] = {}
    supports: list[Name] = []
    notes: list[Text] = []
    versions: dict[Name, Name] = {}


class WireAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """What a child says: a tree, or why there is none."""

    tree: WireTree | None = None
    error: Text = ""
    kind: Name = "failed"


def to_wire(tree: ModuleTree) -> WireTree:
    """A tree as its nodes, each once."""
    nodes: list[WireNode] = []
    numbers: dict[int, int] = {}
    _number(tree.root, nodes, numbers)
    return WireTree(
        nodes=nodes,
        ties=[list(group) for group in tree.ties],
        accessors=dict(tree.accessors),
        config=dict(tree.config),
        supports=list(tree.supports),
        notes=list(tree.notes),
        versions=dict(tree.versions),
    )


def encode(answer: WireAnswer) -> bytes:
    """An answer as JSON."""
    return msgspec.json.encode(answer)


def decode(data: bytes) -> WireAnswer:
    """An answer. Raises ValueError where the bytes are none."""
    try:
        return msgspec.json.decode(data, type=WireAnswer)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"not an answer: {error}") from error


def from_wire(wire: WireTree) -> ModuleTree:
    """The tree. Raises ValueError where the nodes make none."""
    pool = NodePool()
    nodes: list[ModuleNode] = []
    sizes: list[tuple[int, int]] = []
    for sent in wire.nodes:
        below = [sizes[_earlier(number, len(nodes))] for number in sent.children.values()]
        sizes.append(_checked(1 + sum(size for size, _ in below), 1 + max((d for _, d in below), default=0)))
        nodes.append(_node(sent, nodes, pool))
    return ModuleTree(
        root=nodes[-1],
        ties=tuple(tuple(_printable(path) for path in group) for group in wire.ties if len(group) > 1),
        accessors={_printable(name): _printable(path) for name, path in wire.accessors.items()},
        config=wire.config,
        supports=tuple(map(_printable, wire.supports)),
        notes=tuple(map(_printable, wire.notes)),
        versions={_printable(name): _printable(number) for name, number in wire.versions.items()},
    )


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
    if "." in name:
        raise ValueError(f"{_printable(name)!r} is no name of a module: it holds a dot")
    return _printable(name)


def _printable(text: str) -> str:
    """The text without what a terminal would act on."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
