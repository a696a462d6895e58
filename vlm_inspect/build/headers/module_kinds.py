"""What a module must be that holds modules: attention, an MLP, a layer, a list of them.

Told by what it holds first, and by its name where what it holds is everybody's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from vlm_inspect.tree import INFERRED, ModuleNode

ATTENTION, MIXER, MLP, MOE = (f"{INFERRED}{kind}" for kind in ("Attention", "Mixer", "MLP", "MoE"))
LAYER, LIST, MODULE = (f"{INFERRED}{kind}" for kind in ("Layer", "List", "Module"))

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
    return MODULE


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
