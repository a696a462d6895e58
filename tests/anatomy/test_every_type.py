"""What must hold of every model, over every multimodal type that transformers maps."""

import pytest

from tests.every_type import NEEDS_EXTRA, STATED, TYPES, config_of, default_config
from tests.every_type.answers import answer_of, independent_count, tree_of
from tests.every_type.invariants import INVARIANTS
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.codec import architecture_from_data, to_data
from vlm_inspect.core.errors import UnbuildableConfigError


@pytest.mark.parametrize("model_type", TYPES)
def test_of_every_type(model_type):
    for holds in INVARIANTS:
        holds(answer_of(model_type), tree_of(model_type))


@pytest.mark.parametrize("model_type", [name for name in TYPES if name not in NEEDS_EXTRA])
def test_the_total_is_what_torch_counts(model_type):
    assert answer_of(model_type).parameters.total == independent_count(model_type)


@pytest.mark.parametrize("model_type", TYPES)
def test_every_component_keeps_its_evidence(model_type):
    components = answer_of(model_type).components
    assert all(component.evidence and component.evidence[0].detail for component in components)


@pytest.mark.parametrize("model_type", TYPES)
def test_the_record_survives_json(model_type):
    assert architecture_from_data(to_data(answer_of(model_type))) == answer_of(model_type)


@pytest.mark.parametrize("model_type", TYPES)
def test_its_classes_read_all_of_its_configuration_that_is_structure(model_type):
    assert answer_of(model_type).ignored_structural_keys == ()


@pytest.mark.parametrize("model_type", ["chameleon", "qwen3_omni_moe"])
def test_a_default_config_that_does_not_build_is_a_clear_error(model_type):
    with pytest.raises(UnbuildableConfigError, match="cannot be built from this config"):
        build.build(default_config(model_type), model_type)


def test_a_stated_config_keeps_what_its_file_says():
    for model_type, path in STATED.items():
        assert config_of(model_type)["model_type"] == model_type == path.stem
