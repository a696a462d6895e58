"""Records from a configuration alone: what it states, and what stays unknown."""

import pytest

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
