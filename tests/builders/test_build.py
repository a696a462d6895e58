import json
import subprocess
import sys

import pytest

from tests.published import GEMMA_3_4B, QWEN3_VL_235B, TOTALS
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.errors import InvalidConfigError, NotNativeError, UnbuildableConfigError

LLAVA = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}


@pytest.mark.parametrize(("config", "total"), TOTALS.values(), ids=TOTALS)
def test_published_totals_come_out(config, total):
    assert build.build(config, "org/name").total == total


def test_equal_layers_are_one_node():
    layers = build.build(LLAVA, "org/name").find("model.language_model.layers")
    assert len(layers.children) == 32
    assert len({id(layer) for _, layer in layers.children}) == 1


def test_a_tied_head_is_counted_once_and_named_as_tied():
    tree = build.build(GEMMA_3_4B, "org/name")
    assert tree.ties == (("model.language_model.embed_tokens.weight", "lm_head.weight"),)
    assert tree.root.total - tree.total == 262208 * 2560


def test_the_tree_counts_what_torch_counts():
    import accelerate
    import transformers

    with accelerate.init_empty_weights(include_buffers=True):
        model = transformers.LlavaForConditionalGeneration(transformers.LlavaConfig())
    tree = build.build(LLAVA, "org/name")
    assert dict(tree.root.parameter_paths()) == {
        name: tuple(tensor.shape) for name, tensor in model.named_parameters(remove_duplicate=False)
    }
    buffers = {f"{path}.{name}" for path, node in tree.root.walk() for name, _ in node.buffers}
    assert buffers == set(model.state_dict()) - {name for name, _ in model.named_parameters(remove_duplicate=False)}


def test_the_given_configuration_is_not_changed():
    before = json.dumps(GEMMA_3_4B)
    build.build(GEMMA_3_4B, "org/name")
    assert json.dumps(GEMMA_3_4B) == before


def test_a_kernel_need_not_be_installed():
    config = {**LLAVA, "_attn_implementation": "flash_attention_2", "torch_dtype": "float4_of_tomorrow"}
    assert build.build(config, "org/name").total == build.build(LLAVA, "org/name").total


@pytest.mark.slow
def test_a_235b_model_builds_within_half_a_gibibyte_on_top_of_the_libraries():
    script = (
        "import json, resource, sys\n"
        "from vlm_inspect.builders.transformers import build, missing_packages\n"
        "def most():\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "missing_packages.require_libraries()\n"  # a torch with CUDA takes more than one without
        "before = most()\n"
        "total = build.build(json.load(sys.stdin), 'org/name').total\n"
        "print(total, most() - before)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(QWEN3_VL_235B),
        capture_output=True,
        text=True,
        check=True,
    )
    total, kibibytes = map(int, answer.stdout.split())
    assert total > 235_000_000_000
    assert kibibytes < 512 * 1024


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            {
                "architectures": ["Phi3VForCausalLM"],
                "model_type": "phi3_v",
                "auto_map": {"AutoConfig": "x.Y"},
            },
            "own repo",
        ),
        ({"architectures": ["NoSuchModel"], "model_type": "no_such_type"}, "has no class for NoSuchModel"),
        ({"model_type": "no_such_type"}, "no_such_type"),
        ({"architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava"}, "not one of transformers' own"),
        (
            {**LLAVA, "vision_config": {"model_type": "aria_vision_model"}},
            "vision_config is of type 'aria_vision_model'",
        ),
        ({"architectures": ["logging"]}, "logging"),
        ({"architectures": ["AutoConfig"], "model_type": "x"}, "AutoConfig"),
        ({"architectures": ["os; import os"], "model_type": "x"}, "os; import os"),
        ({}, "neither model_type nor architectures"),
        ({"architectures": [], "model_type": None}, "neither model_type nor architectures"),
        ({"architectures": [5], "model_type": 7}, "neither model_type nor architectures"),
    ],
)
def test_a_class_that_transformers_does_not_have_is_an_error(config, sentence):
    with pytest.raises(NotNativeError) as raised:
        build.build(config, "org/name")
    assert sentence in raised.value.message


def test_a_type_without_an_architecture_is_built_by_its_auto_class():
    tree = build.build({"model_type": "llava"}, "org/name")
    assert tree.root.class_name == "LlavaForConditionalGeneration"
    assert "names no architecture" in tree.notes[0]


@pytest.mark.parametrize(
    ("model_type", "class_name"),
    [("colpali", "ColPaliForRetrieval"), ("superpoint", "SuperPointForKeypointDetection"), ("vit", "ViTModel")],
)
def test_a_type_that_only_has_a_class_for_a_task_is_built_by_it(model_type, class_name):
    assert build.build({"model_type": model_type}, "org/name").root.class_name == class_name


def test_an_architecture_without_a_type_is_built_from_its_own_configuration():
    tree = build.build({"architectures": ["LlavaForConditionalGeneration"]}, "org/name")
    assert tree.root.class_name == "LlavaForConditionalGeneration"
    assert "says no model_type" in tree.notes[0]


def test_the_architecture_is_built_if_the_type_disagrees():
    config = {"model_type": "llava_next", "architectures": ["LlavaNextVideoForConditionalGeneration"]}
    tree = build.build(config, "org/name")
    assert tree.root.class_name == "LlavaNextVideoForConditionalGeneration"
    assert "belongs to 'llava_next_video'" in tree.notes[0]


def test_an_architecture_spelt_differently_is_recognised():
    config = {"model_type": "llava", "architectures": ["Llava_ForConditionalGeneration"]}
    tree = build.build(config, "org/name")
    assert tree.root.class_name == "LlavaForConditionalGeneration"
    assert "transformers calls" in tree.notes[0]


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"num_hidden_layers": -1}, "cannot be negative"),
        ({"num_hidden_layers": "24"}, "is the text '24'"),
        ({"num_hidden_layers": 10**9}, "the limit is 2,000"),
        ({"hidden_size": 10**12}, "the limit is 1,000,000,000"),
        ({"num_attention_heads": 0}, ""),
        ({"hidden_size": [1]}, ""),
        ({"num_hidden_layers": None}, ""),
    ],
    ids=str,
)
def test_a_nonsense_size_is_refused_before_it_is_built(sizes, sentence):
    config = {**LLAVA, "text_config": {"model_type": "llama", **sizes}}
    with pytest.raises(UnbuildableConfigError) as raised:
        build.build(config, "org/name")
    assert sentence in raised.value.message
    assert "\n" not in raised.value.message
    assert raised.value.hint


LLAMA = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99}


@pytest.mark.parametrize(
    ("keys", "sentence", "hint"),
    [
        ({"projector_hidden_act": "foo"}, 'projector_hidden_act is "foo", which it does not know', "ACT2FN"),
        ({"text_config": {**LLAMA, "hidden_act": "foo"}}, 'text_config.hidden_act is "foo", which it', "ACT2FN"),
        (
            {"text_config": {**LLAMA, "rope_scaling": {"rope_type": "foo"}}},
            'text_config.rope_scaling.rope_type is "foo"',
            "Correct text_config.rope_scaling.rope_type",
        ),
        (
            {"text_config": {**LLAMA, "hidden_size": 64.0}},
            "text_config.hidden_size is 64.0",
            "write 64 for text_config",
        ),
        (
            {"vision_config": {"num_hidden_layers": 2.5}},
            "vision_config.num_hidden_layers is 2.5",
            "Correct vision_conf",
        ),
        (
            {"vision_config": {"patch_size": "14"}},
            "vision_config.patch_size is the text '14'",
            "write 14 without quotes",
        ),
        (
            {"text_config": {**LLAMA, "rope_theta": "1e6"}, "trainer": {"lr": "2"}, "transformers_version": "5"},
            "text_config.rope_theta is the text '1e6'",
            "write 1e6 without quotes",
        ),
        ({"text_config": {**LLAMA, "hidden_size": None}}, "text_config.hidden_size is null", "Correct text_config."),
        ({"tie_word_embeddings": "no"}, 'tie_word_embeddings is "no"', "Correct tie_word_embeddings"),
        ({"text_config": "llama"}, 'text_config is "llama"', "Correct text_config in"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_an_error_of_the_class_names_the_key_and_what_to_type(keys, sentence, hint):
    with pytest.raises(UnbuildableConfigError) as raised:
        build.build({**LLAVA, **keys}, "org/name")
    assert sentence in raised.value.message
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    "keys",
    [
        {"my_trainer": {"num_layers": "2", "hidden_size": 10**12}},
        {"speech_vocab_size": "1280", "num_stages_layers": -1},
        {"text_config": {**LLAMA, "num_experts": "8", "depth": 10**9, "num_moe_layers": -1}},
        {"vision_config": {"hidden_size": 64, "num_attention_heads": 4, "codebook_dim": 1e300}},
        {"processor": {"id2label": dict.fromkeys(range(100_001), "x")}},
        {"sizes": [{"depths": [10**6]}]},
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_value_that_nothing_reads_refuses_no_model(keys):
    config = {**LLAVA, **keys}
    read = {key: value for key, value in keys.items() if key.endswith("_config")}
    assert build.build(config, "org/name").total == build.build({**LLAVA, **_without_strange(read)}, "org/name").total


def _without_strange(sections):
    strange = {"num_experts", "depth", "num_moe_layers", "codebook_dim"}
    return {
        name: {key: value for key, value in section.items() if key not in strange}
        for name, section in sections.items()
    }


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        # flat keys, of which the class makes its text part
        (
            {
                "architectures": ["Qwen2_5_VLForConditionalGeneration"],
                "model_type": "qwen2_5_vl",
                "num_hidden_layers": 10**9,
            },
            "num_hidden_layers is 1,000,000,000, and the limit is 2,000",
        ),
        (
            {
                "architectures": ["Qwen2_5OmniForConditionalGeneration"],
                "model_type": "qwen2_5_omni",
                "thinker_config": {"text_config": {"num_hidden_layers": 10**9}},
            },
            "thinker_config.text_config.num_hidden_layers is 1,000,000,000",
        ),
        (
            {
                "model_type": "vision-encoder-decoder",
                "architectures": ["VisionEncoderDecoderModel"],
                "encoder": {"model_type": "donut-swin", "depths": [1_500, 1_500]},
                "decoder": {"model_type": "mbart"},
            },
            "encoder.depths is 3,000, and the limit is 2,000",
        ),
        # a section without a type: the class has its own
        ({"model_type": "blip-2", "qformer_config": {"num_hidden_layers": 10**9}}, "qformer_config.num_hidden_layers"),
        ({"model_type": "llava", "text_config": {"num_layers": 3, "num_hidden_layers": -1}}, "is -1, and cannot be"),
        ({"model_type": "llava", "id2label": dict.fromkeys(range(100_001), "x")}, "id2label has 100,001 entries"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_size_beyond_its_limit_is_refused_wherever_the_class_reads_it(config, sentence):
    with pytest.raises(UnbuildableConfigError) as raised:
        build.build(config, "org/name")
    assert sentence in raised.value.message


@pytest.mark.parametrize("part", [None, [], "llama", 7])
def test_a_part_that_is_no_configuration_is_refused(part):
    with pytest.raises((UnbuildableConfigError, NotNativeError, InvalidConfigError)):
        build.build({**LLAVA, "text_config": part} if part is not None else {**LLAVA, "text_config": "x"}, "org/name")


def test_a_build_prints_nothing(capfd):
    config = {
        **LLAVA,
        "text_config": {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2.0}},
    }
    build.build(config, "org/name")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
