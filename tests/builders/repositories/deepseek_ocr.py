"""DeepSeek-OCR: SAM and CLIP side by side, one Linear, a mixture of experts."""

from tests.builders.repositories.layout import convolution, flat, linear, norm, sam_tower, stack

CONFIG = {
    "architectures": ["DeepseekOCRForCausalLM"],
    "auto_map": {
        "AutoConfig": "modeling_deepseekocr.DeepseekOCRConfig",
        "AutoModel": "modeling_deepseekocr.DeepseekOCRForCausalLM",
    },
    "first_k_dense_replace": 1,
    "hidden_size": 1280,
    "intermediate_size": 6848,
    "language_config": {
        "architectures": ["DeepseekV2ForCausalLM"],
        "first_k_dense_replace": 1,
        "hidden_size": 1280,
        "intermediate_size": 6848,
        "model_type": "deepseek_v2",
        "moe_intermediate_size": 896,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "num_attention_heads": 10,
        "num_experts_per_tok": 6,
        "num_hidden_layers": 12,
        "num_key_value_heads": 10,
        "use_mla": False,
        "vocab_size": 129280,
    },
    "model_type": "deepseek_vl_v2",
    "moe_intermediate_size": 896,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_attention_heads": 10,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 12,
    "num_key_value_heads": 10,
    "projector_config": {
        "input_dim": 2048,
        "model_type": "mlp_projector",
        "n_embed": 1280,
        "projector_type": "linear",
    },
    "torch_dtype": "bfloat16",
    "vision_config": {
        "image_size": 1024,
        "mlp_ratio": 3.7362,
        "model_name": "deeplip_b_l",
        "model_type": "vision",
        "width": {
            "clip-l-14-224": {"heads": 16, "image_size": 224, "layers": 24, "patch_size": 14, "width": 1024},
            "sam_vit_b": {
                "downsample_channels": [512, 1024],
                "global_attn_indexes": [2, 5, 8, 11],
                "heads": 12,
                "layers": 12,
                "width": 768,
            },
        },
    },
    "vocab_size": 129280,
}


def _mlp(inner):
    return {
        "gate_proj": linear(1280, inner, bias=False),
        "up_proj": linear(1280, inner, bias=False),
        "down_proj": linear(inner, 1280, bias=False),
    }


def _layer(mlp):
    return {
        "self_attn": {f"{name}_proj": linear(1280, 1280, bias=False) for name in "qkvo"},
        "mlp": mlp,
        "input_layernorm": norm(1280, bias=False),
        "post_attention_layernorm": norm(1280, bias=False),
    }


_SPARSE = {
    "experts": stack(64, _mlp(896)),
    "gate": linear(1280, 64, bias=False),
    "shared_experts": _mlp(1792),
}
_CLIP_LAYER = {
    "self_attn": {"qkv_proj": linear(1024, 3072), "out_proj": linear(1024, 1024)},
    "layer_norm1": norm(1024),
    "mlp": {"fc1": linear(1024, 4096), "fc2": linear(4096, 1024)},
    "layer_norm2": norm(1024),
}
SHAPES = flat(
    {
        "model": {
            "embed_tokens": {"weight": (129280, 1280)},
            "layers": {"0": _layer(_mlp(6848))} | {str(number): _layer(_SPARSE) for number in range(1, 12)},
            "norm": norm(1280, bias=False),
            "image_newline": (1280,),
            "view_seperator": (1280,),
            "sam_model": sam_tower(after=(("net_2", 256, 512), ("net_3", 512, 1024))),
            "vision_model": {
                "embeddings": {
                    "class_embedding": (1024,),
                    "patch_embedding": convolution(3, 1024, 14, bias=False),
                    "position_embedding": {"weight": (257, 1024)},
                },
                "pre_layrnorm": norm(1024),
                "transformer": {"layers": stack(24, _CLIP_LAYER)},
            },
            "projector": {"layers": linear(2048, 1280)},
        },
        "lm_head": linear(1280, 129280, bias=False),
    }
)
TOTAL = 3_336_106_240
PARTS = {
    "vision_encoder": (95_569_152, 303_177_728),
    "projector": (2_625_280,),
    "language_model": (2_769_255_680,),
    "lm_head": (165_478_400,),
}
