"""Limits on the sizes in a configuration."""

import pytest

from vlm_inspect.builders import config_limits
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.errors import UnbuildableConfigError

LLAVA = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"depths": [1_500, 1_500]}, "depths is 3,000, and the limit is 2,000"),
        ({"text_config": {"num_hidden_layers": 2_001}}, "text_config.num_hidden_layers is 2,001"),
        ({"towers": [{"depth": 10**6}]}, "towers.depth is 1,000,000"),
        ({"num_experts": 10**5}, "num_experts is 100,000, and the limit is 10,000"),
        ({"num_experts": -1}, "cannot be negative"),
        ({"vocab_size": float("nan")}, "vocab_size is nan, and the limit is 1,000,000,000"),
        ({"hidden_size": float("inf")}, "hidden_size is inf, and the limit is 1,000,000,000"),
        ({"id2label": dict.fromkeys(range(100_001))}, "id2label has 100,001 entries"),
        ({"num_labels": 10**9}, "num_labels is 1,000,000,000, and the limit is 100,000"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_size_beyond_its_limit_is_refused(config, sentence):
    with pytest.raises(UnbuildableConfigError) as raised:
        config_limits.check_sizes(config, "org/name", lambda _: True)
    assert sentence in raised.value.message
    config_limits.check_sizes(config, "org/name", lambda _: False)  # nothing reads it


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"model_type": "x" * 201}, "model_type has a name of 201 characters, and the limit is 200"),
        ({"architectures": ["A", "x" * 10**5]}, "architectures has a name of 100,000 characters"),
    ],
    ids=["model_type", "architectures"],
)
def test_a_name_beyond_its_limit_is_refused(config, sentence):
    with pytest.raises(UnbuildableConfigError) as raised:
        config_limits.check_names(config, "org/name")
    assert sentence in raised.value.message


@pytest.mark.parametrize(
    ("path", "is_common"),
    [
        ("num_hidden_layers", True),
        ("text_config.hidden_size", True),
        ("vision_config.depth", True),
        ("n_routed_experts", True),
        ("my_trainer.num_layers", False),
        ("audio_config.speech_vocab_size", False),
        ("max_size", False),
    ],
)
def test_without_a_class_the_common_keys_of_parts_are_read(path, is_common):
    assert config_limits.is_common_key(path) is is_common


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 126, "hidden_size": 16_384, "vocab_size": 262_144},
        {"moe_layers": list(range(120)), "cross_attention_layers": [3, 8, 13]},
        {"vision_feature_layers": [-2, -5]},
        {"num_experts": 2_048, "num_experts_per_tok": 8},
        {"depths": [2, 2, 18, 2]},
        {"num_hidden_layers": None, "depth": True, "hidden_size": -1},
    ],
    ids=str,
)
def test_sizes_of_published_models_are_accepted(config):
    config_limits.check_sizes(config, "org/name", lambda _: True)


@pytest.mark.slow
def test_an_endless_build_is_stopped_under_any_key(monkeypatch):
    monkeypatch.setattr(config_limits, "MOST_MODULES", 10_000)
    # the key is a count of modules that has no limit of its own
    config = {"model_type": "minicpm_ocr", "merger_times": 10**9}
    with pytest.raises(UnbuildableConfigError) as raised:
        build.build(config, "org/name")
    assert "more than 10,000 modules" in raised.value.message


def test_modules_are_counted_per_build():
    total = build.build(LLAVA, "org/name").total
    assert build.build(LLAVA, "org/name").total == total
