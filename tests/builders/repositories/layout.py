"""The words in which the layouts of this folder are written, and the repository that each of them makes."""

import math

from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.order import build_header_tree
from vlm_inspect.core.checkpoint import Checkpoint, TensorHeaders, TensorInfo
from vlm_inspect.core.model_ref import ModelIdentity


def linear(given, made, *, bias=True):
    """The tensors of a Linear."""
    return {"weight": (made, given)} | ({"bias": (made,)} if bias else {})


def norm(width, *, bias=True):
    """The tensors of a LayerNorm, or of an RMSNorm."""
    return {"weight": (width,)} | ({"bias": (width,)} if bias else {})


def convolution(given, made, kernel, *, bias=True):
    """The tensors of a Conv2d with a square kernel."""
    return {"weight": (made, given, kernel, kernel)} | ({"bias": (made,)} if bias else {})


def flat(modules, prefix=""):
    """Tensor name → shape; a module's value is its tensors, or the modules in it."""
    shapes = {}
    for name, held in modules.items():
        at = f"{prefix}{name}"
        shapes |= flat(held, f"{at}.") if isinstance(held, dict) else {at: tuple(held)}
    return shapes


def stack(count, layer):
    """Equal layers by number."""
    return {str(number): layer for number in range(count)}


def clip_tower(layers, width, inner, positions, *, patch_bias=False, post=True):
    """CLIP's vision transformer as transformers stores it."""
    attention = {f"{name}_proj": linear(width, width) for name in ("k", "v", "q", "out")}
    layer = {
        "self_attn": attention,
        "layer_norm1": norm(width),
        "mlp": {"fc1": linear(width, inner), "fc2": linear(inner, width)},
        "layer_norm2": norm(width),
    }
    return {
        "embeddings": {
            "class_embedding": (width,),
            "patch_embedding": convolution(3, width, 14, bias=patch_bias),
            "position_embedding": {"weight": (positions, width)},
        },
        "pre_layrnorm": norm(width),
        "encoder": {"layers": stack(layers, layer)},
    } | ({"post_layernorm": norm(width)} if post else {})


def siglip_tower(*, layers=27, width=1152, inner=4304, positions=729, pooling=True):
    """SigLIP's vision transformer as transformers stores it, with its attention pooling or without."""
    tower = clip_tower(layers, width, inner, positions, patch_bias=True)
    del tower["pre_layrnorm"], tower["embeddings"]["class_embedding"]
    if pooling:
        tower["head"] = {
            "probe": (1, 1, width),
            "attention": {
                "in_proj_weight": (3 * width, width),
                "in_proj_bias": (3 * width,),
                "out_proj": linear(width, width),
            },
            "layernorm": norm(width),
            "mlp": {"fc1": linear(width, inner), "fc2": linear(inner, width)},
        }
    return tower


def llama_layer(width, inner, keys, *, qkv_bias=False):
    """A layer of Llama or of Qwen2, whose keys and values have the width `keys`."""
    return {
        "self_attn": {
            "q_proj": linear(width, width, bias=qkv_bias),
            "k_proj": linear(width, keys, bias=qkv_bias),
            "v_proj": linear(width, keys, bias=qkv_bias),
            "o_proj": linear(width, width, bias=False),
        },
        "mlp": {
            "gate_proj": linear(width, inner, bias=False),
            "up_proj": linear(width, inner, bias=False),
            "down_proj": linear(inner, width, bias=False),
        },
        "input_layernorm": norm(width, bias=False),
        "post_attention_layernorm": norm(width, bias=False),
    }


def sam_tower(*, width=768, layers=12, grid=64, windows=14, after=()):
    """SAM's ViT-B with its neck, and the convolutions that follow it."""

    def layer(side):
        return {
            "norm1": norm(width),
            "attn": {
                "rel_pos_h": (2 * side - 1, width // 12),
                "rel_pos_w": (2 * side - 1, width // 12),
                "qkv": linear(width, 3 * width),
                "proj": linear(width, width),
            },
            "norm2": norm(width),
            "mlp": {"lin1": linear(width, 4 * width), "lin2": linear(4 * width, width)},
        }

    blocks = {str(number): layer(grid if number % 3 == 2 else windows) for number in range(layers)}  # noqa: PLR2004 - every third is global
    neck = {
        "0": convolution(width, 256, 1, bias=False),
        "1": norm(256),
        "2": convolution(256, 256, 3, bias=False),
        "3": norm(256),
    }
    return {
        "pos_embed": (1, grid, grid, width),
        "patch_embed": {"proj": convolution(3, width, 16)},
        "blocks": blocks,
        "neck": neck,
        **{name: convolution(given, made, 3, bias=False) for name, given, made in after},
    }


def headers(shapes, dtype="BF16", size=2):
    """The headers of a checkpoint with these tensors."""
    return TensorHeaders(
        tuple(TensorInfo(name, dtype, shape, size * math.prod(shape)) for name, shape in sorted(shapes.items()))
    )


def described(config, shapes, code=None):
    """The record from the configuration, the headers and the code, where there is one."""
    identity = ModelIdentity("org/name")
    return describe(build_header_tree(Checkpoint(identity, config), headers(shapes), code), identity, "header")


def sizes(record):
    """(role, parameters) of each component that owns some, in order."""
    return [(part.role.value, part.parameters) for part in record.components if part.parameters]
