"""Moondream 3: a bare embedding, experts in two fused parameters, dictionaries of modules."""

from tests.builders.repositories.layout import flat, linear, norm, stack

CONFIG = {
    "architectures": ["HfMoondream"],
    "auto_map": {
        "AutoConfig": "hf_moondream.HfConfig",
        "AutoModelForCausalLM": "hf_moondream.HfMoondream",
    },
    "config": {},
    "model_type": "moondream3",
    "torch_dtype": "bfloat16",
}

_VIT_BLOCK = {
    "ln1": norm(1152),
    "attn": {"qkv": linear(1152, 3456), "proj": linear(1152, 1152)},
    "ln2": norm(1152),
    "mlp": {"fc1": linear(1152, 4304), "fc2": linear(4304, 1152)},
}


def _block(mlp):
    attention = {
        "qkv": linear(2048, 6144),
        "proj": linear(2048, 2048),
        "tau": {"wq": (32, 6144), "wv": (32, 6144), "alpha": (32,)},
    }
    return {"ln": norm(2048), "attn": attention, "mlp": mlp}


_DENSE = {"fc1": linear(2048, 8192), "fc2": linear(8192, 2048)}
_SPARSE = {
    "router": linear(2048, 64),
    "fc1": {"weight": (64, 2048, 2048)},
    "fc2": {"weight": (64, 2048, 1024)},
}
SHAPES = flat(
    {
        "model.text": {
            "wte": (51200, 2048),
            "blocks": {str(number): _block(_DENSE if number < 4 else _SPARSE) for number in range(24)},  # noqa: PLR2004 - the first four are dense
            "post_ln": norm(2048),
            "lm_head": linear(2048, 51200),
        },
        "model.vision": {
            "patch_emb": linear(588, 1152),
            "pos_emb": (1, 729, 1152),
            "blocks": stack(27, _VIT_BLOCK),
            "post_ln": norm(1152),
            "proj_mlp": {"fc1": linear(2304, 8192), "fc2": linear(8192, 2048)},
        },
        "model.region": {
            "coord_encoder": linear(256, 2048),
            "coord_decoder": linear(2048, 1024),
            "size_encoder": linear(512, 2048),
            "size_decoder": linear(2048, 2048),
            "coord_features": (1, 128),
            "size_features": (2, 256),
        },
    }
)
TOTAL = 9_268_622_832
PARTS = {"language_model": (8_707_192_832,), "lm_head": (104_908_800,)}
