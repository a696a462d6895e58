"""Records from a configuration alone: what it states, and what stays unknown."""

import pytest

from tests.cli.program import call, save
from vlm_inspect.anatomy.config_only import describe_config
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.codec import architecture_from_data, to_data
from vlm_inspect.core.errors import NotNativeError
from vlm_inspect.core.model_ref import ModelIdentity

PHI3_V = {
    "architectures": ["Phi3VForCausalLM"],
    "model_type": "phi3_v",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "img_processor": {"name": "clip_vision_model"},
}
REFUSAL = NotNativeError("Phi3VForCausalLM is code of its own repo.", short="remote code")


def described(config):
    return describe_config(Checkpoint(ModelIdentity("org/name"), config), REFUSAL)


def test_stated_values_are_in_the_record():
    (language,) = described(PHI3_V).by_role(Role.LANGUAGE_MODEL)
    assert (language.layer_count, language.width) == (32, 3072)
    assert language.layers[0].mlp.hidden_width == 8192
    assert language.layers[0].attention.heads == 32


def test_other_values_are_unknown_with_the_reason():
    architecture = described(PHI3_V)
    assert architecture.parameters.total is None
    assert architecture.parameters.unknown == {"total": "remote code", "active": "remote code"}
    assert architecture.unknown["lm_head"] == "remote code"
    (language,) = architecture.by_role(Role.LANGUAGE_MODEL)
    assert language.class_name is None
    assert language.unknown["class_name"] == "remote code"
    assert not architecture.absent


def test_a_vision_encoder_without_sizes_has_unknown_layers():
    (vision,) = described(PHI3_V).by_role(Role.VISION_ENCODER)
    assert vision.layer_count is None
    assert vision.unknown["stacks"] == "remote code"


def test_the_record_round_trips_through_json():
    architecture = described(PHI3_V)
    assert architecture_from_data(to_data(architecture)) == architecture


def test_unknown_values_are_null_in_json_and_have_a_reason():
    data = to_data(described(PHI3_V))
    vision = next(part for part in data["components"] if part["role"] == "vision_encoder")
    for name, reason in vision["unknown"].items():
        assert vision[name] is None
        assert reason == "remote code"
    assert data["parameters"]["total"] is None


def test_a_configuration_without_a_name_raises():
    with pytest.raises(NotNativeError):
        described({"hidden_size": 3072})


# --- spellings of parts and sizes --------------------------------------------------------------------

TOWER = (24, 1024, 4096, 16)
SPELLINGS = {
    "prefix in the section": {
        "vision_config": {
            "vt_hidden_size": 1024,
            "vt_num_hidden_layers": 24,
            "vt_intermediate_size": 4096,
            "vt_num_attention_heads": 16,
        }
    },
    "prefix at the top": {
        "vision_hidden_size": 1024,
        "vision_num_hidden_layers": 24,
        "vision_intermediate_size": 4096,
        "vision_num_attention_heads": 16,
    },
    "ratio": {"vision_config": {"width": 1024, "layers": 24, "mlp_ratio": 4.0, "heads": 16}},
    "cfg": {"vision_tower_cfg": {"embed_dim": 1024, "depth": 24, "mlp_ratio": 4, "num_heads": 16}},
    "encoder": {
        "vision_encoder_config": {"dim": 1024, "n_layers": 24, "ffn_dim": 4096, "n_heads": 16},
    },
    "vit": {"vit_config": {"hidden_size": 1024, "num_layers": 24, "mlp_dim": 4096, "num_heads": 16}},
}


@pytest.mark.parametrize("config", SPELLINGS.values(), ids=SPELLINGS)
def test_sizes_of_a_tower_are_read_in_every_spelling(config):
    (vision,) = described({"model_type": "odd", **config}).by_role(Role.VISION_ENCODER)
    layer = vision.layers[0]
    assert (vision.layer_count, vision.width, layer.mlp.hidden_width, layer.attention.heads) == TOWER


TEXT = (32, 4096, 11008, 32, 8)
TEXT_SPELLINGS = {
    "llm_cfg": {
        "llm_cfg": {
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "intermediate_size": 11008,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        }
    },
    "short names at the top": {"dim": 4096, "n_layers": 32, "d_ff": 11008, "n_heads": 32, "n_kv_heads": 8},
    "text_cfg": {
        "text_cfg": {
            "d_model": 4096,
            "num_layers": 32,
            "ffn_hidden_size": 11008,
            "num_heads": 32,
            "num_kv_heads": 8,
        }
    },
}


@pytest.mark.parametrize("config", TEXT_SPELLINGS.values(), ids=TEXT_SPELLINGS)
def test_sizes_of_a_language_model_are_read_in_every_spelling(config):
    (language,) = described({"model_type": "odd", **config}).by_role(Role.LANGUAGE_MODEL)
    mlp, attention = language.layers[0].mlp, language.layers[0].attention
    sizes = (language.layer_count, language.width, mlp.hidden_width, attention.heads, attention.key_value_heads)
    assert sizes == TEXT


def test_sections_of_a_projector_or_tokenizer_are_no_towers():
    config = {
        "model_type": "odd",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "vision_tokenizer_config": {"hidden_size": 8, "num_hidden_layers": 6},
        "mm_projector_cfg": {"hidden_size": 8, "num_hidden_layers": 6},
    }
    assert [part.role for part in described(config).components] == [Role.LANGUAGE_MODEL]


# --- experts -----------------------------------------------------------------------------------------

SPARSE = {
    "model_type": "odd",
    "hidden_size": 4096,
    "num_hidden_layers": 45,
    "num_attention_heads": 64,
    "intermediate_size": 11264,
    "num_experts": 288,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 1280,
}


def layers_of(config):
    (language,) = described(config).by_role(Role.LANGUAGE_MODEL)
    (stack,) = language.stacks
    return stack


def test_first_layers_are_dense_and_the_others_have_experts():
    stack = layers_of({**SPARSE, "first_k_dense_replace": 3})
    assert stack.order == (0,) * 3 + (1,) * 42
    dense, sparse = (layer.mlp for layer in stack.kinds)
    assert (dense.hidden_width, dense.experts) == (11264, ())
    (experts,) = sparse.experts
    assert (experts.count, experts.per_token, experts.hidden_width, sparse.hidden_width) == (288, 8, 1280, 1280)


@pytest.mark.parametrize(
    ("count", "per_token"),
    [
        ("num_experts", "num_experts_per_tok"),
        ("n_routed_experts", "num_experts_per_tok"),
        ("num_local_experts", "experts_per_token"),
        ("moe_num_experts", "moe_topk"),
    ],
)
def test_experts_are_read_in_every_spelling(count, per_token):
    config = {"model_type": "odd", "hidden_size": 64, "num_hidden_layers": 2, count: 16, per_token: 4}
    (layer,) = layers_of(config).kinds
    assert (layer.mlp.experts[0].count, layer.mlp.experts[0].per_token) == (16, 4)
    assert layer.mlp.hidden_width is None


def test_experts_in_a_section_of_their_own_are_read():
    config = {"model_type": "odd", "d_model": 64, "n_layers": 2, "ffn_config": {"moe_num_experts": 16, "moe_top_k": 4}}
    assert layers_of(config).kinds[0].mlp.experts[0].count == 16


@pytest.mark.parametrize(
    "which",
    [{"decoder_sparse_step": 2}, {"mlp_only_layers": [0]}, {"moe_layer_freq": [0, 1]}, {"num_experts": [64, 64]}],
    ids=str,
)
def test_an_mlp_is_unknown_where_only_code_says_which_layers_have_experts(which):
    (layer,) = layers_of({**SPARSE, **which}).kinds
    assert layer.mlp is None
    assert "experts" in layer.unknown["mlp"]


@pytest.mark.parametrize("which", [{"decoder_sparse_step": 1}, {"mlp_only_layers": []}, {"first_k_dense_replace": 0}])
def test_settings_that_leave_no_layer_dense_are_no_doubt(which):
    (layer,) = layers_of({**SPARSE, **which}).kinds
    assert layer.mlp.experts[0].count == 288


def test_one_expert_is_a_dense_mlp():
    (layer,) = layers_of({**SPARSE, "num_experts": 1}).kinds
    assert (layer.mlp.hidden_width, layer.mlp.experts) == (11264, ())


# --- hardly anything stated --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "odd"},
        {"architectures": ["OddVLM"], "vocab_size": 1000},
        {"model_type": "odd", "vision_config": {"image_size": 224}, "text_config": {"vocab_size": 100}},
    ],
    ids=str,
)
def test_a_configuration_without_sizes_is_no_answer(config):
    with pytest.raises(NotNativeError, match="states no size of any part") as refused:
        described(config)
    assert "safetensors" in refused.value.hint
    assert "--trust-remote-code" not in refused.value.hint


def test_code_of_the_repository_is_the_next_step():
    config = {"model_type": "odd", "auto_map": {"AutoModel": "modeling_odd.Odd"}}
    with pytest.raises(NotNativeError) as refused:
        described(config)
    assert refused.value.hint.startswith("--trust-remote-code")
    (note,) = described({**config, **SPARSE}).notes
    assert "--trust-remote-code" in note


def test_the_program_does_not_answer_a_configuration_without_sizes(tmp_path):
    nothing = {"model_type": "moondream9", "architectures": ["Odd"], "auto_map": {"AutoModel": "modeling_odd.Odd"}}
    folder = save(tmp_path, "m", nothing)
    answer = call("show", folder)
    assert (answer.code, answer.stdout) == (3, "")
    assert "states no size" in answer.stderr
    assert "--trust-remote-code" in answer.stderr
    listed = call("table", folder, "--json")
    assert listed.code == 3
    assert "--trust-remote-code" in listed.data[0]["error"]["hint"]


def test_the_program_answers_a_configuration_without_sizes_if_that_is_asked_for(tmp_path):
    folder = save(tmp_path, "m", {"model_type": "moondream9", "architectures": ["Odd"]})
    answer = call("show", folder, "--builder", "config", "--json")
    assert (answer.code, answer.data["model_class"]) == (0, "Odd")
