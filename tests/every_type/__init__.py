"""Every multimodal type in transformers' mapping, each with a configuration of a real size."""

import json
from pathlib import Path

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES

TYPES = sorted(MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES)
# configs/README.md names the sources of these
STORED_CONFIGS = {path.stem: path for path in sorted((Path(__file__).parent / "configs").glob("*.json"))}
# types that need an optional package: timm for towers, scipy for Inkling
NEEDS_EXTRA = ("fast_vlm", "gemma3n", "inkling_mm_model", "perception_lm")


def config_of(model_type: str) -> dict:
    """The stored configuration of a type, or else the defaults of its class."""
    path = STORED_CONFIGS.get(model_type)
    config = json.loads(path.read_text(encoding="utf-8")) if path else default_config(model_type)
    return {**config, "architectures": [architecture_of(model_type)]}


def default_config(model_type: str) -> dict:
    """The defaults of the type's configuration class."""
    return {**CONFIG_MAPPING[model_type]().to_dict(), "architectures": [architecture_of(model_type)]}


def architecture_of(model_type: str) -> str:
    """The model class of a type."""
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
