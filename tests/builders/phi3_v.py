"""Phi-3-vision as its repository publishes it: configuration, tensors and, in a stand-in, code."""

import math
import re
from pathlib import Path

from vlm_inspect.core.checkpoint import TensorHeaders, TensorInfo

REPOSITORY = Path(__file__).parent / "repositories" / "phi3_v"
CODE = {path.name: path.read_text() for path in sorted(REPOSITORY.glob("*.py"))}

CONFIG = {
    "_attn_implementation": "flash_attention_2",
    "architectures": ["Phi3VForCausalLM"],
    "auto_map": {
        "AutoConfig": "configuration_phi3_v.Phi3VConfig",
        "AutoModelForCausalLM": "modeling_phi3_v.Phi3VForCausalLM",
    },
    "embd_layer": {
        "embedding_cls": "image",
        "hd_transform_order": "sub_glb",
        "projection_cls": "mlp",
        "use_hd_transform": True,
        "with_learnable_separator": True,
    },
    "hidden_act": "silu",
    "hidden_size": 3072,
    "img_processor": {
        "image_dim_out": 1024,
        "model_name": "openai/clip-vit-large-patch14-336",
        "name": "clip_vision_model",
        "num_img_tokens": 144,
    },
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "model_type": "phi3_v",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "original_max_position_embeddings": 4096,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {"long_factor": [1.03] * 48, "short_factor": [1.05] * 48, "type": "su"},
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 32064,
}

_TOWER = "model.vision_embed_tokens.img_processor.vision_model"
_LINEAR = {"weight": (1024, 1024), "bias": (1024,)}
_NORM = {"weight": (1024,), "bias": (1024,)}
_VISION_LAYER = {
    **{f"self_attn.{name}": _LINEAR for name in ("k_proj", "v_proj", "q_proj", "out_proj")},
    "layer_norm1": _NORM,
    "mlp.fc1": {"weight": (4096, 1024), "bias": (4096,)},
    "mlp.fc2": {"weight": (1024, 4096), "bias": (1024,)},
    "layer_norm2": _NORM,
}
_LAYER = {
    "self_attn.o_proj": {"weight": (3072, 3072)},
    "self_attn.qkv_proj": {"weight": (9216, 3072)},
    "mlp.gate_up_proj": {"weight": (16384, 3072)},
    "mlp.down_proj": {"weight": (3072, 8192)},
    "input_layernorm": {"weight": (3072,)},
    "post_attention_layernorm": {"weight": (3072,)},
}
_MODULES = {
    "model.embed_tokens": {"weight": (32064, 3072)},
    "model.vision_embed_tokens": {"glb_GN": (1, 1, 4096), "sub_GN": (1, 1, 1, 4096)},
    f"{_TOWER}.embeddings": {"class_embedding": (1024,)},
    f"{_TOWER}.embeddings.patch_embedding": {"weight": (1024, 3, 14, 14)},
    f"{_TOWER}.embeddings.position_embedding": {"weight": (577, 1024)},
    f"{_TOWER}.pre_layrnorm": _NORM,
    f"{_TOWER}.post_layernorm": _NORM,
    **{f"{_TOWER}.encoder.layers.{n}.{name}": held for n in range(24) for name, held in _VISION_LAYER.items()},
    "model.vision_embed_tokens.img_projection.0": {"weight": (3072, 4096), "bias": (3072,)},
    "model.vision_embed_tokens.img_projection.2": {"weight": (3072, 3072), "bias": (3072,)},
    **{f"model.layers.{n}.{name}": held for n in range(32) for name, held in _LAYER.items()},
    "model.norm": {"weight": (3072,)},
    "lm_head": {"weight": (32064, 3072)},
}
SHAPES = dict(sorted((f"{module}.{name}", shape) for module, held in _MODULES.items() for name, shape in held.items()))
HEADERS = TensorHeaders(tuple(TensorInfo(name, "BF16", shape, 2 * math.prod(shape)) for name, shape in SHAPES.items()))


def changed(pattern, replacement):
    """The code with one thing changed, which must be there."""
    text, count = re.subn(pattern, replacement, CODE["modeling_phi3_v.py"])
    assert count, pattern
    return {**CODE, "modeling_phi3_v.py": text}
