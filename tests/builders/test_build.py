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
