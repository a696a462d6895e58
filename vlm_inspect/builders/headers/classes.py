"""Infer the class of a module from the shapes of its parameters and from its name.

If the shapes leave one class of torch, it is named: a 2-D `weight` is a Linear or an Embedding, a 4-D one a
Conv2d. Otherwise the name tells what kind of module it is, but not which class (`?Norm`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from msgspec import Struct

from vlm_inspect.core.module_tree import INFERRED, Attribute, ModuleNode, Shape

ATTENTION, MIXER, MLP, MOE = (f"{INFERRED}{kind}" for kind in ("Attention", "Mixer", "MLP", "MoE"))
EXPERTS, LAYER, LIST, MODULE_CLASS = (f"{INFERRED}{kind}" for kind in ("Experts", "Layer", "List", "Module"))
MATRIX = 2  # dimensions of a matrix
_CONVOLUTIONS: Mapping[int, str] = {3: "Conv1d", 4: "Conv2d", 5: "Conv3d"}

_EMBEDDING = re.compile(
    r"(^|_)(embed(ding|der)?s?|embd|wte|wpe|shared|embed_in|embed_tokens\w*|relative_attention_bias)(_\d+|_table)?$"
    r"|(embedding|embeddings)$|^embed_",
    re.IGNORECASE,
)
_NO_EMBEDDING = re.compile(r"(patch|proj|linear|vision_embed_tokens$|fc\d*$|dense$)", re.IGNORECASE)
_NORM = re.compile(r"(norm|layer_?norm|(^|_)ln(_|\d|$)|^rms|layrnorm)", re.IGNORECASE)
_GROUP_NORM = re.compile(r"group_?norm|(^|_)gn\d?$", re.IGNORECASE)

QUERY_NAME = re.compile(r"^(q_proj|query|q|wq|q_linear|to_q|query_proj|Wq)$")
"""Projections whose output is the queries."""
FUSED_NAME = re.compile(r"^(qkv|qkv_proj|query_key_value|Wqkv|wqkv|c_attn|in_proj_weight|to_qkv|att_proj)$")
"""Projections whose output is queries, keys and values."""
_KEY_NAME = re.compile(r"^(k_proj|key|k|wk|k_linear|to_k|key_proj|kv_proj|kv|to_kv|kv_a_proj_with_mqa|kv_b_proj|Wk)$")
_VALUE_NAME = re.compile(r"^(v_proj|value|v|wv|v_linear|to_v|value_proj|Wv)$")
_OUTPUT_NAME = re.compile(r"^(o_proj|out_proj|to_out|attn_out)$")
_ATTENTION_NAME = re.compile(r"(^|_)(attn|attention|mha)\d*$|(Self|EncDec|Cross)Attention$|crossattention$")
_MIXER_NAME = re.compile(r"(^|_)(mamba\d?|mixer|ssm|linear_attn|recurrent|rwkv|short_?conv|lru)$")
_MLP_NAME = re.compile(r"(^|_)(mlp\d*|ffn|ff\d?|feed_?forward\d?|feedforward|block_sparse_moe|moe|DenseReluDense)$")
_MLP_PROJECTIONS = (
    *({"up_proj", "down_proj"}, {"gate_up_proj", "down_proj"}, {"fc1", "fc2"}, {"linear_fc1", "linear_fc2"}),
    *({"lin1", "lin2"}, {"c_fc", "c_proj"}, {"w1", "w2"}, {"wi", "wo"}, {"wi_0", "wo"}),
    *({"dense_h_to_4h", "dense_4h_to_h"}, {"ff_proj", "ff_out"}),
)
_ROUTER_NAME = re.compile(r"^(gate|router|gating|wg)$")
_UP_NAME = re.compile(
    r"^(gate_up_proj|ff_proj|linear_fc1|gate_and_up_projs|w13|w1|w3|wi|up_proj|gate_proj|fc1)(_weight)?$"
)
_DOWN_NAME = re.compile(r"^(down_proj|ff_out|linear_fc2|w2|wo|fc2|down_projs)(_weight)?$")


class Kind(Struct, frozen=True):
    """A class, or the placeholder for an unknown one, and the attributes that the shapes give."""

    class_name: str
    detail: str = ""
    attributes: tuple[tuple[str, Attribute], ...] = ()


_MODULE = Kind(MODULE_CLASS)


def leaf_kind(
    name: str, shapes: Mapping[str, Shape], buffers: Mapping[str, Shape], *, channels_last: bool = False
) -> Kind:
    """Return the kind of a module with these parameters; `name` is its own, without its path."""
    weight, bias = shapes.get("weight"), shapes.get("bias")
    if weight is not None and not set(shapes) - {"weight", "bias"}:
        if len(weight) == 1:
            return _norm_kind(name, weight, bias, buffers)
        if len(weight) == MATRIX:
            return _matrix_kind(name, weight, bias)
        if len(weight) in _CONVOLUTIONS and (bias is None or len(bias) == 1):
            return _convolution(weight, bias, channels_last=channels_last)
    return _MODULE


def is_embedding_name(name: str) -> bool:
    """Whether a module of this name is an embedding and not a projection."""
    return bool(_EMBEDDING.search(name)) and not _NO_EMBEDDING.search(name)


def reads_stream(name: str) -> bool | None:
    """Whether a projection of this name reads a layer's hidden states (True), writes them (False), or is another."""
    if any(pattern.search(name) for pattern in (QUERY_NAME, FUSED_NAME, _KEY_NAME, _VALUE_NAME, _UP_NAME)):
        return True
    return False if _DOWN_NAME.search(name) or _OUTPUT_NAME.search(name) else None


def router_kind(name: str, siblings: Collection[str], shapes: Mapping[str, Shape]) -> Kind | None:
    """Return the kind of a module that chooses between the experts next to it; None for other modules."""
    weight = shapes.get("weight", ())
    if not _ROUTER_NAME.search(name) or "experts" not in siblings or len(weight) != MATRIX:
        return None
    return Kind(f"{INFERRED}Router", attributes=(("hidden_dim", weight[1]), ("num_experts", weight[0])))


def stacked_kind(name: str, siblings: Collection[str], shapes: Mapping[str, Shape]) -> Kind | None:
    """Return the kind of a module that stacks one projection of all experts, next to their router (Moondream 3's)."""
    weight = shapes.get("weight", ())
    is_projection = len(weight) == MATRIX + 1 and (_UP_NAME.search(name) or _DOWN_NAME.search(name))
    if not is_projection or not any(map(_ROUTER_NAME.search, siblings)):
        return None
    return Kind(EXPERTS, attributes=(("num_experts", weight[0]),))


def extended_kind(children: Mapping[str, ModuleNode], shapes: Mapping[str, Shape]) -> Kind | None:
    """Return the kind of a Linear with more Linears of its input inside (Idefics' `additional_fc`)."""
    weight = shapes.get("weight", ())
    if len(weight) != MATRIX or set(shapes) - {"weight", "bias"} or not children:
        return None
    attributes = (("in_features", weight[1]), ("out_features", weight[0]))
    same_input = all(child.attribute("in_features") == weight[1] for child in children.values())
    return Kind(f"{INFERRED}Linear", attributes=attributes) if same_input else None


def _norm_kind(name: str, weight: Shape, bias: Shape | None, buffers: Mapping[str, Shape]) -> Kind:
    if "running_mean" in buffers:
        return Kind(f"{INFERRED}BatchNorm", attributes=(("num_features", weight[0]),))
    if _GROUP_NORM.search(name):
        return Kind("GroupNorm", attributes=(("num_channels", weight[0]),))
    if bias == weight:
        return Kind("LayerNorm", f"({weight[0]},)", (("normalized_shape", weight),))
    # a numbered step of a Sequential that has one vector can only be a norm
    is_norm = bias is None and (_NORM.search(name) or name.isdigit())
    return Kind(f"{INFERRED}Norm") if is_norm else _MODULE


def _matrix_kind(name: str, weight: Shape, bias: Shape | None) -> Kind:
    rows, columns = weight
    if bias is None and is_embedding_name(name):
        return Kind("Embedding", f"{rows}, {columns}", (("embedding_dim", columns), ("num_embeddings", rows)))
    if bias is not None and bias != weight[:1] and bias == weight[1:]:  # GPT-2's, which is stored transposed
        return Kind("Conv1D", f"nf={columns}, nx={rows}", (("nf", columns), ("nx", rows)))
    detail = f"in_features={columns}, out_features={rows}, bias={bias is not None}"
    return Kind("Linear", detail, (("in_features", columns), ("out_features", rows)))


def _convolution(weight: Shape, bias: Shape | None, *, channels_last: bool) -> Kind:
    in_channels, kernel = (weight[-1], weight[1:-1]) if channels_last else (weight[1], weight[2:])
    detail = f"{in_channels}, {weight[0]}, kernel_size={kernel}{', bias=False' if bias is None else ''}"
    # with 1 it may be a depthwise convolution of any number of channels
    inputs = (("in_channels", in_channels),) if in_channels > 1 else ()
    attributes = (*inputs, ("kernel_size", kernel), ("out_channels", weight[0]))
    return Kind(_CONVOLUTIONS[len(weight)], detail, attributes)


def module_kind(  # noqa: PLR0911 - a line for each kind
    name: str, children: Mapping[str, ModuleNode], own: Collection[str], *, in_list: bool
) -> str:
    """Return the kind of a module with these children and parameters; `in_list`: of one inside a list."""
    names = {*children, *own}
    if children and all(child.isdigit() for child in children):
        return LIST
    if is_embedding_name(name) and own and all(child.class_name == "Embedding" for child in children.values()):
        return f"{INFERRED}Embedding"
    if _is_mixer(name, names):
        return MIXER
    if _is_attention(name, names):
        # a layer may hold the projections of both itself
        return LAYER if in_list and _is_mlp("", names) else ATTENTION
    has_attention = _contains(children, {ATTENTION, MIXER})
    if "experts" in names and not has_attention:
        return MOE
    if _is_mlp(name, names) and not has_attention:
        return MLP
    if in_list and _contains(children, {ATTENTION, MIXER, MLP, MOE}):
        return LAYER
    return MODULE_CLASS


def fused_sizes(shapes: Mapping[str, Shape]) -> tuple[tuple[str, Attribute], ...]:
    """Return the number and widths of experts in 3-D parameters; empty for other modules."""
    fused = {name: shape for name, shape in shapes.items() if len(shape) == MATRIX + 1}
    up = next((shape for name, shape in fused.items() if _UP_NAME.search(name)), None)
    down = next((shape for name, shape in fused.items() if _DOWN_NAME.search(name)), None)
    if up is None or down is None or up[0] != down[0]:
        return ()
    widths = {(a, b) for a, b in (down[1:], down[:0:-1]) if sorted(up[1:]) in (sorted((a, b)), sorted((a, 2 * b)))}
    if len(widths) != 1:
        return (("num_experts", up[0]),)
    width, intermediate = widths.pop()
    return ("hidden_dim", width), ("intermediate_dim", intermediate), ("num_experts", up[0])


def _is_mixer(name: str, names: set[str]) -> bool:
    state_space = "A_log" in names or {"in_proj", "conv", "out_proj"} <= names or "conv1d" in names
    return state_space or bool(_MIXER_NAME.search(name))


def _is_attention(name: str, names: set[str]) -> bool:
    has_query = any(each == "q_a_proj" or QUERY_NAME.search(each) for each in names)
    separate = has_query and any(_KEY_NAME.search(each) for each in names)
    fused = any(FUSED_NAME.search(each) for each in names)
    return separate or fused or bool(_ATTENTION_NAME.search(name) and names - {"weight", "bias"})


def _is_mlp(name: str, names: set[str]) -> bool:
    return bool(_MLP_NAME.search(name)) or any(parts <= names for parts in _MLP_PROJECTIONS)


def _contains(children: Mapping[str, ModuleNode], kinds: set[str]) -> bool:
    """Whether one of these kinds is below, except in other lists."""
    return any(
        child.class_name in kinds or (child.class_name != LIST and _contains(dict(child.children), kinds))
        for child in children.values()
    )
