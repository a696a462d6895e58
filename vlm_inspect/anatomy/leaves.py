"""What a single module is, told by what it holds rather than by what it is called."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.core.module_tree import ModuleNode, join

_NORM = re.compile(r"(Norm|LayerNorm|BatchNorm|GroupNorm)(\d?d)?", re.IGNORECASE)
_ACTIVATION = re.compile(r"(GELU|SiLU|ReLU|Tanh$|Sigmoid|Activation|Swish|Mish|SwiGLU)", re.IGNORECASE)
_FUNCTIONS = frozenset({"gelu", "silu", "relu", "mish"})
_POOLING = re.compile(r"Pool")
_ATTENTION = re.compile(r"(Attention|Attn)(?!.*(Norm|Pool|Bias|Mask|Adapter|Residual|Merger))")
_MIXER = re.compile(r"(Mixer|Mamba|DeltaNet|ShortConv|Recurrent|Linear_?Attn)")
_NO_MIXER = re.compile(r"(Norm|MLP|FeedForward|Experts|Router)", re.IGNORECASE)
_LAYER = re.compile(r"(Layer|Block|Residual)$")


def linear_widths(node: ModuleNode) -> tuple[int, int] | None:
    """(in, out) of a Linear or anything that declares itself one, GPT-2's transposed Conv1D included."""
    given, made = node.attribute("in_features"), node.attribute("out_features")
    if node.class_name == "Conv1D":
        given, made = node.attribute("nx"), node.attribute("nf")
    return (given, made) if isinstance(given, int) and isinstance(made, int) else None


def convolution_channels(node: ModuleNode) -> tuple[int, int] | None:
    """(in, out) channels of a convolution."""
    given, made = node.attribute("in_channels"), node.attribute("out_channels")
    has_kernel = node.attribute("kernel_size") is not None and not node.children
    return (given, made) if has_kernel and isinstance(given, int) and isinstance(made, int) else None


def pointwise_widths(node: ModuleNode) -> tuple[int, int] | None:
    """(in, out) channels of a convolution that sees one place at a time: a Linear in all but name."""
    kernel = node.attribute("kernel_size")
    alone = isinstance(kernel, tuple) and set(kernel) == {1} and node.attribute("groups") in {None, 1}
    return convolution_channels(node) if alone else None


def embedding_sizes(node: ModuleNode) -> tuple[int, int] | None:
    """(entries, width) of an embedding table; those that keep a bare weight under an embedding's name too."""
    entries, width = node.attribute("num_embeddings"), node.attribute("embedding_dim")
    if isinstance(entries, int) and isinstance(width, int):
        return entries, width
    weight = node.shape("weight")
    if "Embedding" in node.class_name and weight is not None and len(weight) == 2:  # noqa: PLR2004 - a table
        return weight[0], weight[1]
    return None


def is_norm(node: ModuleNode) -> bool:
    """A normalisation: called one, and holding nothing but vectors."""
    flat = all(len(shape) == 1 for _, shape in node.parameters)
    return bool(_NORM.search(node.class_name)) and flat and not node.children


def is_activation(node: ModuleNode) -> bool:
    """An activation function that is a module."""
    return not node.total and not node.children and bool(_ACTIVATION.search(node.class_name))


def used_activations(node: ModuleNode) -> tuple[str, ...]:
    """The activation functions that a module's code calls and that no module stands for."""
    held = {name for name, _ in node.children}
    return tuple(name for name in node.forward_order if name in _FUNCTIONS and name not in held)


def is_pooling(node: ModuleNode) -> bool:
    """A pooling without parameters."""
    return not node.total and not node.children and bool(_POOLING.search(node.class_name))


def is_attention(node: ModuleNode) -> bool:
    """Attention, by its class's name: no structure tells it from other uses of projections."""
    return bool(_ATTENTION.search(node.class_name)) and not is_layer(node) and node.total > 0


def is_mixer(node: ModuleNode) -> bool:
    """What stands in attention's place: state space, convolution, recurrence.

    Named for it, and not merely around it: models and layers are named for what they hold, too.
    """
    return is_named_mixer(node) and not contains_attention(node)


def is_named_mixer(node: ModuleNode) -> bool:
    """Named for mixing tokens without attention: a mixer, or what holds one."""
    named = _MIXER.search(node.class_name) and not _NO_MIXER.search(node.class_name)
    return bool(named) and node.total > 0


def is_layer(node: ModuleNode) -> bool:
    """Called a layer or a block."""
    return bool(_LAYER.search(node.class_name))


def is_list(node: ModuleNode) -> bool:
    """A numbered container: ModuleList, Sequential."""
    return bool(node.children) and all(name.isdigit() for name, _ in node.children)


def contains_attention(node: ModuleNode) -> bool:
    """Whether attention, or what stands in its place, lies strictly below a node."""
    return any(
        is_attention(child) or is_mixer(child) or contains_attention(child) for _, child in node.children
    )


def leaves(node: ModuleNode, path: str) -> Iterator[tuple[str, ModuleNode]]:
    """The modules without children at and below a node, in order."""
    if not node.children:
        yield path, node
    for name, child in node.children:
        yield from leaves(child, join(path, name))


def breadth_first(node: ModuleNode, path: str = "") -> Iterator[tuple[str, ModuleNode]]:
    """All below a node, shallow ones first."""
    level = [(join(path, name), child) for name, child in node.children]
    while level:
        yield from level
        level = [(join(at, name), child) for at, parent in level for name, child in parent.children]


def whole(value: object) -> int | None:
    """A whole number, or None for anything else, True and False included."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: object) -> float | None:
    """A number, or None for anything else: NaN and the infinities, which a config.json may hold, are none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) else None


def first_whole(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The first of these keys that holds a whole number above zero; a list of equal ones counts as one."""
    for name in names:
        value = config.get(name)
        if isinstance(value, (list, tuple)) and value and len(set(map(str, value))) == 1:
            value = value[0]
        if whole(value):
            return whole(value)
    return None
