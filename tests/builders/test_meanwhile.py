import pytest
import torch
import transformers
from torch.nn import init

from vlm_inspect.builders.transformers import build
from vlm_inspect.builders.transformers.patches import rates_in_memory, uninitialised, unprinted
from vlm_inspect.core.errors import UnbuildableConfigError

DONUT = {
    "encoder": {"model_type": "donut-swin"},
    "decoder": {"model_type": "mbart", "classifier_dropout": 0.0},
}


def replaced():
    """What a build puts something else in the place of."""
    names = [name for name in vars(init) if name.endswith("_")]
    own = transformers.PreTrainedModel, transformers.PretrainedConfig
    return [
        torch.linspace,
        *(getattr(init, name) for name in names),
        own[0]._initialize_weights,  # noqa: SLF001 - transformers has no public name for it
        own[1].__repr__,
    ]


def test_after_a_build_everything_is_in_its_place():
    before = replaced()
    build.build({"model_type": "vision-encoder-decoder", **DONUT}, "donut")
    assert replaced() == before


def test_after_a_build_that_failed_too():
    before = replaced()
    with pytest.raises(UnbuildableConfigError):
        build.build({"model_type": "llava", "text_config": {"pad_token_id": 10**8}}, "wrong")
    assert replaced() == before


def test_values_are_not_drawn_and_what_is_made_of_them_is():
    with uninitialised():
        layer = torch.nn.Linear(2, 3)
        drawn = init.normal_(torch.zeros(4))
    assert layer.weight.shape == (3, 2)
    assert drawn.tolist() == [0.0] * 4
    assert init.ones_(torch.zeros(1)).tolist() == [1.0]


def test_the_rates_of_layers_have_values_on_meta():
    with torch.device("meta"), rates_in_memory():
        rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]
        other = torch.linspace(0, 1, 3, device="meta")
    assert rates == pytest.approx([0, 0.05, 0.1])
    assert other.device.type == "meta"


def test_a_configuration_is_not_written_out():
    class Unprintable(transformers.PretrainedConfig):
        def to_diff_dict(self):
            raise AttributeError("a part that is None")

    with unprinted(transformers.PretrainedConfig):
        assert "Unprintable object" in str(Unprintable())
    with pytest.raises(AttributeError):
        str(Unprintable())
