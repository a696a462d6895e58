"""Records of published configurations (and of those in a `shared/hub` folder next to the project, if any)."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import accelerate
import pytest
import transformers

from tests.published import (
    ACTIVE,
    ARIA,
    FLORENCE_2_BASE,
    FLORENCE_2_LARGE,
    KIMI_K2_5,
    LLAVA_1_5_7B,
    LLAVA_ORIGINAL_7B,
    LLAVA_ORIGINAL_13B,
    MISTRAL_SMALL_3_1,
    PARTS,
    TOTALS,
)
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.app.pipeline import inspect_model
from vlm_inspect.builders.transformers import build
from vlm_inspect.builders.transformers.select import select
from vlm_inspect.core.errors import NotNativeError, VlmInspectError
from vlm_inspect.core.model_ref import ModelIdentity

HUB = Path(__file__).parents[3] / "shared" / "hub"
REAL = {path.parent.name: json.loads(path.read_text()) for path in sorted(HUB.glob("*/config.json"))}
CONFIGS = {name: config for name, (config, _) in TOTALS.items()} | REAL
# their sizes are defaults of the repository's code
WITHOUT_SIZES = {"vikhyatk__moondream2"} & set(CONFIGS)
# configurations with structural keys that their native class ignores
WITH_IGNORED_KEYS = {
    "Aria": ARIA,
    "Florence-2-large": FLORENCE_2_LARGE,
    "original LLaVA 7B": LLAVA_ORIGINAL_7B,
    "original LLaVA 13B": LLAVA_ORIGINAL_13B,
}


def torch_count(config):
    """The parameters that torch counts in a plain build on the meta device."""
    selected = select(config, "org/name")
    with accelerate.init_empty_weights(include_buffers=True):
        model = selected.model_class(selected.config_class.from_dict(json.loads(json.dumps(config))))
        model.tie_weights()
    return sum(parameter.numel() for parameter in model.parameters())


def is_native(config):
    """Whether transformers has the class and reads the configuration; nothing is built, which takes seconds."""
    try:
        with build.selected_class(config, "org/name") as selected:
            build.resolve(selected, config)
            return True
    except NotNativeError:
        return False


@cache
def inspected(name):
    """The result for a folder with the configuration: each is built once."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(CONFIGS[name]))
        return inspect_model(folder)


NATIVE = [name for name, config in CONFIGS.items() if is_native(config)]


# published configurations may use deprecated keys
@pytest.mark.filterwarnings("ignore:`rope_scaling` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", NATIVE)
def test_the_components_add_up_to_the_count_of_torch(name):
    architecture, tree = inspected(name).architecture, inspected(name).tree
    assert sum(component.parameters for component in architecture.components) == tree.total
    transformers.logging.set_verbosity_error()
    assert tree.total == torch_count(CONFIGS[name])


@pytest.mark.parametrize("name", sorted(WITHOUT_SIZES))
def test_a_published_configuration_without_sizes_is_no_answer(name, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[name]))
    with pytest.raises(NotNativeError, match="states no size of any part"):
        inspect_model(str(tmp_path))


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in WITHOUT_SIZES])
def test_every_record_is_from_a_build_or_from_the_configuration(name):
    record = inspected(name).architecture
    assert record.builder == ("transformers" if name in NATIVE else "config")
    assert (record.parameters.total is None) == (record.builder == "config")
    assert (record.parameters.total is None) == ("total" in record.parameters.unknown)


@pytest.mark.parametrize(("config", "published"), PARTS.values(), ids=PARTS)
def test_published_component_sizes(config, published):
    architecture = describe(build.build(config, "org/name"), ModelIdentity("org/name"), "transformers")
    counted_by_role = {part.role.value: part.parameters for part in architecture.components}
    assert {role: counted_by_role[role] for role in published} == published


def test_a_published_vision_encoder_may_include_its_merger():
    config, published = PARTS["Qwen2.5-VL-7B"]
    assert build.build(config, "org/name").find("model.visual").total == 676_550_144
    assert sum(published.values()) == 676_550_144


@pytest.mark.parametrize(("config", "published"), ACTIVE.values(), ids=ACTIVE)
def test_published_active_parameters(config, published):
    architecture = describe(build.build(config, "org/name"), ModelIdentity("org/name"), "transformers")
    assert round(architecture.parameters.active / 1e9, 1) == published


def record_of(config, folder):
    (folder / "config.json").write_text(json.dumps(config))
    return inspect_model(str(folder)).architecture


@pytest.mark.parametrize("name", [name for name in CONFIGS if name in NATIVE])
def test_native_classes_read_all_structural_keys(name):
    assert [key.path for key in inspected(name).tree.unused_config_keys if key.structural] == []


@pytest.mark.parametrize("config", WITH_IGNORED_KEYS.values(), ids=WITH_IGNORED_KEYS)
def test_ignored_structural_keys_are_in_the_record(config, tmp_path):
    record = record_of(config, tmp_path)
    assert record.builder == "transformers"
    assert record.ignored_structural_keys


def test_unstated_sizes_are_the_defaults_of_the_class(tmp_path):
    # repositories leave out values that equal a default: LLaVA-1.5 omits its language model's sizes
    assert "hidden_size" not in LLAVA_1_5_7B["text_config"]
    record = record_of(LLAVA_1_5_7B, tmp_path)
    assert (record.parameters.total, record.unused_config_keys[0].structural) == (7_063_427_072, False)


def test_an_unknown_architecture_of_a_known_type_is_described_from_the_configuration(tmp_path):
    record = record_of({**LLAVA_ORIGINAL_13B, "architectures": ["LlavaLlamaForCausalLM"]}, tmp_path)
    assert (record.builder, record.model_class) == ("config", "LlavaLlamaForCausalLM")
    (note,) = record.notes
    assert "LlavaLlamaForCausalLM is not one of transformers' own, though its model_type 'llava' is" in note
    (language_model,) = record.components
    assert (language_model.role.value, language_model.width, language_model.layer_count) == (
        "language_model",
        5120,
        40,
    )
    # nothing was built, so no key was ignored
    assert record.unused_config_keys == ()


def test_an_architecture_of_another_type_is_built_with_a_note(tmp_path):
    config = {"model_type": "llava_next", "architectures": ["LlavaNextVideoForConditionalGeneration"]}
    record = record_of(config, tmp_path)
    assert record.model_class == "LlavaNextVideoForConditionalGeneration"
    assert "built LlavaNextVideoForConditionalGeneration, the class its weights were saved from" in record.notes[0]


def test_an_architecture_with_another_spelling_is_built_with_a_note(tmp_path):
    record = record_of(KIMI_K2_5, tmp_path)
    assert record.model_class == "Kimi_K25ForConditionalGeneration"
    assert "names KimiK25ForConditionalGeneration, which transformers calls" in record.notes[0]


def test_a_missing_architecture_has_a_note(tmp_path):
    record = record_of({key: value for key, value in LLAVA_1_5_7B.items() if key != "architectures"}, tmp_path)
    assert (record.model_class, record.parameters.total) == ("LlavaForConditionalGeneration", 7_063_427_072)
    assert "names no architecture" in record.notes[0]


def test_parts_of_unknown_types_are_named(tmp_path):
    config = {
        "model_type": "aria",
        "architectures": ["AriaForConditionalGeneration"],
        "text_config": {"model_type": "aria_moe_lm", "hidden_size": 2560, "num_hidden_layers": 28},
        "vision_config": {"model_type": "aria_vision_model", "hidden_size": 1152, "num_hidden_layers": 27},
    }
    record = record_of(config, tmp_path)
    assert record.builder == "config"
    assert "text_config is of type 'aria_moe_lm' and vision_config is of type 'aria_vision_model'" in (record.notes[0])
    assert {part.role.value: part.width for part in record.components} == {
        "vision_encoder": 1152,
        "language_model": 2560,
    }


def test_a_part_of_an_unknown_type_is_built_if_the_class_ignores_the_type(tmp_path):
    # Florence-2's vision part is of type davit, which transformers lacks, and its class does not check
    assert record_of(FLORENCE_2_BASE, tmp_path).parameters.total == 231_414_016


def test_an_empty_configuration_is_an_error_that_names_the_missing_keys(tmp_path):
    with pytest.raises(VlmInspectError, match="neither model_type nor architectures"):
        record_of({}, tmp_path)


def test_the_count_of_a_model_that_is_smaller_than_its_name_is_uncertain(tmp_path):
    record = record_of(MISTRAL_SMALL_3_1, tmp_path)
    assert record.parameters.total == 23_340_272_640
    assert "does not say whether the head is tied" in record.parameters.uncertain
