"""Describe a model from its configuration alone, when no class can be built.

Values are copied as the configuration states them. Whatever would have to be inferred stays unknown, with the
reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.anatomy.kind import with_kind
from vlm_inspect.anatomy.module_kinds import as_float, as_int
from vlm_inspect.anatomy.quantization import quantization_of
from vlm_inspect.core.architecture import (
    Architecture,
    Attention,
    Component,
    Evidence,
    Experts,
    Layer,
    LayerStack,
    Mlp,
    Parameters,
    Role,
)
from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.errors import NotNativeError
from vlm_inspect.core.version import __version__

# the keys under which configurations have the parts of a model
_PART_KEYS: Mapping[Role, tuple[str, ...]] = {
    Role.VISION_ENCODER: ("vision_config", "img_processor", "visual", "vision_tower_config"),
    Role.AUDIO_ENCODER: ("audio_config", "audio_processor", "speech_config"),
    Role.LANGUAGE_MODEL: ("text_config", "llm_config", "language_config"),
}
# words of other such keys (`llm_cfg`, `vision_tower_cfg`), and of keys at the top (`vision_hidden_size`)
_PART_WORDS: Mapping[Role, re.Pattern[str]] = {
    Role.VISION_ENCODER: re.compile(r"^(vision|visual|image|img|vit|vt)(_(tower|encoder|model|backbone))?_"),
    Role.AUDIO_ENCODER: re.compile(r"^(audio|speech|sound)(_(tower|encoder|model))?_"),
    Role.LANGUAGE_MODEL: re.compile(r"^(text|llm|language|lm|decoder)(_(model|decoder|backbone))?_"),
}
_PART_ENDS = frozenset({"config", "cfg", "args", "params"})
_LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "layers", "depth", "num_blocks", "n_blocks")
_WIDTHS = ("hidden_size", "embed_dim", "width", "d_model", "n_embd", "dim", "embedding_dim")
_HEADS = ("num_attention_heads", "num_heads", "n_head", "n_heads", "heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "n_head_kv", "multi_query_group_num")
_MLP_WIDTHS = ("intermediate_size", "ffn_dim", "mlp_dim", "ffn_hidden_size", "n_inner", "d_ff", "enc_dim_ff")
_EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts", "n_experts", "num_moe_experts")
_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k", "experts_per_token", "top_k")
_EXPERT_WIDTHS = ("moe_intermediate_size", "expert_intermediate_size", "moe_ffn_hidden_size", "expert_ffn_hidden_size")
_SHARED = ("n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts")
_DENSE_FIRST = ("first_k_dense_replace", "num_dense_layers", "n_dense_layers", "moe_first_k_dense")
_EXPERT_KEYS = frozenset(_EXPERTS)
# keys that say which layers are sparse in ways that differ between models
_WHICH_LAYERS = (
    *("mlp_only_layers", "moe_layers", "moe_layers_enum", "moe_layer_indices", "mlp_layer_types", "moe_layer_list"),
    *(
        "decoder_sparse_step",
        "moe_layer_freq",
        "interleave_moe_layer_step",
        "moe_layer_interval",
        "moe_every_n_layers",
    ),
)
# no configuration states these about a class
_UNKNOWN_OF_ATTENTION = ("class_name", "kind", "head_width", "qk_norm", "bias", "positions")
_LARGEST_RATIO = 64
_NO_REASONS: Mapping[str, str] = {}
_MAIN_ROLES = (Role.VISION_ENCODER, Role.PROJECTOR, Role.LANGUAGE_MODEL, Role.LM_HEAD)


def describe_config(checkpoint: Checkpoint, refusal: NotNativeError, *, on_request: bool = False) -> Architecture:
    """Describe what a configuration states, for a model that transformers has no class for.

    The refusal's short form becomes the reason of all unknowns. If the configuration names neither an
    architecture nor a model type, the refusal is raised; also if it states no size of any part, unless the user
    named this builder.
    """
    config, reason = checkpoint.config, refusal.short
    model_class, model_type = _first_architecture(config), _string(config.get("model_type"))
    if not (model_class or model_type):
        raise refusal
    components = tuple(_components(config, reason))
    if not on_request and not any(component.width or component.stacks for component in components):
        raise NotNativeError(
            f"{refusal.message} Its config.json states no size of any part.",
            hint=_next_step(config),
            model=refusal.model,
            short=reason,
        )
    found = {component.role for component in components}
    unknown = [role.value for role in _MAIN_ROLES if role not in found]
    unknown += ["attention_backends", "inputs", *(() if model_class else ("model_class",))]
    return with_kind(
        Architecture(
            model=checkpoint.identity,
            model_type=model_type,
            model_class=model_class,
            builder="config",
            components=components,
            parameters=Parameters(unknown={"total": reason, "active": reason}),
            unknown=dict.fromkeys(unknown, reason),
            quantization=quantization_of(config),
            versions={"vlm_inspect": __version__},
            notes=(f"{refusal.message} This answer is from the configuration alone. {_next_step(config)}",),
        )
    )


def _next_step(config: Mapping[str, Any]) -> str:
    """What to do to get the rest."""
    headers = "a folder with its config.json and .safetensors files gives the exact sizes (their headers are enough)"
    if isinstance(config.get("auto_map"), Mapping):
        return f"--trust-remote-code runs its code in a sandbox and gives everything; {headers}."
    return f"{headers[0].upper()}{headers[1:]}."


def _components(config: Mapping[str, Any], reason: str) -> Iterator[Component]:
    for role, keys in _PART_KEYS.items():
        words = _PART_WORDS[role]
        others = [key for key in config if (match := words.search(key)) and key[match.end() :] in _PART_ENDS]
        parts = (
            (key, config[key]) for key in (*keys, *others) if isinstance(config.get(key), Mapping) and config[key]
        )
        whole = role is Role.LANGUAGE_MODEL and _positive(config, _LAYERS)
        at_top = config if whole else _prefixed(config, words)
        key, part = next(parts, ("config.json", at_top))
        if part:
            yield _component(role, key, _with_experts(_without_prefix(part)), reason)


def _prefixed(config: Mapping[str, Any], words: re.Pattern[str]) -> Mapping[str, Any]:
    """The sizes of a part at the top of a configuration, if its layers are among them: `vision_num_layers`."""
    part = {key[match.end() :]: value for key, value in config.items() if (match := words.search(key))}
    return part if _positive(part, _LAYERS) else {}


def _without_prefix(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part with the plain names of its sizes, if it writes its own word before them (`vt_hidden_size`)."""
    if _positive(part, _LAYERS) or _positive(part, _WIDTHS):
        return part
    sizes = (*_LAYERS[:3], *_WIDTHS[:2])
    prefixes = {key.removesuffix(size) for key in part for size in sizes if key.endswith(f"_{size}")}
    prefix = next(iter(prefixes)) if len(prefixes) == 1 else None
    return {key.removeprefix(prefix): value for key, value in part.items()} if prefix else part


def _with_experts(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part with the settings of its experts, if they have a section of their own (DBRX's `ffn_config`)."""
    sections = (section for section in part.values() if isinstance(section, Mapping))
    found = next(
        (section for section in sections if not _positive(section, _LAYERS) and _EXPERT_KEYS & section.keys()), {}
    )
    return {**found, **part}


def _component(role: Role, key: str, part: Mapping[str, Any], reason: str) -> Component:
    layers = _positive(part, _LAYERS)
    # the whole configuration names the class of the model, not that of its language model
    class_name = _first_architecture(part) if key != "config.json" else None
    unknown = dict.fromkeys(("parameters", "active", "paths", "embeddings"), reason)
    if class_name is None:
        unknown["class_name"] = reason
    if layers is None:
        unknown["stacks"] = reason
    return Component(
        role=role,
        class_name=class_name,
        width=_positive(part, _WIDTHS),
        stacks=(_stack(part, layers, reason),) if layers else (),
        unknown=unknown,
        evidence=(Evidence(f"{role.value} in {key}", "config", f"{key} describes one"),),
    )


def _stack(part: Mapping[str, Any], layers: int, reason: str) -> LayerStack:
    """The layers: of one kind, or the first ones dense and the others with experts."""
    width = _positive(part, _WIDTHS)
    experts = _experts(part, reason)
    if any(isinstance(part.get(key), list) for key in _EXPERTS):
        why = "it has groups of experts, and only the code says which layers have them"
        return LayerStack("", layers, (_layer(part, None, reason, {"mlp": why}),))
    if experts is None:
        return LayerStack("", layers, (_layer(part, _mlp(width, _mlp_width(part, width), reason), reason),))
    sparse = _layer(part, _mlp(width, experts.hidden_width, reason, experts), reason)
    dense = next((part[key] for key in _DENSE_FIRST if as_int(part.get(key)) is not None), None)
    if dense is None and any(part.get(key) not in (None, 1, [], False) for key in _WHICH_LAYERS):
        why = f"some layers have {experts.count} experts, and only the code says which"
        return LayerStack("", layers, (_layer(part, None, reason, {"mlp": why}),))
    if not dense or not 0 < dense < layers:
        return LayerStack("", layers, (sparse,))
    first = _layer(part, _mlp(width, _mlp_width(part, width), reason), reason)
    return LayerStack("", layers, (first, sparse), (*(0,) * dense, *(1,) * (layers - dense)))


def _layer(part: Mapping[str, Any], mlp: Mlp | None, reason: str, why: Mapping[str, str] = _NO_REASONS) -> Layer:
    attention = Attention(
        heads=_positive(part, _HEADS),
        key_value_heads=_positive(part, _KV_HEADS),
        unknown=dict.fromkeys(_UNKNOWN_OF_ATTENTION, reason),
    )
    unknown = dict.fromkeys(("class_name", "norms", "norm_placement"), reason)
    return Layer(attention=attention, mlp=mlp, unknown={**unknown, **why})


def _mlp(width: int | None, hidden: int | None, reason: str, experts: Experts | None = None) -> Mlp:
    return Mlp(
        input_width=width,
        hidden_width=hidden,
        output_width=width,
        experts=(experts,) if experts else (),
        unknown=dict.fromkeys(("class_name", "gated", "activation"), reason),
    )


def _mlp_width(part: Mapping[str, Any], width: int | None) -> int | None:
    """The stated width, or the ratio to the layers' width, rounded down as ViTs do."""
    ratio = as_float(part.get("mlp_ratio"))
    of_ratio = int(width * ratio) if width and ratio and 0 < ratio < _LARGEST_RATIO else None
    return _positive(part, _MLP_WIDTHS) or of_ratio


def _experts(part: Mapping[str, Any], reason: str) -> Experts | None:
    count = _positive(part, _EXPERTS)
    if count is None or count == 1:
        return None
    per_token, shared = _positive(part, _PER_TOKEN), _positive(part, _SHARED)
    names = ("router", "scoring", "parameters", "shared_width", *(() if per_token else ("per_token",)))
    return Experts(
        count=count,
        per_token=per_token,
        hidden_width=_positive(part, _EXPERT_WIDTHS),
        shared=shared,
        unknown=dict.fromkeys(names, reason),
    )


def _positive(config: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    """The first of these keys that has a positive integer."""
    values = (as_int(config.get(key)) for key in keys)
    return next((value for value in values if value is not None and value > 0), None)


def _first_architecture(config: Mapping[str, Any]) -> str | None:
    architectures = config.get("architectures")
    return _string(architectures[0]) if isinstance(architectures, list) and architectures else None


def _string(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
