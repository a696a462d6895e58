"""Class names laid over a header tree, where the modules that the code makes are those that it holds.

The headers say what there is; the code says what it is called. A module whose children or sizes are not
what the code would make is another one than was read, and stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from vlm_inspect.build.source.fitting import PROVEN, fits, is_bare, modules_of, the_fitting
from vlm_inspect.build.source.library import PACKAGE
from vlm_inspect.build.source.read import Reading
from vlm_inspect.build.source.values import Choice, ClassRef, Foreign, Instance, Unknown, Value
from vlm_inspect.build.walk import POSITION
from vlm_inspect.tree import Attribute, ModuleNode, ModuleTree, NodePool, Unknowns, join

_NOT_FOUND = "the code that was read does not make it"
_OTHER = "its tensors are not those of the class in the code"
_CHOSEN = "chosen when it runs"
_LONGEST_TEXT = 200


def overlay(tree: ModuleTree, reading: Reading) -> ModuleTree:
    """The tree with the names that the code proves, and the reasons for those that it does not."""
    layer = _Overlay()
    root = layer.node(tree.root, reading.model, "", {})
    fields = {
        name: why
        for name, why in tree.unknowns.fields.items()
        if name != "attention_backends" or reading.supports is None
    }
    classes = {**({} if layer.gaps.get("") else {"": _NOT_FOUND}), **layer.gaps}
    return replace(
        tree,
        root=root,
        attention_backends=reading.supports or (),
        unknowns=Unknowns(classes, tree.unknowns.shapes, fields),
    )


class _Overlay(Struct):
    """One laying over: its nodes, and why names are missing where they are."""

    pool: NodePool = field(default_factory=NodePool)
    gaps: dict[str, str] = field(default_factory=dict)

    def node(self, node: ModuleNode, made: Value, path: str, replaced: Mapping[str, str]) -> ModuleNode:
        """A node of the header tree, named as the code would make it."""
        if isinstance(made, Choice):
            made = the_fitting(node, made)
        if not isinstance(made, Instance) or not made.is_module:
            self.gaps.setdefault(path, _reason(made))
            return self._unnamed(node, path)
        if not fits(node, made):
            self.gaps.setdefault(path, _OTHER)
            return self._unnamed(node, path)
        names = {**replaced, **made.replaced}
        children = tuple(self._children(node, made, path, names))
        return self.pool.node(
            made.class_name,
            detail=_detail(node, made),
            attributes=_attributes(node, made),
            parameters=node.parameters,
            buffers=node.buffers,
            children=children,
        )

    def _children(
        self, node: ModuleNode, made: Instance, path: str, replaced: Mapping[str, str]
    ) -> Iterator[tuple[str, ModuleNode]]:
        """In the order of the code: what the headers hold, and modules without parameters between."""
        held = dict(node.children)
        for name, value in modules_of(made):
            if name in held:
                yield name, self._child(held.pop(name), name, value, path, replaced)
            elif is_bare(value) and isinstance(value, Instance):
                yield name, self._bare(value)
        for name, child in held.items():
            any_one = made.attributes.get("*")
            inner = any_one if any_one is not None and name.isdigit() else self._moved(child, made)
            yield name, self._child(child, name, inner, path, replaced)

    def _child(
        self, child: ModuleNode, name: str, value: Value, path: str, replaced: Mapping[str, str]
    ) -> ModuleNode:
        if name in replaced:
            value = Unknown(replaced[name])
        if isinstance(value, _Moved):
            self.gaps.setdefault(join(path, name), f"{value.made.class_name} holds no such module any more")
            children = tuple(self._children(child, value.made, join(path, name), replaced))
            return self._same(child, children)
        return self.node(child, value, join(path, name), replaced)

    def _moved(self, child: ModuleNode, made: Instance) -> Value:
        """What lies in a module that this version of the class has no more (CLIP's `vision_model`)."""
        names = {name for name, value in modules_of(made) if not is_bare(value)}
        library = isinstance(made.made_by, ClassRef) and made.made_by.scope.name.startswith(PACKAGE)
        inner = {name for name, node in child.children if node.total}
        if library and inner and inner <= names:
            return _Moved(made)
        return Unknown(made.open_reason or _NOT_FOUND)

    def _bare(self, made: Instance) -> ModuleNode:
        children = tuple(
            (name, self._bare(value)) for name, value in modules_of(made) if isinstance(value, Instance)
        )
        attributes = _plain_attributes(made)
        return self.pool.node(
            made.class_name, detail=_torch_detail(made), attributes=attributes, children=children
        )

    def _unnamed(self, node: ModuleNode, path: str) -> ModuleNode:
        children = tuple((name, self._unnamed(child, join(path, name))) for name, child in node.children)
        return self._same(node, children)

    def _same(self, node: ModuleNode, children: tuple[tuple[str, ModuleNode], ...]) -> ModuleNode:
        return self.pool.node(
            node.class_name,
            detail=node.detail,
            attributes=node.attributes,
            parameters=node.parameters,
            buffers=node.buffers,
            children=children,
        )


class _Moved(Struct, frozen=True):
    """The children of an instance, one level deeper than its class has them now."""

    made: Instance


def _reason(made: Value) -> str:
    if isinstance(made, Choice):
        names = sorted({each.class_name for each in made.options if isinstance(each, Instance)})
        return f"{_CHOSEN}: {' or '.join(names)}" if names else _CHOSEN
    return made.reason if isinstance(made, Unknown) else _NOT_FOUND


def _attributes(node: ModuleNode, made: Instance) -> tuple[tuple[str, Attribute], ...]:
    """What the code proves, under what the shapes prove."""
    shaped = dict(node.attributes)
    found = {
        **shaped,
        **dict(_plain_attributes(made)),
        **{name: shaped[name] for name in PROVEN & set(shaped)},
    }
    return tuple(sorted(found.items()))


def _plain_attributes(made: Instance) -> tuple[tuple[str, Attribute], ...]:
    return tuple(
        sorted(
            (name, value)
            for name, value in made.attributes.items()
            if not name.startswith(("_", "*"))
            and name != "training"
            and not POSITION.search(name)
            and _is_plain(value)
        )
    )


def _is_plain(value: Value) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    return isinstance(value, (bool, int, float)) or (
        isinstance(value, tuple) and all(type(each) is int for each in value)
    )


def _detail(node: ModuleNode, made: Instance) -> str:
    eps = made.attributes.get("eps")
    if made.class_name == "LayerNorm" and isinstance(made.made_by, Foreign) and isinstance(eps, float):
        return f"{node.detail}, eps={eps}, elementwise_affine=True"
    return node.detail


def _torch_detail(made: Instance) -> str:
    if not isinstance(made.made_by, Foreign):
        return ""
    plain = {name: value for name, value in made.attributes.items() if _is_plain(value)}
    return ", ".join(f"{name}={value!r}" for name, value in plain.items())
