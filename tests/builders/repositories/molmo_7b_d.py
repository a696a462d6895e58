"""Molmo-7B-D: an embedding in two tables, attention and MLP in the block itself, patches through a Linear."""

from tests.builders.repositories.layout import flat, linear, norm, stack

CONFIG = {
    "architectures": ["MolmoForCausalLM"],
    "attention_layer_norm": False,
    "auto_map": {
        "AutoConfig": "config_molmo.MolmoConfig",
        "AutoModelForCausalLM": "modeling_molmo.MolmoForCausalLM",
    },
    "embedding_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 37888,
    "layer_norm_eps": 1e-06,
    "layer_norm_type": "rms",
    "max_position_embeddings": 4096,
    "model_type": "molmo",
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "qkv_bias": True,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "vocab_size": 152064,
}

_VIT_LAYER = {
    "attention": {name: linear(1024, 1024) for name in ("wq", "wk", "wv", "wo")},
    "attention_norm": norm(1024),
    "feed_forward": {"w1": linear(1024, 4096), "w2": linear(4096, 1024)},
    "ffn_norm": norm(1024),
}
_BLOCK = {
    "att_proj": linear(3584, 4608),
    "attn_norm": norm(3584, bias=False),
    "attn_out": linear(3584, 3584, bias=False),
    "ff_norm": norm(3584, bias=False),
    "ff_out": linear(18944, 3584, bias=False),
    "ff_proj": linear(3584, 37888, bias=False),
}
SHAPES = flat(
    {
        "model.transformer": {
            "wte": {"embedding": (152064, 3584), "new_embedding": (128, 3584)},
            "blocks": stack(28, _BLOCK),
            "ln_f": norm(3584, bias=False),
            "ff_out": linear(3584, 152064, bias=False),
        },
        "model.vision_backbone": {
            "pad_embed": (2, 2048),
            "image_vit": {
                "class_embedding": (1024,),
                "positional_embedding": (577, 1024),
                "patch_embedding": linear(588, 1024, bias=False),
                "pre_ln": norm(1024),
                "transformer.resblocks": stack(23, _VIT_LAYER),
            },
            "image_pooling_2d": {
                **{name: linear(2048, 1024) for name in ("wq", "wk", "wv")},
                "wo": linear(1024, 1024),
            },
            "image_projector": {
                "w1": linear(1024, 18944, bias=False),
                "w2": linear(18944, 3584, bias=False),
                "w3": linear(1024, 18944, bias=False),
            },
        },
    }
)
TOTAL = 8_021_025_280
PARTS = {"language_model": (7_071_077_888,), "lm_head": (544_997_376,)}
