"""xGen-MM (phi3-mini, interleaved): a perceiver, and an embedding and a head that are each a table and a few rows."""

from tests.builders.repositories.layout import flat, linear, norm, siglip_tower, stack

CONFIG = {
    "architectures": ["XGenMMModelForConditionalGeneration"],
    "auto_map": {
        "AutoConfig": "modeling_xgenmm.XGenMMConfig",
        "AutoModelForVision2Seq": "modeling_xgenmm.XGenMMModelForConditionalGeneration",
    },
    "model_type": "xgenmm",
    "text_config": {
        "architectures": ["Phi3ForCausalLM"],
        "hidden_size": 3072,
        "initial_tokenizer_len": 32012,
        "intermediate_size": 8192,
        "model_type": "phi3",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32064,
    },
    "torch_dtype": "float32",
    "vision_encoder_config": {
        "anyres_patch_sampling": True,
        "image_aspect_ratio": "anyres",
        "model_name": "google/siglip-so400m-patch14-384",
        "model_type": "xgenmm_vision_encoder",
    },
    "vision_tokenizer_config": {
        "image_aspect_ratio": "anyres",
        "lang_embedding_dim": 3072,
        "model_type": "xgenmm_vision_tokenizer",
        "num_vis_tokens": 128,
        "vis_feature_dim": 1152,
    },
}

_LAYER = {
    "self_attn": {"o_proj": linear(3072, 3072, bias=False), "qkv_proj": linear(3072, 9216, bias=False)},
    "mlp": {"gate_up_proj": linear(3072, 16384, bias=False), "down_proj": linear(8192, 3072, bias=False)},
    "input_layernorm": norm(3072, bias=False),
    "post_attention_layernorm": norm(3072, bias=False),
}
_PERCEIVER_LAYER = {
    "0": {
        "norm_media": norm(1152),
        "norm_latents": norm(1152),
        "to_q": linear(1152, 1536, bias=False),
        "to_kv": linear(1152, 3072, bias=False),
        "to_out": linear(1536, 1152, bias=False),
    },
    "1": {"0": norm(1152), "1": linear(1152, 4608, bias=False), "3": linear(4608, 1152, bias=False)},
}
SHAPES = flat(
    {
        "vlm.lang_model": {
            "model": {
                "embed_tokens": {"weight": (32064, 3072), "additional_embedding": {"weight": (3, 3072)}},
                "layers": stack(32, _LAYER),
                "norm": norm(3072, bias=False),
            },
            "lm_head": {**linear(3072, 32064), "additional_fc": linear(3072, 3)},
        },
        "vlm.vision_encoder": siglip_tower(),
        "vlm.vision_tokenizer": {
            "latents": (128, 1152),
            "projection": linear(1152, 3072),
            "layers": stack(6, _PERCEIVER_LAYER),
            "norm": norm(1152),
        },
    }
)
TOTAL = 4_359_257_219
PARTS = {
    "vision_encoder": (428_225_600,),
    "projector": (109_901_568,),
    "language_model": (3_722_588_160,),
    "lm_head": (98_541_891,),
}
