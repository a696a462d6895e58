"""Describe a model from its configuration alone, when no class can be built.

Values are copied as the configuration states them. Whatever would have to be inferred stays unknown, with the
reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.anatomy.kind import with_kind
from vlm_inspect.anatomy.module_kinds import as_int
from vlm_inspect.anatomy.quantization import quantization_of
from vlm_inspect.core.architecture import (
    Architecture,
    Attention,
    Component,
    Evidence,
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
_LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "layers", "depth")
_WIDTHS = ("hidden_size", "embed_dim", "width", "d_model", "n_embd", "dim")
# no configuration states these about a class
_UNKNOWN_OF_ATTENTION = ("class_name", "kind", "head_width", "qk_norm", "bias", "positions")
_MAIN_ROLES = (Role.VISION_ENCODER, Role.PROJECTOR, Role.LANGUAGE_MODEL, Role.LM_HEAD)


def describe_config(checkpoint: Checkpoint, refusal: NotNativeError) -> Architecture:
    """Describe what a configuration states, for a model that transformers has no class for.

    The refusal's short form becomes the reason of all unknowns. If the configuration names neither an
    architecture nor a model type, the refusal is raised.
    """
    config, reason = checkpoint.config, refusal.short
    model_class, model_type = _first_architecture(config), _string(config.get("model_type"))
    if not (model_class or model_type):
        raise refusal
    components = tuple(_components(config, reason))
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
            notes=(f"{refusal.message} This answer is from the configuration alone.",),
        )
    )


def _components(config: Mapping[str, Any], reason: str) -> Iterator[Component]:
    for role, keys in _PART_KEYS.items():
        parts = ((key, config[key]) for key in keys if isinstance(config.get(key), Mapping) and config[key])
        whole = role is Role.LANGUAGE_MODEL and _positive(config, _LAYERS)
        key, part = next(parts, ("config.json", config if whole else None))
        if part is not None:
            yield _component(role, key, part, reason)


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
        stacks=(LayerStack("", layers, (_layer(part, reason),)),) if layers else (),
        unknown=unknown,
        evidence=(Evidence(f"{role.value} in {key}", "config", f"{key} describes one"),),
    )


def _layer(part: Mapping[str, Any], reason: str) -> Layer:
    width = _positive(part, _WIDTHS)
    attention = Attention(
        heads=_positive(part, ("num_attention_heads", "num_heads", "n_head")),
        key_value_heads=_positive(part, ("num_key_value_heads",)),
        unknown=dict.fromkeys(_UNKNOWN_OF_ATTENTION, reason),
    )
    mlp = Mlp(
        input_width=width,
        hidden_width=_positive(part, ("intermediate_size", "ffn_dim", "mlp_dim")),
        output_width=width,
        unknown=dict.fromkeys(("class_name", "gated", "activation"), reason),
    )
    unknown = dict.fromkeys(("class_name", "norms", "norm_placement"), reason)
    return Layer(attention=attention, mlp=mlp, unknown=unknown)


def _positive(config: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    """The first of these keys that has a positive integer."""
    values = (as_int(config.get(key)) for key in keys)
    return next((value for value in values if value is not None and value > 0), None)


def _first_architecture(config: Mapping[str, Any]) -> str | None:
    architectures = config.get("architectures")
    return _string(architectures[0]) if isinstance(architectures, list) and architectures else None


def _string(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
