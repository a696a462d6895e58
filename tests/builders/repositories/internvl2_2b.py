"""InternVL2-2B: a ViT with fused attention, a Sequential as its projector, InternLM2 with its own names."""

from tests.builders.repositories.layout import convolution, flat, linear, norm, stack

CONFIG = {
    "architectures": ["InternVLChatModel"],
    "auto_map": {
        "AutoConfig": "configuration_internvl_chat.InternVLChatConfig",
        "AutoModel": "modeling_internvl_chat.InternVLChatModel",
        "AutoModelForCausalLM": "modeling_internvl_chat.InternVLChatModel",
    },
    "downsample_ratio": 0.5,
    "llm_config": {
        "architectures": ["InternLM2ForCausalLM"],
        "attn_implementation": "flash_attention_2",
        "bias": False,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "model_type": "internlm2",
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": False,
        "vocab_size": 92553,
    },
    "model_type": "internvl_chat",
    "select_layer": -1,
    "vision_config": {
        "architectures": ["InternVisionModel"],
        "hidden_act": "gelu",
        "hidden_size": 1024,
        "image_size": 448,
        "intermediate_size": 4096,
        "layer_norm_eps": 1e-06,
        "model_type": "intern_vit_6b",
        "norm_type": "layer_norm",
        "num_attention_heads": 16,
        "num_channels": 3,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "qk_normalization": False,
        "qkv_bias": True,
        "use_flash_attn": True,
    },
}
_VIT_LAYER = {
    "ls1": (1024,),
    "ls2": (1024,),
    "attn": {"qkv": linear(1024, 3072), "proj": linear(1024, 1024)},
    "mlp": {"fc1": linear(1024, 4096), "fc2": linear(4096, 1024)},
    "norm1": norm(1024),
    "norm2": norm(1024),
}
_LAYER = {
    "attention": {"wqkv": linear(2048, 4096, bias=False), "wo": linear(2048, 2048, bias=False)},
    "feed_forward": {
        "w1": linear(2048, 8192, bias=False),
        "w2": linear(8192, 2048, bias=False),
        "w3": linear(2048, 8192, bias=False),
    },
    "attention_norm": norm(2048, bias=False),
    "ffn_norm": norm(2048, bias=False),
}
SHAPES = flat(
    {
        "vision_model": {
            "embeddings": {
                "class_embedding": (1, 1, 1024),
                "position_embedding": (1, 1025, 1024),
                "patch_embedding": convolution(3, 1024, 14),
            },
            "encoder.layers": stack(24, _VIT_LAYER),
        },
        "mlp1": {"0": norm(4096), "1": linear(4096, 2048), "3": linear(2048, 2048)},
        "language_model": {
            "model": {
                "tok_embeddings": {"weight": (92553, 2048)},
                "layers": stack(24, _LAYER),
                "norm": norm(2048, bias=False),
            },
            "output": linear(2048, 92553, bias=False),
        },
    }
)
TOTAL = 2_205_754_368
PARTS = {
    "vision_encoder": (304_012_288,),
    "projector": (12_595_200,),
    "language_model": (1_699_598_336,),
    "lm_head": (189_548_544,),
}
