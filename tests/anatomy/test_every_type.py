"""Invariants and totals of every multimodal type that transformers maps."""

import pytest

from tests.every_type import NEEDS_EXTRA, STORED_CONFIGS, TYPES, config_of, default_config
from tests.every_type.answers import independent_count, record_of, tree_of
from tests.every_type.invariants import INVARIANTS
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.codec import architecture_from_data, to_data
from vlm_inspect.core.errors import UnbuildableConfigError


@pytest.mark.parametrize("model_type", TYPES)
def test_invariants(model_type):
    for invariant in INVARIANTS:
        invariant(record_of(model_type), tree_of(model_type))


@pytest.mark.parametrize("model_type", [name for name in TYPES if name not in NEEDS_EXTRA])
def test_total_matches_torch(model_type):
    assert record_of(model_type).parameters.total == independent_count(model_type)


@pytest.mark.parametrize("model_type", TYPES)
def test_every_component_has_evidence(model_type):
    components = record_of(model_type).components
    assert all(component.evidence and component.evidence[0].detail for component in components)


@pytest.mark.parametrize("model_type", TYPES)
def test_json_round_trip(model_type):
    assert architecture_from_data(to_data(record_of(model_type))) == record_of(model_type)


@pytest.mark.parametrize("model_type", TYPES)
def test_no_structural_key_is_ignored(model_type):
    assert record_of(model_type).ignored_structural_keys == ()


@pytest.mark.parametrize("model_type", ["chameleon", "qwen3_omni_moe"])
def test_a_default_config_that_cannot_be_built_is_a_clear_error(model_type):
    with pytest.raises(UnbuildableConfigError, match="cannot be built from this config"):
        build.build(default_config(model_type), model_type)


def test_a_stored_config_has_the_type_of_its_file_name():
    for model_type, path in STORED_CONFIGS.items():
        assert config_of(model_type)["model_type"] == model_type == path.stem
