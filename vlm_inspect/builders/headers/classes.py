"""What a module must be that holds tensors and no modules, by their shapes and its name.

Where shapes leave one class of torch, it is named: a 2-D `weight` is a Linear or an Embedding, a 4-D one a
Conv2d. Where they do not, the name says what it is and not which class (`?Norm`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from msgspec import Struct

from vlm_inspect.core.module_tree import INFERRED, Attribute, ModuleNode, Shape

_EMBEDDING = re.compile(
    r"(^|_)(embed(ding|der)?s?|embd|wte|wpe|shared|embed_in|embed_tokens\w*|relative_attention_bias)(_\d+|_table)?$"
    r"|(embedding|embeddings)$|^embed_",
    re.IGNORECASE,
)
_NO_TABLE = re.compile(r"(patch|proj|linear|vision_embed_tokens$|fc\d*$|dense$)", re.IGNORECASE)
_NORM = re.compile(r"(norm|layer_?norm|(^|_)ln(_|\d|$)|^rms|layrnorm)", re.IGNORECASE)
_GROUP_NORM = re.compile(r"group_?norm|(^|_)gn\d?$", re.IGNORECASE)
_CONVOLUTIONS: Mapping[int, str] = {3: "Conv1d", 4: "Conv2d", 5: "Conv3d"}
_TABLE = 2


class Kind(Struct, frozen=True):
    """A class, or what stands for an unknown one, and the attributes that its shapes state."""

    class_name: str
    detail: str = ""
    attributes: tuple[tuple[str, Attribute], ...] = ()


MODULE = Kind(f"{INFERRED}Module")


def leaf_kind(
    name: str, shapes: Mapping[str, Shape], buffers: Mapping[str, Shape], *, channels_last: bool = False
) -> Kind:
    """The kind of a module with these parameters; `name` is its own, without its place."""
    weight, bias = shapes.get("weight"), shapes.get("bias")
    if weight is None or set(shapes) - {"weight", "bias"}:
        return MODULE
    if len(weight) == 1:
        return _vector_kind(name, weight, bias, buffers)
    if len(weight) == _TABLE:
        return _matrix_kind(name, weight, bias)
    if len(weight) in _CONVOLUTIONS and (bias is None or len(bias) == 1):
        return _convolution(weight, bias, channels_last=channels_last)
    return MODULE


def _vector_kind(name: str, weight: Shape, bias: Shape | None, buffers: Mapping[str, Shape]) -> Kind:
    if "running_mean" in buffers:
        return Kind(f"{INFERRED}BatchNorm", attributes=(("num_features", weight[0]),))
    if _GROUP_NORM.search(name):
        return Kind("GroupNorm", attributes=(("num_channels", weight[0]),))
    if bias == weight:
        return Kind("LayerNorm", f"({weight[0]},)", (("normalized_shape", weight),))
    return Kind(f"{INFERRED}Norm") if bias is None and _is_norm_place(name) else MODULE


def _is_norm_place(name: str) -> bool:
    """Called a norm, or a numbered step: of those torch has, a norm alone holds one vector."""
    return bool(_NORM.search(name)) or name.isdigit()


def _matrix_kind(name: str, weight: Shape, bias: Shape | None) -> Kind:
    if bias is None and is_table_name(name):
        return Kind(
            "Embedding",
            f"{weight[0]}, {weight[1]}",
            (("embedding_dim", weight[1]), ("num_embeddings", weight[0])),
        )
    if bias is not None and bias != weight[:1] and bias == weight[1:]:  # GPT-2's, which is stored transposed
        return Kind("Conv1D", f"nf={weight[1]}, nx={weight[0]}", (("nf", weight[1]), ("nx", weight[0])))
    return linear(weight[1], weight[0], has_bias=bias is not None)


def is_table_name(name: str) -> bool:
    """Whether a module of this name looks its input up."""
    return bool(_EMBEDDING.search(name)) and not _NO_TABLE.search(name)


def linear(given: int, made: int, *, has_bias: bool) -> Kind:
    """A Linear of these widths."""
    detail = f"in_features={given}, out_features={made}, bias={has_bias}"
    return Kind("Linear", detail, (("in_features", given), ("out_features", made)))


def _convolution(weight: Shape, bias: Shape | None, *, channels_last: bool) -> Kind:
    """Channels and kernel. With one input channel their number is unknown: it may be one group of several."""
    given, kernel = (weight[-1], weight[1:-1]) if channels_last else (weight[1], weight[2:])
    attributes: list[tuple[str, Attribute]] = [("kernel_size", kernel), ("out_channels", weight[0])]
    if given > 1:
        attributes.append(("in_channels", given))
    detail = f"{given}, {weight[0]}, kernel_size={kernel}" + ("" if bias is not None else ", bias=False")
    return Kind(_CONVOLUTIONS[len(weight)], detail, tuple(sorted(attributes)))


ATTENTION, MIXER, MLP, MOE = (f"{INFERRED}{kind}" for kind in ("Attention", "Mixer", "MLP", "MoE"))
LAYER, LIST, MODULE_CLASS = (f"{INFERRED}{kind}" for kind in ("Layer", "List", "Module"))

_QUERY = re.compile(r"^(q_proj|query|q|wq|q_linear|to_q|query_proj|q_a_proj|Wq)$")
_KEY = re.compile(
    r"^(k_proj|key|k|wk|k_linear|to_k|key_proj|kv_proj|kv|to_kv|kv_a_proj_with_mqa|kv_b_proj|Wk)$"
)
_FUSED = re.compile(r"^(qkv|qkv_proj|query_key_value|Wqkv|wqkv|c_attn|in_proj_weight|to_qkv|att_proj)$")
_ATTENTION_NAME = re.compile(r"(^|_)(attn|attention|mha)\d*$|(Self|EncDec|Cross)Attention$|crossattention$")
_MIXER_NAME = re.compile(r"(^|_)(mamba\d?|mixer|ssm|linear_attn|recurrent|rwkv|short_?conv|lru)$")
_MLP_NAME = re.compile(
    r"(^|_)(mlp\d*|ffn|ff\d?|feed_?forward\d?|feedforward|block_sparse_moe|moe|DenseReluDense)$"
)
_MLP_PARTS = (
    {"gate_proj", "up_proj", "down_proj"},
    {"gate_up_proj", "down_proj"},
    {"up_proj", "down_proj"},
    {"fc1", "fc2"},
    {"lin1", "lin2"},
    {"c_fc", "c_proj"},
    {"w1", "w2"},
    {"linear_fc1", "linear_fc2"},
    {"dense_h_to_4h", "dense_4h_to_h"},
    {"wi_0", "wo"},
    {"wi", "wo"},
)
_HELD = frozenset({ATTENTION, MIXER})
_LAYER_PARTS = frozenset({ATTENTION, MIXER, MLP, MOE})


def module_kind(  # noqa: PLR0911 - a line for each kind
    name: str, children: Mapping[str, ModuleNode], own: Collection[str], *, in_list: bool
) -> str:
    """The kind of a module with these children and own tensors, and whether a list holds it."""
    names = {*children, *own}
    if children and all(child.isdigit() for child in children):
        return LIST
    if _is_mixer(name, names):
        return MIXER
    if _is_attention(name, names):
        return ATTENTION
    if "experts" in names and not _holds(children, _HELD):
        return MOE
    if _is_mlp(name, names) and not _holds(children, _HELD):
        return MLP
    if in_list and _holds(children, _LAYER_PARTS):
        return LAYER
    return MODULE_CLASS


def _is_mixer(name: str, names: set[str]) -> bool:
    state_space = "A_log" in names or {"in_proj", "conv", "out_proj"} <= names or "conv1d" in names
    return state_space or bool(_MIXER_NAME.search(name))


def _is_attention(name: str, names: set[str]) -> bool:
    projections = any(_QUERY.search(each) for each in names) and any(_KEY.search(each) for each in names)
    fused = any(_FUSED.search(each) for each in names)
    return projections or fused or bool(_ATTENTION_NAME.search(name) and names - {"weight", "bias"})


def _is_mlp(name: str, names: set[str]) -> bool:
    return bool(_MLP_NAME.search(name)) or any(parts <= names for parts in _MLP_PARTS)


def _holds(children: Mapping[str, ModuleNode], kinds: frozenset[str]) -> bool:
    """Whether one of these kinds lies below, lists of other layers left out."""
    return any(
        child.class_name in kinds or (child.class_name != LIST and _holds(dict(child.children), kinds))
        for child in children.values()
    )


_UP = re.compile(r"^(gate_up_proj|gate_and_up_projs|w13|w1|w3|wi|up_proj|gate_proj|fc1)(_weight)?$")
_DOWN = re.compile(r"^(down_proj|w2|wo|fc2|down_projs)(_weight)?$")
_ROUTER = re.compile(r"^(gate|router|gating|wg)$")
_SIDES = 3
_MATRIX = 2


def is_router(name: str, siblings: Collection[str], shapes: Mapping[str, Shape]) -> bool:
    """Whether a module next to experts chooses between them: it makes no hidden width."""
    weight = shapes.get("weight")
    return (
        bool(_ROUTER.search(name)) and "experts" in siblings and weight is not None and len(weight) == _MATRIX
    )


def router(shapes: Mapping[str, Shape]) -> Kind:
    """A router: experts, and the model's width."""
    experts, width = shapes["weight"]
    return Kind(f"{INFERRED}Router", attributes=(("hidden_dim", width), ("num_experts", experts)))


def fused_sizes(shapes: Mapping[str, Shape]) -> tuple[tuple[str, Attribute], ...]:
    """Experts, the model's width and an expert's, of a module with both projections; empty without."""
    up = next((shape for name, shape in shapes.items() if _UP.search(name) and len(shape) == _SIDES), None)
    down = next(
        (shape for name, shape in shapes.items() if _DOWN.search(name) and len(shape) == _SIDES), None
    )
    if up is None or down is None or up[0] != down[0]:
        return ()
    counted: dict[str, Attribute] = {"num_experts": up[0]}
    widths = {
        (a, b) for a, b in (down[1:], down[:0:-1]) if sorted(up[1:]) in (sorted((a, b)), sorted((a, 2 * b)))
    }
    if len(widths) == 1:
        (width, hidden), *_ = widths
        counted |= {"hidden_dim": width, "intermediate_dim": hidden}
    return tuple(sorted(counted.items()))
