"""nanoLLaVA: LLaVA's mixins around Qwen1.5-0.5B, SigLIP without its last layer."""

from tests.builders.repositories.layout import flat, linear, llama_layer, norm, siglip_tower, stack

CONFIG = {
    "architectures": ["LlavaQwen2ForCausalLM"],
    "auto_map": {
        "AutoConfig": "configuration_llava_qwen2.LlavaQwen2Config",
        "AutoModelForCausalLM": "modeling_llava_qwen2.LlavaQwen2ForCausalLM",
    },
    "hidden_act": "silu",
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "mm_hidden_size": 1152,
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_tower": "google/siglip-so400m-patch14-384",
    "model_type": "llava-qwen2",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "num_key_value_heads": 16,
    "rms_norm_eps": 1e-06,
    "tie_word_embeddings": False,
    "vocab_size": 151936,
}
SHAPES = flat(
    {
        "model": {
            "embed_tokens": {"weight": (151936, 1024)},
            "layers": stack(24, llama_layer(1024, 2816, 1024, qkv_bias=True)),
            "norm": norm(1024, bias=False),
            "mm_projector": {"0": linear(1152, 1024), "2": linear(1024, 1024)},
            "vision_tower.vision_tower.vision_model": siglip_tower(layers=26, pooling=False),
        },
        "lm_head": linear(1024, 151936, bias=False),
    }
)
TOTAL = 1_019_548_192
PARTS = {
    "vision_encoder": (397_747_744,),
    "projector": (2_230_272,),
    "language_model": (463_987_712,),
    "lm_head": (155_582_464,),
}
