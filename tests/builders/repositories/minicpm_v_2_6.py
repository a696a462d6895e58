"""MiniCPM-V 2.6: SigLIP of its own, a resampler with a bare projection, Qwen2-7B."""

from tests.builders.repositories.layout import flat, linear, llama_layer, norm, siglip_tower, stack

CONFIG = {
    "architectures": ["MiniCPMV"],
    "auto_map": {
        "AutoConfig": "configuration_minicpm.MiniCPMVConfig",
        "AutoModel": "modeling_minicpmv.MiniCPMV",
        "AutoModelForCausalLM": "modeling_minicpmv.MiniCPMV",
    },
    "drop_vision_last_layer": False,
    "hidden_act": "silu",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "model_type": "minicpmv",
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "query_num": 64,
    "rms_norm_eps": 1e-06,
    "tie_word_embeddings": False,
    "vision_config": {
        "hidden_size": 1152,
        "image_size": 980,
        "intermediate_size": 4304,
        "model_type": "siglip",
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "patch_size": 14,
    },
    "vocab_size": 151666,
}
SHAPES = flat(
    {
        "llm": {
            "model": {
                "embed_tokens": {"weight": (151666, 3584)},
                "layers": stack(28, llama_layer(3584, 18944, 512, qkv_bias=True)),
                "norm": norm(3584, bias=False),
            },
            "lm_head": linear(3584, 151666, bias=False),
        },
        "vpm": siglip_tower(positions=4900, pooling=False),
        "resampler": {
            "query": (64, 3584),
            "proj": (3584, 3584),
            "kv_proj": linear(1152, 3584, bias=False),
            "attn": {
                "in_proj_weight": (10752, 3584),
                "in_proj_bias": (10752,),
                "out_proj": linear(3584, 3584),
            },
            "ln_q": norm(3584),
            "ln_kv": norm(3584),
            "ln_post": norm(3584),
        },
    }
)
TOTAL = 8_099_175_152
PARTS = {
    "vision_encoder": (417_792_240,),
    "projector": (68_619_264,),
    "language_model": (7_069_192_704,),
    "lm_head": (543_570_944,),
}
