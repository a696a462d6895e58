"""What a configuration says on its own, and what it leaves unknown."""

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


def answer(config):
    return describe_config(Checkpoint(ModelIdentity("org/name"), config), REFUSAL)


def test_what_the_configuration_states_is_told():
    (language,) = answer(PHI3_V).by_role(Role.LANGUAGE_MODEL)
    assert (language.layer_count, language.width) == (32, 3072)
    assert language.layers[0].mlp.hidden_width == 8192
    assert language.layers[0].attention.heads == 32


def test_what_it_does_not_state_is_unknown_with_the_reason():
    architecture = answer(PHI3_V)
    assert architecture.parameters.total is None
    assert architecture.parameters.unknown == {"total": "remote code", "active": "remote code"}
    assert architecture.unknown["lm_head"] == "remote code"
    (language,) = architecture.by_role(Role.LANGUAGE_MODEL)
    assert language.class_name is None
    assert language.unknown["class_name"] == "remote code"
    assert not architecture.absent


def test_a_vision_encoder_without_sizes_is_there_and_its_layers_unknown():
    (vision,) = answer(PHI3_V).by_role(Role.VISION_ENCODER)
    assert vision.layer_count is None
    assert vision.unknown["stacks"] == "remote code"


def test_the_record_survives_json():
    architecture = answer(PHI3_V)
    assert architecture_from_data(to_data(architecture)) == architecture


def test_what_is_unknown_is_null_in_json_with_its_reason_beside():
    data = to_data(answer(PHI3_V))
    vision = next(part for part in data["components"] if part["role"] == "vision_encoder")
    for name, reason in vision["unknown"].items():
        assert vision[name] is None
        assert reason == "remote code"
    assert data["parameters"]["total"] is None


def test_a_configuration_that_names_nothing_is_refused():
    with pytest.raises(NotNativeError):
        answer({"hidden_size": 3072})
