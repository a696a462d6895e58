"""DeepSeek-VL2-tiny: SigLIP as timm stores it, a mixture of experts. Its repository holds no code."""

from tests.builders.repositories.layout import convolution, flat, linear, norm, stack

CONFIG = {
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
    "projector_config": {"model_type": "mlp_projector", "n_embed": 1280},
    "tile_tag": "2D",
    "torch_dtype": "bfloat16",
    "vision_config": {
        "layers": 27,
        "mlp_ratio": 3.7362,
        "model_name": "siglip_so400m_patch14_384",
        "model_type": "vision",
        "patch_size": 14,
        "width": 1152,
    },
}

_VIT_MLP = {"fc1": linear(1152, 4304), "fc2": linear(4304, 1152)}
_VIT_BLOCK = {
    "norm1": norm(1152),
    "attn": {"qkv": linear(1152, 3456), "proj": linear(1152, 1152)},
    "norm2": norm(1152),
    "mlp": _VIT_MLP,
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
SHAPES = flat(
    {
        "vision": {
            "pos_embed": (1, 729, 1152),
            "patch_embed": {"proj": convolution(3, 1152, 14)},
            "blocks": stack(27, _VIT_BLOCK),
            "norm": norm(1152),
            "attn_pool": {
                "latent": (1, 1, 1152),
                "q": linear(1152, 1152),
                "kv": linear(1152, 2304),
                "proj": linear(1152, 1152),
                "norm": norm(1152),
                "mlp": _VIT_MLP,
            },
        },
        "projector.layers": {"0": linear(4608, 1280), "2": linear(1280, 1280)},
        "image_newline": (1280,),
        "view_seperator": (1280,),
        "language": {
            "model": {
                "embed_tokens": {"weight": (129280, 1280)},
                "layers": {"0": _layer(_mlp(6848))} | {str(number): _layer(_SPARSE) for number in range(1, 12)},
                "norm": norm(1280, bias=False),
            },
            "lm_head": linear(1280, 129280, bias=False),
        },
    }
)
TOTAL = 3_370_501_440
PARTS = {
    "vision_encoder": (428_225_600,),
    "projector": (7_541_760,),
    "language_model": (2_769_255_680,),
    "lm_head": (165_478_400,),
}
