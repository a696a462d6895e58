"""Module trees in files: each kind of module once, so that a tree of thousands of modules is a small file."""

import dataclasses
import json
from pathlib import Path
from typing import get_type_hints

import msgspec

from vlm_inspect.tree import ModuleTree, NodePool

FOLDER = Path(__file__).parent.parent / "timm" / "trees"
_FIELDS = {name: kind for name, kind in get_type_hints(ModuleTree).items() if name != "root"}


def to_text(tree):
    """The tree as JSON, a line for each kind of module, those inside others before them."""
    numbers, lines = {}, []
    _write(tree.root, numbers, lines)
    told = {name: msgspec.to_builtins(getattr(tree, name)) for name in _FIELDS}
    beside = [f"{json.dumps(name)}: {_compact(value)}" for name, value in told.items() if value]
    return "{" + ",\n".join([*beside, '"nodes": [\n' + ",\n".join(lines) + "]"]) + "}\n"


def from_text(text):
    """What `to_text` wrote."""
    data = json.loads(text)
    pool, nodes = NodePool(), []
    for kind in data.pop("nodes"):
        children = tuple((name, nodes[number]) for name, number in kind.pop("children", {}).items())
        told = {name: _plain(value) for name, value in kind.items()}
        nodes.append(pool.node(**told, children=children))
    return ModuleTree(nodes[-1], **{name: msgspec.convert(data[name], _FIELDS[name]) for name in data})


def stored(model_type):
    """The tree of a type as an environment in which nothing is missing built it."""
    return from_text((FOLDER / f"{model_type}.json").read_text(encoding="utf-8"))


def _write(node, numbers, lines):
    if id(node) in numbers:
        return
    for _, child in node.children:
        _write(child, numbers, lines)
    numbers[id(node)] = len(lines)
    data = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    del data["total"]
    data["children"] = {name: numbers[id(child)] for name, child in node.children}
    for name in ("attributes", "parameters", "buffers"):
        data[name] = dict(data[name])
    lines.append(_compact({name: value for name, value in data.items() if value}))


def _plain(value):
    if isinstance(value, dict):
        return tuple((name, _plain(each)) for name, each in value.items())
    return tuple(value) if isinstance(value, list) else value


def _compact(value):
    return json.dumps(value, separators=(",", ":"))
