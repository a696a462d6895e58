"""A small model with code of its own, as tensors: `text`, `vision_tower`, `projector`."""

from tests.builders.repositories.layout import convolution, flat, linear, norm, stack

CONFIG = {
    "architectures": ["TinyVLM"],
    "hidden_size": 64,
    "model_type": "tiny_vlm",
    "num_attention_heads": 4,
    "vocab_size": 1000,
}
TEXT_LAYERS = 197_184
"""Parameters of the text layers and of the norm behind them."""


def block(width):
    """A layer with a fused projection and four times its width inside."""
    return {
        "attn": {"qkv": linear(width, 3 * width, bias=False), "out": linear(width, width, bias=False)},
        "mlp": {"up": linear(width, 4 * width, bias=False), "down": linear(4 * width, width, bias=False)},
        "norm1": norm(width, bias=False),
        "norm2": norm(width, bias=False),
    }


BODY = flat(
    {
        "text": {"blocks": stack(4, block(64)), "norm": norm(64, bias=False)},
        "vision_tower": {"patch": convolution(3, 32, 14, bias=False), "blocks": stack(3, block(32))},
        "projector": linear(32, 64, bias=False),
    }
)
TABLE = {"text.embed_tokens.weight": (1000, 64)}
HEAD = {"lm_head.weight": (1000, 64)}
SHAPES = {**BODY, **TABLE, **HEAD}
