"""What must hold of every model, over every multimodal type that builds from its default config."""

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES

from vlm_inspect.anatomy import describe
from vlm_inspect.architecture import Role
from vlm_inspect.build import native
from vlm_inspect.codec import architecture_from_data, to_data
from vlm_inspect.errors import BrokenEnvironmentError, UnbuildableConfigError
from vlm_inspect.ref import ModelIdentity
from vlm_inspect.tree import is_below

# their default config does not build: `cls(config)` fails in transformers itself
NO_DEFAULT = {
    "aya_vision",
    "chameleon",
    "cohere_compass",
    "deepseek_ocr2",
    "diffusion_gemma",
    "emu3",
    "granite4_vision",
    "hunyuan_vl",
    "qwen3_omni_moe",
    "qwen4_exp",
}
# backed by timm, which is an extra
NEEDS_TIMM = {"fast_vlm", "gemma3n", "perception_lm"}
TYPES = sorted(MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES)
BUILDABLE = [name for name in TYPES if name not in NO_DEFAULT | NEEDS_TIMM]


def default_config(model_type):
    names = MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES[model_type]
    architecture = names if isinstance(names, str) else names[0]
    return {**CONFIG_MAPPING[model_type]().to_dict(), "architectures": [architecture]}


@pytest.fixture(scope="module", params=BUILDABLE)
def answered(request):
    tree = native.build(default_config(request.param), request.param)
    return tree, describe(tree, ModelIdentity(request.param, source="local"), "transformers")


def test_parts_sum_to_the_total(answered):
    tree, architecture = answered
    assert sum(component.parameters for component in architecture.components) == tree.total
    assert architecture.parameters.total == tree.total


def test_no_component_owns_less_than_nothing(answered):
    _, architecture = answered
    assert all(component.parameters >= 0 for component in architecture.components)


def test_every_path_exists_and_none_is_claimed_twice(answered):
    tree, architecture = answered
    paths = [path for component in architecture.components for path in component.paths]
    assert len(paths) == len(set(paths))
    parameters = {path for path, _ in tree.root.parameter_paths()}
    for path in paths:
        assert tree.find(path) is not None or path in parameters


def test_every_parameter_lies_below_a_component(answered):
    tree, architecture = answered
    paths = [path for component in architecture.components for path in component.paths]
    for parameter, _ in tree.root.parameter_paths():
        assert any(is_below(parameter, path) for path in paths), parameter


def test_the_main_parts_are_found_or_named_absent(answered):
    _, architecture = answered
    for role in (Role.VISION_ENCODER, Role.PROJECTOR, Role.LANGUAGE_MODEL, Role.LM_HEAD):
        assert bool(architecture.having(role)) != (role.value in architecture.absent)
    assert architecture.having(Role.LANGUAGE_MODEL)


def test_every_component_keeps_its_evidence(answered):
    _, architecture = answered
    assert all(component.evidence and component.evidence[0].detail for component in architecture.components)


def test_layer_orders_match_their_counts(answered):
    _, architecture = answered
    for component in architecture.components:
        for stack in component.stacks:
            assert len(stack.order) in {0, stack.count}
            assert set(stack.order) in (set(), set(range(len(stack.kinds))))


def test_the_record_survives_json(answered):
    _, architecture = answered
    assert architecture_from_data(to_data(architecture)) == architecture


@pytest.mark.parametrize("model_type", sorted(NO_DEFAULT))
def test_a_default_config_that_does_not_build_is_a_clear_error(model_type):
    with pytest.raises(UnbuildableConfigError, match="cannot be built from this config"):
        native.build(default_config(model_type), model_type)


@pytest.mark.parametrize("model_type", sorted(NEEDS_TIMM))
def test_a_missing_package_is_named(model_type):
    with pytest.raises(BrokenEnvironmentError, match="needs a package that is not installed"):
        native.build(default_config(model_type), model_type)
