"""Class names for a header tree, where the modules that the code makes are those that it holds.

The headers say what there is; the code says what it is called. A module whose children or sizes are not
those of the code's class stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from vlm_inspect.builders.headers.classes import LIST, MLP, MODULE_CLASS
from vlm_inspect.builders.source.classes import holds_no_parameters
from vlm_inspect.builders.source.files import PACKAGE
from vlm_inspect.builders.source.read import Reading
from vlm_inspect.builders.source.values import (
    Choice,
    ClassRef,
    Foreign,
    Instance,
    Parameter,
    Unknown,
    Value,
    words,
)
from vlm_inspect.builders.transformers.walk import POSITION
from vlm_inspect.core.module_tree import Attribute, ModuleNode, ModuleTree, NodePool, Unknowns, join

_NOT_FOUND = "the code that was read does not make it"
_OTHER = "its tensors are not those of the class in the code"
_CHOSEN = "chosen when it runs"
_LONGEST_TEXT = 200
_LARGEST_BARE = 20
_DEEPEST_BARE = 3
_LEAVES = words("Linear Embedding LayerNorm RMSNorm GroupNorm Conv1d Conv2d Conv3d")
_CONTAINERS = words("Module ModuleDict ModuleList Sequential")
# proven by shapes, whatever the code says
_PROVEN = words(
    "in_features out_features num_embeddings embedding_dim in_channels out_channels kernel_size "
    "normalized_shape nf nx num_features num_channels"
)


class _Moved(Struct, frozen=True):
    """The children of an instance, one level deeper than its class has them now."""

    made: Instance


def overlay(tree: ModuleTree, reading: Reading) -> ModuleTree:
    """The tree with the class names that the code proves, and the reasons for those that it does not."""
    layer = _Overlay()
    root = layer.node(tree.root, reading.model, "", {})
    fields = dict(tree.unknowns.fields)
    if reading.supports is not None:
        fields.pop("attention_backends", None)
    classes = {**({} if layer.unknown.get("") else {"": _NOT_FOUND}), **layer.unknown}
    unknowns = Unknowns(classes, tree.unknowns.shapes, fields)
    return replace(tree, root=root, attention_backends=reading.supports or (), unknowns=unknowns)


class _Overlay(Struct):
    """The nodes with class names, and why class names are missing where they are."""

    pool: NodePool = field(default_factory=NodePool)
    unknown: dict[str, str] = field(default_factory=dict)

    def node(self, node: ModuleNode, made: Value, path: str, replaced: Mapping[str, str]) -> ModuleNode:
        """A node of the header tree with the class that the code makes."""
        if isinstance(made, Choice):
            fitting = [each for each in made.options if _is_module(each) and _fits(node, each, exactly=True)]
            made = fitting[0] if len(fitting) == 1 else made
        if not _is_module(made) or not _fits(node, made):
            self.unknown.setdefault(path, _OTHER if _is_module(made) else _reason(made))
            return self._unnamed(node)
        class_name = made.class_name
        plain = isinstance(made.made_by, Foreign) and class_name in _CONTAINERS
        if plain and node.inferred and node.class_name not in {LIST, MODULE_CLASS, MLP}:
            self.unknown.setdefault(path, f"a plain {class_name}: the code gives it no class of its own")
            class_name = node.class_name  # its tensors say more than that it contains modules
        return self._changed(
            node,
            class_name=class_name,
            detail=_detail(node, made),
            attributes=_attributes(node, made),
            children=tuple(self._children(node, made, path, {**replaced, **made.replaced})),
        )

    def _children(
        self, node: ModuleNode, made: Instance, path: str, replaced: Mapping[str, str]
    ) -> Iterator[tuple[str, ModuleNode]]:
        """In the order of the code: what the headers hold, and modules without parameters between."""
        held = dict(node.children)
        for name, value in _modules_of(made):
            if name in held:
                yield name, self._child(held.pop(name), name, value, path, replaced)
            elif _is_bare(value):
                yield name, self._bare(value)
        for name, child in held.items():
            any_one = made.attributes.get("*") if name.isdigit() else None
            yield name, self._child(child, name, any_one or _moved(child, made), path, replaced)

    def _child(
        self, child: ModuleNode, name: str, value: Value, path: str, replaced: Mapping[str, str]
    ) -> ModuleNode:
        at = join(path, name)
        if name in replaced:
            value = Unknown(replaced[name])
        if isinstance(value, _Moved):
            self.unknown.setdefault(at, f"{value.made.class_name} holds no such module any more")
            return self._changed(child, children=tuple(self._children(child, value.made, at, replaced)))
        return self.node(child, value, at, replaced)

    def _bare(self, made: Instance) -> ModuleNode:
        return self.pool.node(
            made.class_name,
            detail=_torch_detail(made),
            attributes=_plain_attributes(made),
            children=tuple((name, self._bare(value)) for name, value in _modules_of(made)),
        )

    def _unnamed(self, node: ModuleNode) -> ModuleNode:
        children = tuple((name, self._unnamed(child)) for name, child in node.children)
        return self._changed(node, children=children)

    def _changed(self, node: ModuleNode, **changes: Any) -> ModuleNode:
        fields = ("class_name", "detail", "attributes", "parameters", "buffers", "children")
        return self.pool.node(**{name: changes.get(name, getattr(node, name)) for name in fields})


def _reason(made: Value) -> str:
    if isinstance(made, Choice):
        names = sorted({each.class_name for each in made.options if isinstance(each, Instance)})
        return f"{_CHOSEN}: {' or '.join(names)}" if names else _CHOSEN
    return made.reason if isinstance(made, Unknown) else _NOT_FOUND


def _moved(child: ModuleNode, made: Instance) -> Value:
    """What a module holds that the installed version of its class has no more (CLIP's `vision_model`)."""
    names = {name for name, value in _modules_of(made) if not _is_bare(value)}
    library = isinstance(made.made_by, ClassRef) and made.made_by.scope.name.startswith(PACKAGE)
    inner = {name for name, node in child.children if node.total}
    if library and inner and inner <= names:
        return _Moved(made)
    return Unknown(made.open_reason or _NOT_FOUND)


# --- attributes --------------------------------------------------------------------------------------


def _attributes(node: ModuleNode, made: Instance) -> tuple[tuple[str, Attribute], ...]:
    shaped = dict(node.attributes)
    proven = {name: shaped[name] for name in _PROVEN & set(shaped)}
    return tuple(sorted({**shaped, **dict(_plain_attributes(made)), **proven}.items()))


def _plain_attributes(made: Instance) -> tuple[tuple[str, Attribute], ...]:
    return tuple(
        sorted(
            (name, value)
            for name, value in made.attributes.items()
            if not (name.startswith(("_", "*")) or name == "training" or POSITION.search(name))
            and _is_plain(value)
        )
    )


def _is_plain(value: Value) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    whole = isinstance(value, tuple) and all(type(each) is int for each in value)
    return whole or isinstance(value, (bool, int, float))


def _detail(node: ModuleNode, made: Instance) -> str:
    eps = made.attributes.get("eps")
    if made.class_name == "LayerNorm" and isinstance(made.made_by, Foreign) and isinstance(eps, float):
        return f"{node.detail}, eps={eps}, elementwise_affine=True"
    return node.detail


def _torch_detail(made: Instance) -> str:
    plain = made.attributes if isinstance(made.made_by, Foreign) else {}
    return ", ".join(f"{name}={value!r}" for name, value in plain.items() if _is_plain(value))


# --- can it be this module? --------------------------------------------------------------------------


def _is_module(value: Value) -> bool:
    return isinstance(value, Instance) and value.is_module


def _modules_of(made: Instance) -> list[tuple[str, Value]]:
    """What an instance holds that is a module, or may be one."""
    return [
        (name, value)
        for name, value in made.attributes.items()
        if name != "*" and (isinstance(value, (Unknown, Choice)) or _is_module(value))
    ]


def _is_bare(value: Value) -> bool:
    """Whether a module is known to hold no parameters, and no more modules than an activation may."""
    return _bare_size(value, 0) <= _LARGEST_BARE


def _bare_size(value: Value, depth: int) -> int:
    """Modules in a module without parameters; beyond the limit where it may have some, or is a maze."""
    beyond = _LARGEST_BARE + 1
    if not isinstance(value, Instance) or depth > _DEEPEST_BARE or value.open_reason:
        return beyond
    held = _modules_of(value)
    if isinstance(value.made_by, Foreign) and not held:
        return 1 if holds_no_parameters(value.class_name) else beyond
    owns = "*" in value.attributes or any(isinstance(each, Parameter) for each in value.attributes.values())
    if owns or len(held) > _LARGEST_BARE:
        return beyond
    return 1 + sum(_bare_size(each, depth + 1) for _, each in held)


def _fits(node: ModuleNode, made: Instance, *, exactly: bool = False) -> bool:
    """Whether the code's module can be the one that the headers hold."""
    if isinstance(made.made_by, Foreign) and made.class_name in _LEAVES:
        return not node.children and _same_sizes(node, made)
    known = {name for name, value in _modules_of(made) if not _is_bare(value)}
    held = {name for name, child in node.children if child.total}
    if exactly:
        return known == held
    if not held or not known or held & known or "*" in made.attributes or made.open_reason:
        return True
    return any({name for name, _ in child.children} & known for _, child in node.children)


def _same_sizes(node: ModuleNode, made: Instance) -> bool:
    """Whether sizes that both know agree."""
    pairs = ((value, made.attributes.get(name)) for name, value in node.attributes if name in _PROVEN)
    return all(one == other or type(one) is not int or type(other) is not int for one, other in pairs)
