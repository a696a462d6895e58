"""Every multimodal type that transformers maps, each with a configuration that builds at its real size."""

import json
from pathlib import Path

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES

TYPES = sorted(MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES)
# what stands in configs/ says in its README.md where its figures are from
STATED = {path.stem: path for path in sorted((Path(__file__).parent / "configs").glob("*.json"))}
# a part of these needs a package that is an extra: timm's towers, and scipy for the plan of Inkling's
NEEDS_EXTRA = ("fast_vlm", "gemma3n", "inkling_mm_model", "perception_lm")


def config_of(model_type: str) -> dict:
    """The configuration that a type is answered from: the stated one, or else the class's own defaults."""
    stated = STATED.get(model_type)
    config = json.loads(stated.read_text(encoding="utf-8")) if stated else default_config(model_type)
    return {**config, "architectures": [architecture_of(model_type)]}


def default_config(model_type: str) -> dict:
    """What the type's configuration class holds when it is given nothing."""
    return {**CONFIG_MAPPING[model_type]().to_dict(), "architectures": [architecture_of(model_type)]}


def architecture_of(model_type: str) -> str:
    """The class that transformers maps the type to."""
    names = MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES[model_type]
    return names if isinstance(names, str) else names[0]


def small(config: dict) -> dict:
    """The same with two layers in each stack, and nothing that is said of each layer."""
    stacks = ("num_hidden_layers", "num_layers", "depth", "encoder_layers", "decoder_layers")
    return {
        key: small(value) if isinstance(value, dict) else 2 if key in stacks and value else value
        for key, value in config.items()
        if key not in {"layer_types", "mlp_layer_types"}
    }
