"""What a configuration says on its own, where no module can be looked at.

Values are taken as the configuration states them. Whatever would have to be concluded from them is
left unknown, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.anatomy.kind import with_kind
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

_TEXT_PARTS = ("text_config", "llm_config", "language_config")
_VISION_PARTS = ("vision_config", "img_processor", "visual", "vision_tower_config")
_AUDIO_PARTS = ("audio_config", "audio_processor", "speech_config")
# what no configuration says of a class that was not seen
_UNSEEN_OF_ATTENTION = ("class_name", "kind", "head_width", "qk_norm", "bias", "positions")
_UNSEEN_OF_MLP = ("class_name", "gated", "activation")
_LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "layers", "depth")
_WIDTHS = ("hidden_size", "embed_dim", "width", "d_model", "n_embd", "dim")
_HEADS = ("num_attention_heads", "num_heads", "n_head")


def describe_config(checkpoint: Checkpoint, refusal: NotNativeError) -> Architecture:
    """A record of what the configuration states, where transformers has no class for it.

    Raises the refusal itself where the configuration does not even name what it is of.
    """
    config, reason = checkpoint.config, refusal.short
    if not (_first_architecture(config) or _text(config.get("model_type"))):
        raise refusal
    components = tuple(_components(config, reason))
    found = {component.role for component in components}
    return with_kind(
        Architecture(
            model=checkpoint.identity,
            model_type=_text(config.get("model_type")),
            model_class=_first_architecture(config),
            builder="config",
            components=components,
            parameters=Parameters(unknown={"total": reason, "active": reason}),
            unknown={
                role.value: reason
                for role in (Role.VISION_ENCODER, Role.PROJECTOR, Role.LANGUAGE_MODEL, Role.LM_HEAD)
                if role not in found
            }
            | {"attention_backends": reason, "inputs": reason}
            | ({} if _first_architecture(config) else {"model_class": reason}),
            quantization=quantization_of(config),
            versions={"vlm_inspect": __version__},
            notes=(f"{refusal.message} This answer is from the configuration alone.",),
        )
    )


def _components(config: Mapping[str, Any], reason: str) -> Iterator[Component]:
    for role, names in (
        (Role.VISION_ENCODER, _VISION_PARTS),
        (Role.AUDIO_ENCODER, _AUDIO_PARTS),
        (Role.LANGUAGE_MODEL, _TEXT_PARTS),
    ):
        name, part = _part(config, names)
        if part is None and role is Role.LANGUAGE_MODEL and _number(config, _LAYERS):
            name, part = "config.json", config
        if part is not None:
            yield _component(role, name, part, reason)


def _part(config: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Mapping[str, Any] | None]:
    for name in names:
        part = config.get(name)
        if isinstance(part, Mapping) and part:
            return name, part
    return "", None


def _component(role: Role, name: str, part: Mapping[str, Any], reason: str) -> Component:
    layers = _number(part, _LAYERS)
    # a model's own class is its architecture; a sub-configuration that is the whole one has it above
    stated = _first_architecture(part) if name != "config.json" else None
    unknown = {"parameters": reason, "active": reason, "paths": reason, "embeddings": reason}
    if stated is None:
        unknown["class_name"] = reason
    if layers is None:
        unknown["stacks"] = reason
    evidence = Evidence(f"{role.value} in {name}", "config", f"{name} describes one")
    return Component(
        role=role,
        class_name=stated,
        width=_number(part, _WIDTHS),
        stacks=(LayerStack("", layers, (_layer(part, reason),)),) if layers else (),
        unknown=unknown,
        evidence=(evidence,),
    )


def _layer(part: Mapping[str, Any], reason: str) -> Layer:
    width = _number(part, _WIDTHS)
    return Layer(
        attention=Attention(
            heads=_number(part, _HEADS),
            key_value_heads=_number(part, ("num_key_value_heads",)),
            unknown=dict.fromkeys(_UNSEEN_OF_ATTENTION, reason),
        ),
        mlp=Mlp(
            input_width=width,
            hidden_width=_number(part, ("intermediate_size", "ffn_dim", "mlp_dim")),
            output_width=width,
            unknown=dict.fromkeys(_UNSEEN_OF_MLP, reason),
        ),
        unknown={"class_name": reason, "norms": reason, "norm_placement": reason},
    )


def _number(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _first_architecture(config: Mapping[str, Any]) -> str | None:
    names = config.get("architectures")
    return _text(names[0]) if isinstance(names, list) and names else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
