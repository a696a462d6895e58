"""Build a module tree from the names and shapes of a checkpoint's tensors, without torch.

A module's tensors tell what kind it is, but seldom its class: such nodes are inferred (`?Attention`), and the
tree's unknowns give the reason. Classes come from the repo's code, read as text, or from the catalogue.
Parameters are exact wherever the shapes are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from vlm_inspect.builders.headers import classes
from vlm_inspect.builders.headers.config import attention_sizes, explicit_parts, stated_class
from vlm_inspect.builders.headers.quantized import ModelTensor, Quantisation, bytes_by_dtype, model_tensors
from vlm_inspect.builders.headers.ties import tie
from vlm_inspect.core.checkpoint import DeclaredClasses, TensorHeaders
from vlm_inspect.core.errors import BadHeaderError
from vlm_inspect.core.module_tree import Attribute, ModuleNode, ModuleTree, NodePool, Shape, Unknowns, join

NO_CODE = "headers hold tensors, not classes"
"""Why a class is unknown if only headers were read."""
_DEEPEST = 100
# the names of persistent buffers in torch and in transformers' models
_BUFFERS = re.compile(
    r"^(running_mean|running_var|num_batches_tracked|(\w+_)?inv_freq|position_ids|token_type_ids|masked_bias"
    r"|relative_position_index|relative_coords_table|relative_position_bucket|attn_mask|attention_mask|causal_mask"
    r"|cos_cached|sin_cached|freqs_cis|e_score_correction_bias|\w*_cached|mask_token_id|feature_buffer"
    r"|layer_scalar|global_mean|global_invstd|cluster_usage|embed_sum|initialized|pos_idx_to_embed"
    r"|cluster_size|embed_avg|inited|eps"
    r"|mean|std|image_mean|image_std|embed_scale|std_bias|std_scale|pe|positional_embeddings_buffer"
    r"|(input|output)_(min|max))$"
)
# tensors of these dtypes are not learned
_BUFFER_DTYPES = frozenset({"BOOL", "I64", "U64", "I16", "U16"})
_NAMED_VALUE = re.compile(r"(\w+)=([^,()]+)")


def build(config: Mapping[str, Any], headers: TensorHeaders, model: str) -> ModuleTree:
    """Return the tree of a checkpoint. Raises BadHeaderError if no model has tensors of such names."""
    tied = tie(model_tensors(headers, Quantisation.of_config(config)), config)
    builder = _NodeBuilder(config, channels_last=headers.metadata.get("format") == "mlx")
    root = builder.node(_branches(tied.tensors, model))
    unsized = {each.name: each.reason for each in tied.tensors if each.shape is None and each.count is None}
    return ModuleTree(
        root=root,
        ties=tied.ties,
        config=explicit_parts(config),
        notes=(*headers.notes, *tied.notes),
        unknowns=Unknowns({"": NO_CODE}, unsized, {"attention_backends": NO_CODE, **tied.unknown}),
        stored_bytes=builder.stored_bytes,
    )


class _Branch(Struct):
    """A module before its kind is known: its tensors and its child modules, by name."""

    name: str = ""
    path: str = ""
    tensors: dict[str, ModelTensor] = field(default_factory=dict)
    children: dict[str, _Branch] = field(default_factory=dict)


def _branches(tensors: tuple[ModelTensor, ...], model: str) -> _Branch:
    root = _Branch()
    for tensor in tensors:
        *modules, name = tensor.name.split(".")
        if len(modules) > _DEEPEST or not name:
            raise BadHeaderError(
                f"{model}: no module holds a tensor named {tensor.name[:100]!r}.",
                hint="Check that the files are those of a model saved by transformers or torch.",
                model=model,
            )
        branch = root
        for module in modules:
            branch = branch.children.setdefault(module, _Branch(module, join(branch.path, module)))
        branch.tensors[name] = tensor
    return root


class _NodeBuilder(Struct):
    """Nodes for the branches of one checkpoint, and the bytes that it stores for each."""

    config: Mapping[str, Any]
    channels_last: bool
    stored_bytes: dict[str, dict[str, int]] = field(default_factory=dict)
    _pool: NodePool = field(default_factory=NodePool)

    def node(self, branch: _Branch, siblings: Collection[str] = ()) -> ModuleNode:
        """The node of a branch, after its children: they decide its kind. It is one of its siblings."""
        stored = bytes_by_dtype(tensor.stored for tensor in branch.tensors.values())
        if stored:
            self.stored_bytes[branch.path] = stored
        names = sorted(branch.children, key=_sort_key)
        children = {name: self.node(branch.children[name], names) for name in names}
        parameters, buffers = _shapes(branch)
        kind = self._kind(branch, siblings, children, parameters, buffers)
        return self._pool.node(
            kind.class_name,
            detail=kind.detail,
            attributes=kind.attributes,
            parameters=tuple(parameters.items()),
            buffers=tuple(buffers.items()),
            children=tuple(children.items()),
        )

    def _kind(
        self,
        branch: _Branch,
        siblings: Collection[str],
        children: Mapping[str, ModuleNode],
        parameters: Mapping[str, Shape],
        buffers: Mapping[str, Shape],
    ) -> classes.Kind:
        stated = stated_class(branch.path, self.config, children)
        if stated is not None:
            return classes.Kind(stated)
        router = classes.router_kind(branch.name, siblings, parameters)
        if router is not None:
            return router
        if not children and all(tensor.shape is not None for tensor in branch.tensors.values()):
            found = classes.leaf_kind(branch.name, parameters, buffers, channels_last=self.channels_last)
            if found.class_name != classes.MODULE_CLASS:
                return found
        sizes = classes.fused_sizes(parameters)
        if sizes:
            return classes.Kind(classes.EXPERTS, attributes=sizes)
        in_list = bool(siblings) and all(map(str.isdigit, siblings))
        class_name = classes.module_kind(branch.name, children, parameters, in_list=in_list)
        if class_name == classes.ATTENTION:
            sizes = attention_sizes(branch.path, children, parameters, self.config)
        return classes.Kind(class_name, attributes=sizes)


def _shapes(branch: _Branch) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """(parameters, buffers). A tensor of unknown shape is taken as a row, or as one value."""
    parameters: dict[str, Shape] = {}
    buffers: dict[str, Shape] = {}
    for name, tensor in branch.tensors.items():
        shape = tensor.shape
        if shape is None:
            shape = () if tensor.count is None else (tensor.count,)
        # a codebook that is an average of what it encodes
        is_average = name == "embed" and "embed_avg" in branch.tensors
        is_buffer = tensor.dtype in _BUFFER_DTYPES or is_average or _BUFFERS.search(name)
        (buffers if is_buffer else parameters)[name] = shape
    return parameters, buffers


def _sort_key(name: str) -> tuple[int, int, str]:
    """Numbers by value, then names alphabetically: files do not store the order of declaration."""
    return (0, int(name), name) if name.isdecimal() and len(name) < 10 else (1, 0, name)  # noqa: PLR2004 - no list is longer


def with_declared_classes(tree: ModuleTree, stated: DeclaredClasses, config: Mapping[str, Any]) -> ModuleTree:
    """Return the tree with the declared classes, including declared modules that have no tensor.

    If a key of `config` selects the class and has another value than those declared, the class is unknown.
    """
    overlay = _DeclaredOverlay(stated.classes, config)
    root = overlay.node(tree.root, "", "")
    fields = dict(tree.unknowns.fields)
    if stated.supports is not None:
        fields.pop("attention_backends", None)
    unknowns = Unknowns({"": "no class is stated of it", **overlay.unknown}, tree.unknowns.shapes, fields)
    return replace(tree, root=root, attention_backends=stated.supports or (), unknowns=unknowns)


class _DeclaredOverlay(Struct):
    """New nodes with their declared classes, and the reasons for those that stay unknown."""

    classes: Mapping[str, str | Mapping[str, str]]
    config: Mapping[str, Any]
    unknown: dict[str, str] = field(default_factory=dict)
    _pool: NodePool = field(default_factory=NodePool)

    def node(self, node: ModuleNode, path: str, pattern: str) -> ModuleNode:
        """The node with its declared class; `pattern` is its path with `*` for the indices of layers."""
        class_name, detail, attributes = self._declared(path, pattern) or (node.class_name, "", {})
        return self._pool.node(
            class_name,
            detail=detail or node.detail,
            attributes=tuple(sorted((attributes | dict(node.attributes)).items())),
            parameters=node.parameters,
            buffers=node.buffers,
            children=tuple(self._children(node, path, pattern)),
        )

    def _children(self, node: ModuleNode, path: str, pattern: str) -> Iterator[tuple[str, ModuleNode]]:
        """The declared children in their order, then the others."""
        others, no_tensors = dict(node.children), ModuleNode(classes.MODULE_CLASS)
        for declared in self.classes:
            parent, _, name = declared.rpartition(".")
            if parent == pattern and name != "*":
                child = others.pop(name, no_tensors)
                yield name, self.node(child, join(path, name), join(pattern, name))
        for name, child in others.items():
            is_layer = name.isdecimal() and join(pattern, "*") in self.classes
            yield name, self.node(child, join(path, name), join(pattern, "*" if is_layer else name))

    def _declared(self, path: str, pattern: str) -> tuple[str, str, dict[str, Attribute]] | None:
        """Name, detail and attributes of the module's declared class."""
        declared = self.classes.get(pattern)
        if isinstance(declared, Mapping):
            options = {value: printed for value, printed in declared.items() if value != "key"}
            declared = options.get(str(self.config.get(declared["key"])))
            if declared is None:
                names = " or ".join(sorted(_parse_printed(printed)[0] for printed in options.values()))
                self.unknown[path] = f"chosen when it runs: {names}"
        return None if declared is None else _parse_printed(declared)


def _parse_printed(printed: str) -> tuple[str, str, dict[str, Attribute]]:
    """Split a module as torch prints it: `GELU(approximate='none')`."""
    name, _, detail = printed.removesuffix(")").partition("(")
    values = {key: ast.literal_eval(value) for key, value in _NAMED_VALUE.findall(detail)}
    return name, detail, values
