"""Libraries are as they were after a build, whether it succeeded or failed."""

import pytest
import torch
import transformers
from torch.nn import init

from vlm_inspect.builders.transformers import build
from vlm_inspect.builders.transformers.patches import linspace_on_cpu, no_config_repr, no_init
from vlm_inspect.core.errors import UnbuildableConfigError

DONUT = {
    "encoder": {"model_type": "donut-swin"},
    "decoder": {"model_type": "mbart", "classifier_dropout": 0.0},
}


def patched_attributes():
    """The attributes of torch and transformers that a build patches."""
    initialisers = [name for name in vars(init) if name.endswith("_")]
    return [
        torch.linspace,
        *(getattr(init, name) for name in initialisers),
        transformers.PreTrainedModel._initialize_weights,  # noqa: SLF001 - transformers has no public name for it
        transformers.PretrainedConfig.__repr__,
    ]


def test_a_build_restores_what_it_patches():
    before = patched_attributes()
    build.build({"model_type": "vision-encoder-decoder", **DONUT}, "donut")
    assert patched_attributes() == before


def test_a_failed_build_restores_what_it_patches():
    before = patched_attributes()
    with pytest.raises(UnbuildableConfigError):
        build.build({"model_type": "llava", "text_config": {"pad_token_id": 10**8}}, "wrong")
    assert patched_attributes() == before


def test_initialisers_leave_values_unchanged():
    with no_init():
        layer = torch.nn.Linear(2, 3)
        drawn = init.normal_(torch.zeros(4))
    assert layer.weight.shape == (3, 2)
    assert drawn.tolist() == [0.0] * 4
    assert init.ones_(torch.zeros(1)).tolist() == [1.0]


def test_linspace_has_values_on_the_meta_device():
    with torch.device("meta"), linspace_on_cpu():
        rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]
        other = torch.linspace(0, 1, 3, device="meta")
    assert rates == pytest.approx([0, 0.05, 0.1])
    assert other.device.type == "meta"


def test_a_configuration_does_not_format_itself():
    class Unprintable(transformers.PretrainedConfig):
        def to_diff_dict(self):
            raise AttributeError("a part that is None")

    with no_config_repr(transformers.PretrainedConfig):
        assert "Unprintable object" in str(Unprintable())
    with pytest.raises(AttributeError):
        str(Unprintable())
