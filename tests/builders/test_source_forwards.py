"""A repository's `forward`, read as text: order of steps, norm placement, positions and fusion.

The same code is run on the meta device for the headers, and for the answer that reading must give.
"""

import importlib.util
import math
import time
from pathlib import Path

import pytest
import torch

import vlm_inspect
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.order import build_header_tree
from vlm_inspect.builders.source.read import with_installed_code
from vlm_inspect.builders.transformers.module_tree import read_model
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.checkpoint import Checkpoint, TensorHeaders, TensorInfo
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree

REPOSITORIES = Path(__file__).parent / "repositories"
IDENTITY = ModelIdentity("acme/tiny")
TEXT = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "tie_word_embeddings": False,
}
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION |= {"image_size": 28, "patch_size": 14}


def config_of(name):
    return {
        "architectures": ["TinyForCausalLM"],
        "auto_map": {
            "AutoConfig": "modeling_tiny.TinyConfig",
            "AutoModelForCausalLM": "modeling_tiny.TinyForCausalLM",
        },
        "model_type": f"tiny_{name}",
        **TEXT,
        "vision_config": VISION,
    }


def run(code, tmp_path):
    """The classes of a repository's file."""
    path = tmp_path / "modeling_tiny.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location("modeling_tiny", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def built_and_read(name, tmp_path, change=None, *, code=None, read_code=True):
    """The record of the live model, and the one from its headers and its source."""
    code = code or (REPOSITORIES / name / "modeling_tiny.py").read_text()
    if change:
        assert change[0] in code
        code = code.replace(*change)
    classes = run(code, tmp_path)
    config = classes.TinyConfig(**TEXT, vision_config=VISION)
    with torch.device("meta"):
        model = classes.TinyForCausalLM(config)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    headers = TensorHeaders(
        tuple(TensorInfo(key, "BF16", shape, 2 * math.prod(shape)) for key, shape in sorted(shapes.items()))
    )
    tree = build_header_tree(
        Checkpoint(IDENTITY, config_of(name)), headers, {"modeling_tiny.py": code} if read_code else {}
    )
    live = read_model(model, config)
    return describe(live, IDENTITY, "remote-code"), describe(tree, IDENTITY, "header")


def layers_of(record, role):
    return [layer for part in record.by_role(role) for layer in part.layers]


@pytest.mark.parametrize("name", ["resampler", "llava_style"])
def test_reading_gives_the_placements_and_positions_of_the_live_model(name, tmp_path):
    live, read = built_and_read(name, tmp_path)
    for role in (Role.LANGUAGE_MODEL, Role.VISION_ENCODER):
        built, from_source = layers_of(live, role), layers_of(read, role)
        assert (
            [layer.norm_placement for layer in from_source] == [layer.norm_placement for layer in built] == ["before"]
        )
        positions = [layer.attention.positions for layer in from_source]
        assert positions == [layer.attention.positions for layer in built]
        assert positions == (["rotary"] if role is Role.LANGUAGE_MODEL else ["none"])
    rotary = layers_of(read, Role.LANGUAGE_MODEL)[0].attention.rotary
    assert rotary.class_name == "LlamaRotaryEmbedding"


@pytest.mark.parametrize("name", ["resampler", "llava_style"])
def test_reading_gives_the_inputs_of_the_live_model(name, tmp_path):
    live, read = built_and_read(name, tmp_path)
    assert read.inputs == live.inputs
    assert read.inputs[0].steps[-1] == "placeholders"
    assert read.parameters.total == live.parameters.total


def test_steps_are_in_the_order_of_use(tmp_path):
    for record in built_and_read("resampler", tmp_path):
        (projector,) = record.by_role(Role.PROJECTOR)
        names = [stage.path.rpartition(".")[2] for stage in projector.stages]
        assert names == ["kv_proj", "ln_kv", "ln_q", "attn", "ln_post", "proj"]


SCATTER = "cur_vllm_emb.scatter_(0, image_indices.view(-1, 1), cur_vs_hs.view(-1, cur_vs_hs.shape[-1]))"


@pytest.mark.parametrize(
    ("statement", "step"),
    [
        ("cur_vllm_emb.masked_scatter_(image_indices, cur_vs_hs)", "placeholders"),
        ("cur_vllm_emb[image_indices] = cur_vs_hs", "placeholders"),
        ("cur_vllm_emb[image_indices] += cur_vs_hs", "added placeholders"),
        ("cur_vllm_emb[image_indices] = cur_vllm_emb[image_indices] + cur_vs_hs", "added placeholders"),
        ("cur_vllm_emb = torch.where(image_indices, cur_vs_hs, cur_vllm_emb)", "placeholders"),
        ("cur_vllm_emb.index_copy_(0, image_indices, cur_vs_hs)", "placeholders"),
        ("inputs_embeds = torch.cat([cur_vs_hs, cur_vllm_emb], dim=0)", "prefix"),
        (
            "embeddings = []; embeddings.append(cur_vs_hs); embeddings.append(cur_vllm_emb); torch.cat(embeddings)",
            "prefix",
        ),
        (
            "embeddings = []; embeddings.append(cur_vllm_emb); embeddings.append(cur_vs_hs); torch.cat(embeddings)",
            "suffix",
        ),
    ],
)
def test_the_statement_decides_how_images_enter(statement, step, tmp_path):
    live, read = built_and_read("resampler", tmp_path, (SCATTER, statement))
    assert read.inputs == live.inputs
    assert read.inputs[0].steps == ("queries", step)


def test_a_statement_about_text_alone_is_no_fusion(tmp_path):
    _, read = built_and_read("resampler", tmp_path, (SCATTER, "cur_vllm_emb[image_indices] = 0"))
    assert not read.inputs[0].steps
    assert "steps" in read.inputs[0].unknown


LAYER = """

class TinyAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(config.hidden_size, config.hidden_size))

    def forward(self, x, cos, sin):
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        {rotate}
        return self.o_proj(q @ k.transpose(-1, -2) @ v)


class TinyMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, 4 * config.hidden_size)
        self.fc2 = nn.Linear(4 * config.hidden_size, config.hidden_size)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class TinyLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.post_norm = {post_norm}
        self.norm1 = nn.LayerNorm(config.hidden_size)
        self.self_attn = TinyAttention(config)
        self.norm2 = nn.LayerNorm(config.hidden_size)
        self.mlp = TinyMLP(config)

    def forward(self, x, cos, sin):
        if self.post_norm:
            x = self.norm1(x + self.self_attn(x, cos, sin))
            return self.norm2(x + self.mlp(x))
        x = x + self.attend(x, cos, sin)
        return x + self.mlp(self.norm2(x))

    def attend(self, x, cos, sin):
        return self.self_attn(self.norm1(x), cos, sin)


class TinyRotaryEmbedding(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.register_buffer("inv_freq", torch.ones(dim), persistent=False)


class TinyTower(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, config.hidden_size, 14, 14)
        self.rotary = TinyRotaryEmbedding(8)
        self.layers = nn.ModuleList([TinyLayer(config) for _ in range(config.num_hidden_layers)])


class TinyForCausalLM(PreTrainedModel):"""


@pytest.mark.parametrize(
    ("rotate", "positions"),
    [
        ("q, k = apply_rotary_pos_emb(q, k, cos, sin)", "rotary"),
        ("q = q * 0.5", None),  # what happens to cos and sin is not followed
        ("pass", "none"),
    ],
)
@pytest.mark.parametrize(("post_norm", "placement"), [("True", "after"), ("False", "before")])
def test_a_layer_of_the_repository_is_read_like_the_live_one(rotate, positions, post_norm, placement, tmp_path):
    code = (REPOSITORIES / "resampler" / "modeling_tiny.py").read_text()
    code = code.replace("self.vpm = SiglipVisionModel(", "self.vpm = TinyTower(")
    layer = LAYER.replace("{rotate}", rotate).replace("{post_norm}", post_norm)
    if positions == "none":
        layer = layer.replace(", cos, sin", "")
    code = code.replace("\n\nclass TinyForCausalLM(PreTrainedModel):", layer)
    live, read = built_and_read("resampler", tmp_path, code=code)
    for record in (live, read):
        (found,) = layers_of(record, Role.VISION_ENCODER)
        assert (found.class_name, found.norm_placement) == ("TinyLayer", placement)
    assert found.attention.positions == positions


def test_without_the_code_placement_and_positions_stay_unknown(tmp_path):
    _, record = built_and_read("llava_style", tmp_path, read_code=False)
    for layer in (*layers_of(record, Role.LANGUAGE_MODEL), *layers_of(record, Role.VISION_ENCODER)):
        assert layer.norm_placement is None
        assert layer.attention.positions is None
        assert layer.attention.unknown["positions"] == "positions without parameters leave no trace in headers"
    assert "steps" in record.inputs[0].unknown


def read_with_forward(body):
    """The record of a model whose `forward` has this body, and methods that call each other very often."""
    calls = "".join(
        f"\n    def m{level}(self):\n" + f"        self.m{level + 1}()\n" * 300 + "        return self.norm\n"
        for level in range(5)
    )
    code = (
        "from torch import nn\n\n\nclass TinyForCausalLM(nn.Module):\n"
        "    def __init__(self, config):\n        super().__init__()\n"
        "        self.norm = nn.LayerNorm(8)\n        self.lm_head = nn.Linear(8, 100)\n"
        f"{calls}\n    def forward(self, input_ids):\n{body}\n        return self.m0()\n"
    )
    tensors = {"norm.weight": (8,), "norm.bias": (8,), "lm_head.weight": (100, 8)}
    headers = TensorHeaders(
        tuple(TensorInfo(key, "BF16", shape, 2 * math.prod(shape)) for key, shape in tensors.items())
    )
    config = config_of("x") | {"auto_map": {"AutoModelForCausalLM": "modeling_tiny.TinyForCausalLM"}}
    return build_header_tree(Checkpoint(IDENTITY, config), headers, {"modeling_tiny.py": code})


@pytest.mark.parametrize(
    "body",
    [
        "        embeds = " + " + ".join(["image_features"] * 3000),
        "        embeds = " + "not " * 150 + "image_features",
        "\n".join(f"        v{n + 1} = v{n} + image; v{n}[i] = v{n + 1}" for n in range(5000)),
        "\n".join("        for i in x: a.append(image); a.append(text)" for _ in range(5000)),
    ],
    ids=["sum", "nested", "assignments", "lists"],
)
def test_a_forward_longer_than_any_model_is_not_followed(body):
    start = time.monotonic()
    tree = read_with_forward(body)
    assert time.monotonic() - start < 30
    assert tree.root.class_name == "TinyForCausalLM"
    assert tree.root.forward_order == ()


def test_a_configuration_that_holds_itself_is_searched_once():
    code = (REPOSITORIES / "llava_style" / "modeling_tiny.py").read_text()
    code = code.replace("super().__init__(**kwargs)\n", "super().__init__(**kwargs)\n        self.same = self\n", 1)
    code = code.replace("(cur_input_ids == IMAGE_TOKEN_INDEX)", "(cur_input_ids == self.config.image_token_id)")
    assert "self.same" in code
    headers = TensorHeaders((TensorInfo("lm_head.weight", "BF16", (100, 48), 9600),))
    tree = build_header_tree(Checkpoint(IDENTITY, config_of("x")), headers, {"modeling_tiny.py": code})
    assert [token.name for info in tree.forward_info for token in info.tokens] == ["image_token_id"]


def test_an_installed_class_of_the_same_name_and_structure_tells_the_order():
    record = vlm_inspect.inspect("microsoft/Phi-3-vision-128k-instruct", offline=True, cache=False)
    vision, language = layers_of(record, Role.VISION_ENCODER)[0], layers_of(record, Role.LANGUAGE_MODEL)[0]
    assert (vision.class_name, vision.norm_placement, vision.attention.positions) == (
        "CLIPEncoderLayer",
        "before",
        "none",
    )
    assert (language.class_name, language.norm_placement) == ("Phi3DecoderLayer", "before")


@pytest.mark.parametrize(
    ("class_name", "children", "known"),
    [
        ("CLIPEncoderLayer", ("self_attn", "layer_norm1", "mlp", "layer_norm2"), True),
        ("CLIPEncoderLayer", ("self_attn", "layer_norm1", "mlp", "layer_norm2", "layer_norm3"), False),
        ("NoSuchEncoderLayer", ("self_attn", "layer_norm1"), False),
        ("?Layer", ("self_attn", "layer_norm1"), False),
    ],
)
def test_another_structure_or_name_tells_nothing(class_name, children, known):
    leaf = ModuleNode("Linear")
    tree = ModuleTree(ModuleNode(class_name, children=tuple((name, leaf) for name in children)))
    order = with_installed_code(tree).root.forward_order
    assert tuple(dict.fromkeys(order)) == (("layer_norm1", "self_attn", "layer_norm2", "mlp") if known else ())
