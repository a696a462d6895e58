"""GOT-OCR 2: SAM with two convolutions, one Linear, Qwen2-0.5B; the head is stored and tied."""

from tests.builders.repositories.layout import flat, linear, llama_layer, norm, sam_tower, stack

CONFIG = {
    "architectures": ["GOTQwenForCausalLM"],
    "auto_map": {
        "AutoConfig": "modeling_GOT.GOTConfig",
        "AutoModel": "modeling_GOT.GOTQwenForCausalLM",
    },
    "freeze_vision_tower": False,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "image_token_len": 256,
    "im_patch_token": 151859,
    "intermediate_size": 2816,
    "max_position_embeddings": 32768,
    "model_type": "GOT",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "num_key_value_heads": 16,
    "rms_norm_eps": 1e-06,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_im_start_end": True,
    "vocab_size": 151860,
}
SHAPES = flat(
    {
        "model": {
            "embed_tokens": {"weight": (151860, 1024)},
            "layers": stack(24, llama_layer(1024, 2816, 1024, qkv_bias=True)),
            "norm": norm(1024, bias=False),
            "vision_tower_high": sam_tower(after=(("net_2", 256, 512), ("net_3", 512, 1024))),
            "mm_projector_vary": linear(1024, 1024),
        },
        "lm_head": linear(1024, 151860, bias=False),
    }
)
TOTAL = 560_528_640
PARTS = {
    "vision_encoder": (95_569_152,),
    "projector": (1_049_600,),
    "language_model": (463_909_888,),
}
