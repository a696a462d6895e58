"""Moondream 2 of 2025: dictionaries of modules, a bare embedding, the projector inside the tower."""

from tests.builders.repositories.layout import flat, linear, norm, stack

CONFIG = {
    "architectures": ["HfMoondream"],
    "auto_map": {
        "AutoConfig": "hf_moondream.HfConfig",
        "AutoModelForCausalLM": "hf_moondream.HfMoondream",
    },
    "config": {},
    "model_type": "moondream1",
    "torch_dtype": "bfloat16",
}

_VIT_BLOCK = {
    "ln1": norm(1152),
    "attn": {"qkv": linear(1152, 3456), "proj": linear(1152, 1152)},
    "ln2": norm(1152),
    "mlp": {"fc1": linear(1152, 4304), "fc2": linear(4304, 1152)},
}
_BLOCK = {
    "ln": norm(2048),
    "attn": {"qkv": linear(2048, 6144), "proj": linear(2048, 2048)},
    "mlp": {"fc1": linear(2048, 8192), "fc2": linear(8192, 2048)},
}
SHAPES = flat(
    {
        "model.vision": {
            "patch_emb": linear(588, 1152),
            "pos_emb": (1, 729, 1152),
            "blocks": stack(27, _VIT_BLOCK),
            "post_ln": norm(1152),
            "proj_mlp": {"fc1": linear(2304, 8192), "fc2": linear(8192, 2048)},
        },
        "model.text": {
            "wte": (51200, 2048),
            "blocks": stack(24, _BLOCK),
            "post_ln": norm(2048),
            "lm_head": linear(2048, 51200),
        },
        "model.region": {
            "coord_encoder": linear(256, 2048),
            "coord_decoder": {"fc1": linear(2048, 8192), "fc2": linear(8192, 1024)},
            "size_encoder": linear(512, 2048),
            "size_decoder": {"fc1": linear(2048, 8192), "fc2": linear(8192, 2048)},
            "coord_features": (1, 128),
            "size_features": (2, 256),
        },
    }
)
TOTAL = 1_927_237_104
PARTS = {
    "vision_encoder": (412_987_248,),
    "projector": (35_661_824,),
    "language_model": (1_313_361_920,),
    "lm_head": (104_908_800,),
}
