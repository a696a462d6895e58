"""The header build: a module tree from the names and shapes of a checkpoint's tensors. No code, no torch.

What a module holds says what it must be, and hardly ever which class it is: such nodes are inferred
(`?Attention`), and the tree's unknowns say why. Parameters are exact wherever the shapes are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from vlm_inspect.builders.headers.classes import (
    ATTENTION,
    Kind,
    fused_sizes,
    is_router,
    leaf_kind,
    module_kind,
    router,
)
from vlm_inspect.builders.headers.config import attention_sizes, explicit_parts, stated_class
from vlm_inspect.builders.headers.quantized import Logical, Quantisation, logical
from vlm_inspect.builders.headers.ties import tie
from vlm_inspect.core.checkpoint import DeclaredClasses
from vlm_inspect.core.errors import BadHeaderError
from vlm_inspect.core.module_tree import (
    INFERRED,
    Attribute,
    ModuleNode,
    ModuleTree,
    NodePool,
    Shape,
    Unknowns,
    join,
)
from vlm_inspect.core.tensors import TensorHeaders

# as torch and transformers' models name them
_BUFFERS = re.compile(
    r"^(running_mean|running_var|num_batches_tracked|(\w+_)?inv_freq|position_ids|token_type_ids|masked_bias"
    r"|relative_position_index|relative_coords_table|relative_position_bucket|attn_mask|attention_mask|causal_mask"
    r"|cos_cached|sin_cached|freqs_cis|e_score_correction_bias|\w*_cached|mask_token_id|feature_buffer"
    r"|layer_scalar|global_mean|global_invstd|cluster_usage|embed_sum|initialized|pos_idx_to_embed"
    r"|mean|std|image_mean|image_std|embed_scale|std_bias|std_scale|pe|positional_embeddings_buffer"
    r"|(input|output)_(min|max))$"
)
# what is counted or switched is not learned
_NOT_LEARNED = frozenset({"BOOL", "I64", "U64", "I16", "U16"})


def is_buffer(name: str, dtype: str) -> bool:
    """Whether a tensor is a persistent buffer, by the name that modules give theirs or by its dtype."""
    return dtype in _NOT_LEARNED or bool(_BUFFERS.search(name.rpartition(".")[2]))


NO_CODE = "headers hold tensors, not classes"
"""Why a class is unknown where nothing but headers was read."""
_DEEPEST = 100
_MOST_TENSORS = 1_000_000


class Branch(Struct):
    """A module on its way to become a node: its tensors and the modules in it, by name."""

    own: dict[str, Logical] = field(default_factory=dict)
    inside: dict[str, Branch] = field(default_factory=dict)


def build(config: Mapping[str, Any], headers: TensorHeaders, model: str) -> ModuleTree:
    """The tree of a checkpoint. Raises BadHeaderError where the names are those of no model."""
    tensors = tie(logical(headers, Quantisation.of_config(config)), config)
    reader = _Reader(config, channels_last=headers.metadata.get("format") == "mlx")
    root = reader.node(_branches(tensors.tensors, model), "", "")
    return ModuleTree(
        root=root,
        ties=tensors.ties,
        config=explicit_parts(config),
        notes=(*headers.notes, *tensors.notes),
        unknowns=Unknowns(
            {"": NO_CODE}, _unsized(tensors.tensors), {"attention_backends": NO_CODE, **tensors.unknown}
        ),
        stored_bytes=reader.stored,
    )


def _branches(tensors: tuple[Logical, ...], model: str) -> Branch:
    if len(tensors) > _MOST_TENSORS:
        raise BadHeaderError(
            f"{model}: {len(tensors):,} tensors; the limit is {_MOST_TENSORS:,}.", hint=_HINT, model=model
        )
    root = Branch()
    for tensor in tensors:
        *modules, name = tensor.name.split(".")
        if len(modules) > _DEEPEST or not name:
            raise BadHeaderError(
                f"{model}: no module holds a tensor named {tensor.name[:100]!r}.", hint=_HINT, model=model
            )
        at = root
        for module in modules:
            at = at.inside.setdefault(module, Branch())
        at.own[name] = tensor
    return root


_HINT = "Check that the files are those of a model saved by transformers or torch."


def _unsized(tensors: tuple[Logical, ...]) -> dict[str, str]:
    return {each.name: each.reason for each in tensors if each.shape is None and each.count is None}


class _Reader:
    """One reading of a checkpoint's names: the nodes, and what is stored where."""

    def __init__(self, config: Mapping[str, Any], *, channels_last: bool) -> None:
        self._pool = NodePool()
        self._config = config
        self._channels_last = channels_last
        self.stored: dict[str, dict[str, int]] = {}

    def node(self, branch: Branch, name: str, path: str, around: Branch | None = None) -> ModuleNode:
        """The node of a branch: its children first, since they decide its kind."""
        self._keep_stored(branch, path)
        children = {
            each: self.node(branch.inside[each], each, join(path, each), branch)
            for each in sorted(branch.inside, key=_in_order)
        }
        parameters, buffers = _shapes(branch)
        kind = self._kind(branch, name, path, children, around)
        return self._pool.node(
            kind.class_name,
            detail=kind.detail,
            attributes=kind.attributes,
            parameters=tuple(parameters.items()),
            buffers=tuple(buffers.items()),
            children=tuple(children.items()),
        )

    def _keep_stored(self, branch: Branch, path: str) -> None:
        held: dict[str, int] = {}
        for tensor in branch.own.values():
            for dtype, size in tensor.stored.items():
                held[dtype] = held.get(dtype, 0) + size
        if held:
            self.stored[path] = held

    def _kind(
        self, branch: Branch, name: str, path: str, children: Mapping[str, ModuleNode], around: Branch | None
    ) -> Kind:
        stated = stated_class(path, self._config, children)
        if stated is not None:
            return Kind(stated)
        parameters, buffers = _shapes(branch)
        if around is not None and is_router(name, around.inside, parameters):
            return router(parameters)
        if not children and all(tensor.shape is not None for tensor in branch.own.values()):
            found = leaf_kind(name, parameters, buffers, channels_last=self._channels_last)
            if not found.class_name.startswith(INFERRED) or "Norm" in found.class_name:
                return found
        sizes = fused_sizes(parameters)
        if sizes:
            return Kind(f"{INFERRED}Experts", attributes=sizes)
        in_list = around is not None and all(each.isdigit() for each in around.inside)
        class_name = module_kind(name, children, parameters, in_list=in_list)
        if class_name == ATTENTION:
            return Kind(class_name, attributes=attention_sizes(path, children, parameters, self._config))
        return Kind(class_name)


def _shapes(branch: Branch) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """(parameters, buffers) of a branch. One without a shape has that of a single value, or of a row."""
    parameters: dict[str, Shape] = {}
    buffers: dict[str, Shape] = {}
    for name, tensor in branch.own.items():
        row = () if tensor.count is None else (tensor.count,)
        shape = row if tensor.shape is None else tensor.shape
        (buffers if is_buffer(name, tensor.dtype) else parameters)[name] = shape
    return parameters, buffers


def _in_order(name: str) -> tuple[int, int, str]:
    """Numbers by their value; names as the alphabet has them, since files keep no order of declaration."""
    return (0, int(name), name) if name.isdecimal() and len(name) < 10 else (1, 0, name)  # noqa: PLR2004 - no list is longer


_NOT_STATED = "no class is stated of it"
_PRINTED = re.compile(r"(?P<name>\w+)\((?P<detail>.*)\)")
_NAMED_VALUE = re.compile(r"(\w+)=([^,()]+)")


def with_declared_classes(tree: ModuleTree, stated: DeclaredClasses, config: Mapping[str, Any]) -> ModuleTree:
    """The tree with the stated classes, and with the stated modules that hold no tensor.

    `config` says which class it is where a key of it chooses; where it does not, the class is unknown.
    """
    layer = _Layer(stated.classes, config)
    root = layer.node(tree.root, "", "")
    fields = dict(tree.unknowns.fields)
    if stated.supports is not None:
        fields.pop("attention_backends", None)
    unknowns = Unknowns({"": _NOT_STATED, **layer.unknown}, tree.unknowns.shapes, fields)
    return replace(tree, root=root, attention_backends=stated.supports or (), unknowns=unknowns)


class _Layer(Struct):
    """One laying over: the nodes that it makes, and why classes are unknown where they are."""

    classes: Mapping[str, str | Mapping[str, str]]
    config: Mapping[str, Any]
    unknown: dict[str, str] = field(default_factory=dict)
    _pool: NodePool = field(default_factory=NodePool)

    def node(self, node: ModuleNode, path: str, pattern: str) -> ModuleNode:
        """A node of the header tree under its stated class; `pattern` is its path, with `*` for numbers."""
        class_name, detail, attributes = self._class(path, pattern) or (node.class_name, "", {})
        return self._pool.node(
            class_name,
            detail=detail or node.detail,
            attributes=tuple(sorted((attributes | dict(node.attributes)).items())),
            parameters=node.parameters,
            buffers=node.buffers,
            children=tuple(self._children(node, path, pattern)),
        )

    def _children(self, node: ModuleNode, path: str, pattern: str) -> Iterator[tuple[str, ModuleNode]]:
        """As they are stated, those without tensors among them; then, as they are held, the others."""
        held = dict(node.children)
        for name in self._stated_in(pattern):
            if name in held:
                yield name, self.node(held.pop(name), join(path, name), join(pattern, name))
            elif name != "*":
                yield name, self._bare(join(path, name), join(pattern, name))
        for name, child in held.items():
            any_number = "*" if name.isdecimal() and join(pattern, "*") in self.classes else name
            yield name, self.node(child, join(path, name), join(pattern, any_number))

    def _stated_in(self, pattern: str) -> Iterator[str]:
        for stated in self.classes:
            above, _, name = stated.rpartition(".")
            if above == pattern:
                yield name

    def _bare(self, path: str, pattern: str) -> ModuleNode:
        found = self._class(path, pattern)
        if found is None:
            raise ValueError(f"{pattern} holds no tensor, and its class is one of several")
        class_name, detail, attributes = found
        return self._pool.node(class_name, detail=detail, attributes=tuple(sorted(attributes.items())))

    def _class(self, path: str, pattern: str) -> tuple[str, str, dict[str, Attribute]] | None:
        """Name, detail and attributes of the class that is stated of a module; None where none is."""
        stated = self.classes.get(pattern)
        if isinstance(stated, Mapping):
            options = {value: printed for value, printed in stated.items() if value != "key"}
            stated = options.get(str(self.config.get(stated["key"])))
            if stated is None:
                names = " or ".join(sorted(_parsed(printed)[0] for printed in options.values()))
                self.unknown[path] = f"chosen when it runs: {names}"
        return None if stated is None else _parsed(stated)


def _parsed(printed: str) -> tuple[str, str, dict[str, Attribute]]:
    """What torch prints of a module, taken apart: `GELU(approximate='none')`."""
    match = _PRINTED.fullmatch(printed)
    if match is None:
        raise ValueError(f"not as torch prints a module: {printed!r}")
    values = {name: ast.literal_eval(value) for name, value in _NAMED_VALUE.findall(match["detail"])}
    return match["name"], match["detail"], values
