"""The layers of transformers' own classes: facts from their modeling code."""

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.every_type.answers import record_of
from tests.published import GEMMA_3_4B, LLAMA_3_2_11B_VISION, QWEN2_5_VL_7B
from tests.stages import sizes
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.model_ref import ModelIdentity

TEXT, VISION, AUDIO = Role.LANGUAGE_MODEL, Role.VISION_ENCODER, Role.AUDIO_ENCODER


def inspected(config):
    return describe(build.build(config, "org/name"), ModelIdentity("org/name"), "transformers")


def text_model(model_type):
    config = {
        **CONFIG_MAPPING[model_type]().to_dict(),
        "architectures": [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type]],
    }
    return inspected(config)


def stack_of(architecture, role=TEXT, index=0):
    return architecture.by_role(role)[0].stacks[index]


def attentions(architecture, role=TEXT, index=0):
    return [kind.attention for kind in stack_of(architecture, role, index).kinds]


@pytest.mark.parametrize(
    ("model_type", "role", "facts"),
    [
        ("llava", VISION, ("multi-head", 16, 16, 64, "none", 4)),
        ("paligemma", TEXT, ("multi-query", 8, 1, 256, "rotary", 0)),
        ("internvl", VISION, ("multi-head", 16, 16, 64, "none", 1)),
        ("qwen2_audio", AUDIO, ("multi-head", 20, 20, 64, "none", 3)),
        ("granite_speech", AUDIO, ("multi-head", 8, 8, 128, "relative", 1)),
        ("got_ocr2", VISION, ("multi-head", 12, 12, 64, "relative", 4)),
        ("kyutai_speech_to_text", TEXT, ("multi-head", 32, 32, 64, "rotary", 0)),
        ("fuyu", TEXT, ("multi-head", 64, 64, 64, "rotary", 4)),
        ("udop", TEXT, ("multi-head", 16, 16, 64, "relative", 0)),
        ("fun_asr_nano", AUDIO, ("multi-head", 4, 4, 128, "none", 4)),
        ("exaone4_5", VISION, ("grouped-query", 16, 8, 224, "rotary", 4)),
    ],
)
def test_attention(model_type, role, facts):
    read = attentions(record_of(model_type), role)[0]
    found = (read.kind, read.heads, read.key_value_heads, read.head_width, read.positions, len(read.bias))
    assert found == facts


@pytest.mark.parametrize(
    ("model_type", "heads", "ranks"),
    [
        ("kimi_k25", 128, (512, 1536, 64, 128)),
        ("mistral_large4", 64, (512, None, 64, 128)),
        ("dots3_note", 128, (512, 1024, 64, 128)),
    ],
)
def test_latent_attention(model_type, heads, ranks):
    read = attentions(record_of(model_type))[0]
    latent = read.latent
    assert (read.kind, read.heads) == ("latent", heads)
    assert (latent.key_value_rank, latent.query_rank, latent.rotary_width, latent.value_width) == ranks


@pytest.mark.parametrize(
    ("model_type", "mechanisms", "order"),
    [
        ("qwen3_5", ["linear attention", "attention"], (0, 0, 0, 1) * 8),
        ("glm5_next", ["linear attention", "attention", "linear attention"], None),
        ("lfm3_vl", ["convolution", "attention", "attention"], None),
        ("nemo_speechlm", ["state space", None, "attention"], None),
    ],
)
def test_hybrids(model_type, mechanisms, order):
    stack = stack_of(record_of(model_type))
    assert [kind.attention and kind.attention.mechanism for kind in stack.kinds] == mechanisms
    assert order in {None, stack.order}


def test_an_output_gate_doubles_the_queries_but_not_the_heads():
    _, full = attentions(record_of("qwen3_5"))
    assert (full.heads, full.key_value_heads, full.features) == (16, 4, ("output gate",))
    assert (full.rotary.width, full.head_width, full.rotary.sections) == (64, 256, (11, 11, 10))


@pytest.mark.parametrize(
    ("model_type", "role", "placement", "parallel"),
    [
        ("llava", TEXT, "before", False),
        ("qwen2_vl", VISION, "before", False),
        ("gemma3", TEXT, "both", False),
        ("glm4v", TEXT, "both", False),
        ("exaone4_5", TEXT, "after", False),
        ("cohere2_vision", TEXT, "before", True),
        ("florence2", TEXT, "after", False),
        ("pp_formulanet", TEXT, "before", False),
        ("blip", TEXT, "after", False),
        ("blip-2", TEXT, "before", False),
        ("pix2struct", TEXT, "before", False),
    ],
)
def test_norm_placement(model_type, role, placement, parallel):
    layer = stack_of(record_of(model_type), role).kinds[0]
    assert (layer.norm_placement, layer.parallel) == (placement, parallel)


@pytest.mark.parametrize("model_type", ["qwen3_vl", "gemma3", "fuyu", "dots3_note"])
def test_query_and_key_norms(model_type):
    role = VISION if model_type == "dots3_note" else TEXT
    read = attentions(record_of(model_type), role)[0]
    assert [norm.width for norm in read.qk_norm] == [read.head_width] * 2


def test_layers_that_differ_only_in_the_configuration():
    stack = stack_of(inspected(QWEN2_5_VL_7B), VISION)
    assert [kind.attention.window for kind in stack.kinds] == [8, None]
    assert [index for index, kind in enumerate(stack.order) if kind == 1] == [7, 15, 23, 31]


def test_windows_declared_by_the_layers_of_a_tower():
    stack = stack_of(record_of("got_ocr2"), VISION)
    assert [kind.attention.window for kind in stack.kinds] == [14, None]
    assert stack.order == (0, 0, 1) * 4


def test_sliding_and_global_layers_have_different_thetas():
    sliding, full = attentions(inspected(GEMMA_3_4B))
    assert (sliding.sliding_window, full.sliding_window) == (1024, None)
    assert (sliding.rotary.theta, full.rotary.theta) == (10_000, 1_000_000)


@pytest.mark.parametrize("model_type", ["cohere2_vision", "exaone4_5", "muse_glimmer", "llama4"])
def test_global_layers_without_positions_among_rotary_local_ones(model_type):
    local, full = attentions(record_of(model_type))
    assert (local.positions, full.positions) == ("rotary", "none")
    assert full.sliding_window is full.chunk is None


def test_cross_attention_layers_are_a_separate_kind():
    read = attentions(inspected(LLAMA_3_2_11B_VISION))
    assert [(each.cross, each.positions) for each in read] == [(False, "rotary"), (True, "none")]


@pytest.mark.parametrize("model_type", ["blip", "vision-encoder-decoder", "pix2struct", "pp_formulanet"])
def test_the_cross_attention_of_a_decoder_is_extra_attention(model_type):
    layer = stack_of(record_of(model_type)).kinds[0]
    assert [each.cross for each in layer.extra_attention] == [True]
    assert not layer.attention.cross


def test_encoder_and_decoder_are_separate_stacks():
    stacks = record_of("florence2").by_role(TEXT)[0].stacks
    assert [stack.path.rpartition(".")[0].rpartition(".")[2] for stack in stacks] == ["encoder", "decoder"]


@pytest.mark.parametrize(
    ("model_type", "facts"),
    [
        ("qwen3_5_moe", (256, 8, 512, 1, 512)),
        ("llama4", (16, 1, 8192, 1, 8192)),
        ("aria", (8, 2, 4096, 2, 8192)),
        ("qwen3_vl_moe", (60, 4, 1408, None, None)),
        ("minimax_m3_vl", (128, 4, 3072, 1, 3072)),
        ("kimi_k25", (256, 8, 2048, 1, 2048)),
    ],
)
def test_experts(model_type, facts):
    kind = stack_of(record_of(model_type)).kinds[-1]
    (experts,) = kind.mlp.experts
    found = (experts.count, experts.per_token, experts.hidden_width, experts.shared, experts.shared_width)
    assert found == facts
    assert kind.mlp.gated


def test_dense_layers_come_before_sparse_ones():
    stack = stack_of(record_of("kimi_k25"))
    assert [len(kind.mlp.experts) for kind in stack.kinds] == [0, 1]
    assert stack.order == (0,) * 3 + (1,) * 58


def test_two_groups_of_experts():
    groups = stack_of(record_of("ernie4_5_vl_moe")).kinds[1].mlp.experts
    assert [(each.modality, each.count, each.hidden_width) for each in groups] == [
        ("text", 64, 1536),
        ("vision", 64, 512),
    ]


def test_a_dense_mlp_in_parallel_with_experts():
    mlp = stack_of(record_of("diffusion_gemma")).kinds[0].mlp
    assert len(mlp.experts) == 1
    assert mlp.experts[0].path == "experts"
    assert mlp.hidden_width != mlp.experts[0].hidden_width


# published by their authors: 12.9B of 46.7B; 37B of 671B; 12B of 52B
@pytest.mark.parametrize(
    ("model_type", "total", "active"),
    [
        ("mixtral", 46_702_792_704, 12_879_925_248),
        ("deepseek_v3", 671_026_404_352, 37_552_282_624),
        ("jamba", 51_570_323_328, 12_110_311_296),
    ],
)
def test_active_parameters_match_the_published_ones(model_type, total, active):
    parameters = text_model(model_type).parameters
    assert (parameters.total, parameters.active) == (total, active)


def test_published_active_parameters_without_the_embedding():
    """The model card of gpt-oss-120b (116.83B, 5.13B active) counts the head but not the embedding."""
    record = text_model("gpt_oss")
    embedding = sizes(record.by_role(TEXT)[0].embeddings[0])
    assert record.parameters.total == 116_829_156_672
    assert record.parameters.active - embedding[0] * embedding[1] == 5_132_849_472


def test_all_parameters_of_a_dense_language_model_are_active():
    record = record_of("llava")
    assert all(part.active == part.parameters for part in record.components)
    (language,), (head,) = record.by_role(TEXT), record.by_role(Role.LM_HEAD)
    assert record.parameters.active == language.parameters + head.parameters


def test_active_is_unknown_without_experts_per_token():
    parameters = text_model("deepseek_v2").parameters
    assert parameters.active is None
    assert "routed" in parameters.unknown["active"]


@pytest.mark.parametrize(
    ("model_type", "positions"),
    [("bloom", "alibi"), ("falcon", "rotary"), ("gpt2", "none"), ("olmo2", "rotary")],
)
def test_positions_of_text_models(model_type, positions):
    assert attentions(text_model(model_type))[0].positions == positions
