"""Published models with custom code, from configuration and headers only."""

import math

import pytest

from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.order import build_header_tree
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.checkpoint import Checkpoint, TensorHeaders, TensorInfo
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render.cells import Row, plain_text
from vlm_inspect.render.table import build_table

REASON = "unknown (headers hold tensors, not classes)"


def affine(given, made):
    return {"weight": (made, given), "bias": (made,)}


def vector(width, *names):
    return dict.fromkeys(names, (width,))


def flat(modules, prefix=""):
    return {f"{prefix}{module}.{name}": shape for module, held in modules.items() for name, shape in held.items()}


def layers(path, count, modules):
    return {name: shape for n in range(count) for name, shape in flat(modules, f"{path}.{n}.").items()}


INTERNVL_CONFIG = {
    "architectures": ["InternVLChatModel"],
    "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
    "llm_config": {
        "architectures": ["InternLM2ForCausalLM"],
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "model_type": "internlm2",
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "num_key_value_heads": 8,
        "tie_word_embeddings": False,
        "vocab_size": 92553,
    },
    "model_type": "internvl_chat",
    "vision_config": {
        "architectures": ["InternVisionModel"],
        "hidden_size": 1024,
        "image_size": 448,
        "intermediate_size": 4096,
        "model_type": "intern_vit_6b",
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
    },
}
INTERNVL = (
    flat(
        {
            "vision_model.embeddings": {
                "class_embedding": (1, 1, 1024),
                "position_embedding": (1, 1025, 1024),
            },
            "vision_model.embeddings.patch_embedding": {"weight": (1024, 3, 14, 14), "bias": (1024,)},
            "mlp1.0": vector(4096, "weight", "bias"),
            "mlp1.1": affine(4096, 2048),
            "mlp1.3": affine(2048, 2048),
            "language_model.model.tok_embeddings": {"weight": (92553, 2048)},
            "language_model.model.norm": {"weight": (2048,)},
            "language_model.output": {"weight": (92553, 2048)},
        }
    )
    | layers(
        "vision_model.encoder.layers",
        24,
        {
            "attn.qkv": affine(1024, 3072),
            "attn.proj": affine(1024, 1024),
            "mlp.fc1": affine(1024, 4096),
            "mlp.fc2": affine(4096, 1024),
            "norm1": vector(1024, "weight", "bias"),
            "norm2": vector(1024, "weight", "bias"),
        },
    )
    | {f"vision_model.encoder.layers.{n}.ls{k}": (1024,) for n in range(24) for k in (1, 2)}
    | layers(
        "language_model.model.layers",
        24,
        {
            "attention.wqkv": {"weight": (4096, 2048)},
            "attention.wo": {"weight": (2048, 2048)},
            "feed_forward.w1": {"weight": (8192, 2048)},
            "feed_forward.w2": {"weight": (2048, 8192)},
            "feed_forward.w3": {"weight": (8192, 2048)},
            "attention_norm": {"weight": (2048,)},
            "ffn_norm": {"weight": (2048,)},
        },
    )
)


def stored(shapes):
    return TensorHeaders(
        tuple(TensorInfo(name, "BF16", shape, 2 * math.prod(shape)) for name, shape in sorted(shapes.items()))
    )


def described(config, headers):
    identity = ModelIdentity("org/name")
    return describe(build_header_tree(Checkpoint(identity, config), headers), identity, "header")


def row_of(record):
    return [plain_text(cell) for cell in build_table("architectures", [Row("model", architecture=record)]).rows[0]]


def column_titles():
    return build_table("architectures", []).headers


@pytest.fixture(scope="module")
def internvl():
    return described(INTERNVL_CONFIG, stored(INTERNVL))


def test_row_of_internvl2_is_as_complete_as_its_tensors(internvl):
    row = dict(zip(column_titles(), row_of(internvl), strict=True))
    assert (
        row
        | {
            "Model Class": "InternVLChatModel",
            "Vision Model": "InternVisionModel",
            "Vision Layers": "24 layers",
            "Vision Embeddings": "Conv2d(3, 1024) + Parameter(1025)",
            "Vision Self Attention": REASON,
            "Vision MLP": f"1024 -> 4096 -> 1024, class {REASON}",
            "Vision LayerNorm": "LayerNorm((1024,))",
            "Language Layers": "24 layers",
            "Language Self Attention": REASON,
            "Language MLP": f"2048 -> 8192 -> 2048, class {REASON}",
            "Language LayerNorm": f"width 2048, class {REASON}",
            "LM Head": "Linear(2048 -> 92553)",
        }
        == row
    )


def test_internvl2_has_the_parameters_of_its_tensors(internvl):
    total = sum(math.prod(shape) for shape in INTERNVL.values())
    assert internvl.parameters.total == total == 2_205_754_368
    assert sum(part.parameters for part in internvl.components) == total


def test_heads_of_a_fused_projection_are_read_from_the_configuration(internvl):
    attention = internvl.by_role(Role.LANGUAGE_MODEL)[0].layers[0].attention
    assert (attention.heads, attention.key_value_heads, attention.head_width) == (16, 8, 128)


# the names in the index of MiniCPM-Llama3-V-2_5, with its 32 and 27 layers expanded
MINICPM_CONFIG = {
    "architectures": ["MiniCPMV"],
    "auto_map": {"AutoModel": "modeling_minicpmv.MiniCPMV"},
    "hidden_size": 4096,
    "model_type": "minicpmv",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "tie_word_embeddings": False,
    "vision_config": {"hidden_size": 1152, "model_type": "idefics2", "num_hidden_layers": 27},
}
MINICPM_NAMES = (
    "llm.lm_head.weight",
    "llm.model.embed_tokens.weight",
    "llm.model.norm.weight",
    *(
        f"llm.model.layers.{n}.{name}.weight"
        for n in range(32)
        for name in (
            *("input_layernorm", "post_attention_layernorm", "mlp.down_proj", "mlp.gate_proj", "mlp.up_proj"),
            *(f"self_attn.{each}_proj" for each in "kqvo"),
        )
    ),
    *(f"resampler.attn.{name}" for name in ("in_proj_bias", "in_proj_weight", "out_proj.bias", "out_proj.weight")),
    *(f"resampler.{name}" for name in ("kv_proj.weight", "ln_kv.bias", "ln_kv.weight", "proj", "query")),
    "vpm.embeddings.patch_embedding.weight",
    "vpm.embeddings.position_embedding.weight",
    *(
        f"vpm.encoder.layers.{n}.{name}.{part}"
        for n in range(27)
        for name in (
            "layer_norm1",
            "layer_norm2",
            "mlp.fc1",
            "mlp.fc2",
            "self_attn.q_proj",
            "self_attn.k_proj",
        )
        for part in ("weight", "bias")
    ),
)


def test_tensor_names_alone_show_components_and_layers_but_no_sizes():
    record = described(MINICPM_CONFIG, TensorHeaders((), missing={"model.safetensors": MINICPM_NAMES}))
    found = {part.role: (part.paths[0], part.layer_count, part.parameters) for part in record.components}
    assert found == {
        Role.LANGUAGE_MODEL: ("llm", 32, None),
        Role.LM_HEAD: ("llm.lm_head", None, None),
        Role.PROJECTOR: ("resampler", None, None),
        Role.VISION_ENCODER: ("vpm", 27, None),
    }
    cells = row_of(record)
    assert cells[:2] == ["model", "MiniCPMV"]
    assert {cells[3], cells[10]} == {"27 layers", "32 layers"}
    others = [cell for place, cell in enumerate(cells) if place not in {0, 1, 3, 10}]
    assert all(cell.startswith("unknown (") for cell in others), others
