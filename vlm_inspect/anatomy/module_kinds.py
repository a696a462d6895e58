"""What kind of module a node is (Linear, norm, attention …), and checked access to numbers.

Attributes and shapes decide wherever they can; class names only where structure cannot.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import takewhile
from typing import Any

from vlm_inspect.core.module_tree import ModuleNode, join

_NORM = re.compile(r"(Norm|LayerNorm|BatchNorm|GroupNorm)(\d?d)?", re.IGNORECASE)
_ACTIVATION = re.compile(r"(GELU|SiLU|ReLU|Tanh$|Sigmoid|Activation|Swish|Mish|SwiGLU)", re.IGNORECASE)
_ACTIVATION_FUNCTIONS = frozenset({"gelu", "silu", "relu", "mish"})
_POOLING = re.compile(r"Pool")
_ATTENTION = re.compile(r"(Attention|Attn)(?!.*(Norm|Pool|Bias|Mask|Adapter|Residual|Merger))")
_MIXER = re.compile(r"(Mixer|Mamba|DeltaNet|ShortConv|Recurrent|Linear_?Attn)")
_NO_MIXER = re.compile(r"(Norm|MLP|FeedForward|Experts|Router)", re.IGNORECASE)
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
"""torch's recurrent networks."""
_LAYER = re.compile(r"(Layer|Block|Residual)$")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|_")


def linear_widths(node: ModuleNode) -> tuple[int, int] | None:
    """(in, out) features of a Linear, of any module with the same attributes, or of GPT-2's Conv1D."""
    names = ("nx", "nf") if node.class_name == "Conv1D" else ("in_features", "out_features")
    return _int_pair(node, *names)


def convolution_channels(node: ModuleNode) -> tuple[int, int] | None:
    """(in, out) channels of a convolution."""
    if node.attribute("kernel_size") is None or not node.is_leaf:
        return None
    return _int_pair(node, "in_channels", "out_channels")


def pointwise_widths(node: ModuleNode) -> tuple[int, int] | None:
    """(in, out) channels of an ungrouped convolution with kernel size 1, which works like a Linear."""
    kernel = node.attribute("kernel_size")
    is_pointwise = isinstance(kernel, tuple) and set(kernel) == {1} and node.attribute("groups") in {None, 1}
    return convolution_channels(node) if is_pointwise else None


def embedding_sizes(node: ModuleNode) -> tuple[int, int] | None:
    """(entries, width) of an embedding table, or of an "…Embedding" class with a 2-D weight."""
    weight = node.shape("weight") if "Embedding" in node.class_name else None
    in_weight = (weight[0], weight[1]) if weight is not None and len(weight) == 2 else None  # noqa: PLR2004
    return _int_pair(node, "num_embeddings", "embedding_dim") or in_weight


def is_token_table(node: ModuleNode, width: int) -> bool:
    """Whether all parameters of a module are embedding tables of this width."""
    owners = (leaf for _, leaf in leaves(node, "") if leaf.total)
    # most modules are decided by their first leaf; a tower has hundreds
    are_tables = ((sizes := embedding_sizes(leaf)) is not None and sizes[1] == width for leaf in owners)
    return next(are_tables, False) and all(are_tables)


def _int_pair(node: ModuleNode, first: str, second: str) -> tuple[int, int] | None:
    left, right = node.attribute(first), node.attribute(second)
    return (left, right) if isinstance(left, int) and isinstance(right, int) else None


def is_norm(node: ModuleNode) -> bool:
    """Whether the class is named like a norm, and has only vectors as parameters."""
    has_norm_name = bool(_NORM.search(node.class_name)) and not node.children
    return has_norm_name and all(len(shape) == 1 for _, shape in node.parameters)


def is_activation(node: ModuleNode) -> bool:
    """Whether the module is an activation function."""
    return not node.total and not node.children and bool(_ACTIVATION.search(node.class_name))


def used_activations(node: ModuleNode) -> tuple[str, ...]:
    """The activation functions that a module's code calls (`gelu(x)`) without a module of that name."""
    names = {name for name, _ in node.children}
    return tuple(name for name in node.forward_order if name in _ACTIVATION_FUNCTIONS and name not in names)


def is_pooling(node: ModuleNode) -> bool:
    """Whether the module is a pooling without parameters."""
    return not node.total and not node.children and bool(_POOLING.search(node.class_name))


def is_attention(node: ModuleNode) -> bool:
    """Whether the class is named like attention: structure cannot tell it from other projections."""
    is_named = bool(_ATTENTION.search(node.class_name)) and not is_layer(node)
    return is_named and node.total > 0 and not _holds_attention_and_mlp(node)


def _holds_attention_and_mlp(node: ModuleNode) -> bool:
    """Whether a module has attention and, next to it, an MLP: a block, whatever its name (BridgeTower's)."""
    others = [child for _, child in node.children if not _ATTENTION.search(child.class_name)]
    mlps = (sum(linear_widths(leaf) is not None for _, leaf in leaves(child, "")) > 1 for child in others)
    return len(others) < len(node.children) and any(mlps)


def is_mixer(node: ModuleNode) -> bool:
    """Whether the module replaces attention: a state space, a convolution or a recurrence.

    Models and layers are named after their mixers too, so a module that contains one is not a mixer.
    """
    return is_named_mixer(node) and not contains_attention(node)


def is_named_mixer(node: ModuleNode) -> bool:
    """Whether the class is named like a mixer that is not attention; it may also contain one."""
    name = node.class_name
    return bool(_MIXER.search(name)) and not _NO_MIXER.search(name) and node.total > 0


def is_layer(node: ModuleNode) -> bool:
    """Whether the class is named like a layer or a block."""
    return bool(_LAYER.search(node.class_name))


def own_words(class_name: str, holder: str) -> str:
    """A class name without the words that it begins with like its holder's: `Encoder` of `CLIPEncoder` in `CLIPModel`.

    They name the model family, so they do not tell what this module reads.
    """
    words, others = _WORD.findall(class_name), _WORD.findall(holder)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(words, others, strict=False)))
    return "".join(words[shared:])


def is_list(node: ModuleNode) -> bool:
    """Whether the children are numbered, as in ModuleList and Sequential."""
    return bool(node.children) and all(name.isdigit() for name, _ in node.children)


# each module above an attention is tested several times
@lru_cache(maxsize=1 << 12)
def contains_attention(node: ModuleNode) -> bool:
    """Whether attention or a mixer is strictly below a node."""
    return any(is_attention(child) or is_mixer(child) or contains_attention(child) for _, child in node.children)


def leaves(node: ModuleNode, path: str) -> Iterator[tuple[str, ModuleNode]]:
    """The modules without children at and below a node, in order, each with its path."""
    if node.is_leaf:
        yield path, node
    for name, child in node.children if not node.is_leaf else ():
        yield from leaves(child, join(path, name))


def breadth_first(node: ModuleNode, path: str = "") -> Iterator[tuple[str, ModuleNode]]:
    """All modules below a node with their paths, level by level."""
    level = [(join(path, name), child) for name, child in node.children]
    while level:
        yield from level
        level = [(join(at, name), child) for at, parent in level for name, child in parent.children]


def as_int(value: object) -> int | None:
    """The value if it is an integer; None for anything else, booleans included."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_float(value: object) -> float | None:
    """The value if it is a finite number; None for anything else, booleans included."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) else None


def first_attribute(modules: Iterable[ModuleNode], names: tuple[str, ...]) -> int | None:
    """The first non-zero integer that one of the modules has under one of the names."""
    return next(filter(None, (as_int(module.attribute(*names)) for module in modules)), None)


def first_int(config: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    """The first non-zero integer at one of the keys; a list of equal values counts as that value."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, (list, tuple)) and value and len(set(map(str, value))) == 1:
            value = value[0]
        if as_int(value):
            return as_int(value)
    return None
