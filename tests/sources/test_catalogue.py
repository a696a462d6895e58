"""The built-in catalogue: its files suffice to build each model."""

import json
from functools import cache
from math import prod
from pathlib import Path

import pytest
from msgspec.structs import replace

import vlm_inspect
from tests.builders import phi3_v
from vlm_inspect.builders.order import build_header_tree
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render.tree import tree_lines
from vlm_inspect.sources import catalogue

SHARED = Path(__file__).parents[3] / "shared" / "hub"
TOTALS = {
    "TIGER-Lab/Mantis-8B-clip-llama3": 8_354_764_800,
    "TIGER-Lab/Mantis-8B-siglip-llama3": 8_480_007_232,
    "llava-hf/llava-1.5-7b-hf": 7_063_427_072,
    "llava-hf/llava-v1.6-mistral-7b-hf": 7_566_747_648,
    "llava-hf/llava-v1.6-vicuna-7b-hf": 7_063_431_168,
    "HuggingFaceM4/idefics2-8b-base": 8_402_759_920,
    "HuggingFaceM4/idefics2-8b": 8_402_768_112,
    "HuggingFaceM4/idefics2-8b-chatty": 8_402_768_112,
}
REMOTE_CODE = "microsoft/Phi-3-vision-128k-instruct"
# the published configurations, if they are in the folder next to the repository
FULL = {
    name: path.read_text()
    for name in catalogue.names()
    for path in SHARED.glob(name.replace("/", "__") + "/config.json")
}
FACTS = {"architecture", "fine_tuning", "vision_encoder", "backbone"}


def build(config):
    """Build the model on the meta device, with transformers and accelerate only."""
    import transformers
    from accelerate import init_empty_weights

    settings = transformers.AutoConfig.for_model(**config)
    with init_empty_weights(include_buffers=True):
        return getattr(transformers, config["architectures"][0])(settings)


def shapes(model):
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


@cache
def shapes_of(name):
    """Those of the model that the catalogue's configuration builds."""
    return shapes(build(catalogue.load(name).config))


def test_every_model_has_a_file():
    files = (Path(vlm_inspect.__file__).parent / "sources" / "catalogue_data").iterdir()

    assert {name.replace("/", "__") + ".toml" for name in catalogue.names()} == {file.name for file in files}


def test_every_model_but_one_has_a_total():
    assert {*TOTALS, REMOTE_CODE} == set(catalogue.names())


@pytest.mark.parametrize("name", catalogue.names())
def test_model_is_found_by_its_name_in_any_case(name):
    checkpoint = catalogue.load(name)

    assert checkpoint == catalogue.load(name.upper())
    assert checkpoint.identity == ModelIdentity(id=name, revision=None, source="catalogue")
    assert checkpoint.config["model_type"]
    assert checkpoint.config["architectures"]


def test_unknown_model_is_none():
    assert catalogue.load("org/name") is None
    assert catalogue.facts("org/name") == {}


def test_changes_to_a_result_do_not_change_the_catalogue():
    catalogue.load("llava-hf/llava-1.5-7b-hf").config["vision_config"]["hidden_size"] = 1

    assert catalogue.load("llava-hf/llava-1.5-7b-hf").config["vision_config"]["hidden_size"] == 1024


@pytest.mark.parametrize("name", catalogue.names())
def test_facts_of_the_authors_are_stated(name):
    missing = {
        REMOTE_CODE: {"vision_encoder", "backbone"},
        "TIGER-Lab/Mantis-8B-siglip-llama3": {"vision_encoder"},  # its authors state a type, not a name
    }

    assert catalogue.facts(name).keys() == FACTS - missing.get(name, set())


def test_null_of_a_configuration_is_none():
    text_config = catalogue.load("llava-hf/llava-v1.6-mistral-7b-hf").config["text_config"]

    assert text_config["sliding_window"] is None


@pytest.mark.parametrize("name", TOTALS)
def test_model_has_its_published_number_of_parameters(name):
    assert sum(map(prod, shapes_of(name).values())) == TOTALS[name]


@pytest.mark.parametrize("name", [name for name in FULL if name in TOTALS])
def test_model_is_built_as_from_its_full_configuration(name):
    assert shapes_of(name) == shapes(build(json.loads(FULL[name])))


@pytest.mark.parametrize("name", FULL)
def test_no_value_differs_from_the_full_configuration(name):
    assert_part(catalogue.load(name).config, json.loads(FULL[name]))


def test_headers_are_those_of_the_published_index():
    headers = catalogue.headers(REMOTE_CODE)
    assert {tensor.name: tensor.shape for tensor in headers.tensors} == phi3_v.SHAPES
    assert headers.total_bytes == 8_293_242_880
    index = SHARED / REMOTE_CODE.replace("/", "__") / "model.safetensors.index.json"
    if index.exists():
        published = json.loads(index.read_text())
        assert {tensor.name for tensor in headers.tensors} == set(published["weight_map"])
        assert headers.total_bytes == published["metadata"]["total_size"]


def test_headers_and_classes_are_those_of_the_model_without_a_class_in_transformers():
    assert [name for name in catalogue.names() if catalogue.headers(name)] == [REMOTE_CODE]
    assert [name for name in catalogue.names() if catalogue.declared_classes(name)] == [REMOTE_CODE]
    assert catalogue.headers("org/name") is catalogue.declared_classes("org/name") is None


def test_declared_classes_are_those_of_the_printed_tree():
    printed = SHARED.parent / "seed" / "trees" / f"{REMOTE_CODE.replace('/', '__')}.flash_attention_2.txt"
    tree = phi3_vision()
    printed_lines = [line.printed for line in tree_lines(tree) if ": Parameter" not in line.printed]
    assert printed_lines[0] == "Phi3VForCausalLM("
    if printed.exists():  # `wte` is the embedding again, which is stored once
        assert printed_lines == [line for line in printed.read_text().splitlines() if "(wte)" not in line]


@pytest.mark.parametrize(
    ("selected", "class_name"),
    [("eager", "Phi3Attention"), ("sdpa", "Phi3SdpaAttention"), ("flash_attention_2", "Phi3FlashAttention2")],
)
def test_configuration_selects_the_attention_class(selected, class_name):
    tree = phi3_vision(_attn_implementation=selected)
    assert tree.find("model.layers.31.self_attn").class_name == class_name


@pytest.mark.parametrize("selected", [None, "magic"])
def test_attention_class_that_the_configuration_does_not_select_is_unknown(selected):
    tree = phi3_vision(_attn_implementation=selected)
    assert tree.find("model.layers.0.self_attn").inferred
    why = tree.unknowns.why_class_unknown("model.layers.0.self_attn")
    assert why == "chosen when it runs: Phi3Attention or Phi3FlashAttention2 or Phi3SdpaAttention"
    assert tree.find("model.layers.0.mlp").class_name == "Phi3MLP"


def phi3_vision(**changes):
    checkpoint = catalogue.load(REMOTE_CODE)
    changed = replace(checkpoint, config={**checkpoint.config, **changes})
    return build_header_tree(changed, catalogue.headers(REMOTE_CODE), declared=catalogue.declared_classes(REMOTE_CODE))


def assert_part(part, whole):
    for key, value in part.items():
        if isinstance(value, dict):
            assert_part(value, whole[key])
        else:
            assert whole[key] == value
