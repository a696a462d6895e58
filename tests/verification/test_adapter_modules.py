"""The modules that an adapter's configuration targets."""

import pytest

from vlm_inspect.core.module_tree import NodePool
from vlm_inspect.verification import adapter_modules
from vlm_inspect.verification.adapter_modules import match_names, target_modules

NAMES = ("model.layers.0.q_proj", "model.layers.1.q_proj", "model.layers.1.v_proj", "lm_head")


def model():
    pool = NodePool()
    linear = pool.node("Linear")
    layers = [
        ("0", pool.node("Layer", children=(("q_proj", linear),))),
        ("1", pool.node("Layer", children=(("q_proj", linear), ("v_proj", linear)))),
    ]
    body = pool.node("Model", children=(("layers", pool.node("ModuleList", children=tuple(layers))),))
    return pool.node("ForCausalLM", children=(("model", body), ("lm_head", linear)))


@pytest.mark.parametrize(
    ("config", "targets"),
    [
        ({"target_modules": "all-linear"}, NAMES[:3]),
        ({"target_modules": ["q_proj"]}, NAMES[:2]),
        ({"target_modules": ["q_proj", "lm_head"], "layers_to_transform": [1]}, (NAMES[1], "lm_head")),
        ({"target_modules": ["q_proj"], "layers_to_transform": 0}, NAMES[:1]),
        ({"target_modules": r".*\.1\.(q|v)_proj"}, NAMES[1:3]),
        ({"target_modules": "q_proj"}, ()),
        ({"target_modules": r".*_proj", "exclude_modules": r".*\.0\..*"}, NAMES[1:3]),
        ({"target_modules": r".*_proj", "exclude_modules": ["v_proj"]}, NAMES[:2]),
    ],
    ids=str,
)
def test_targets_are_selected_as_by_peft(config, targets):
    assert target_modules(config, model(), "lm_head").paths == frozenset(targets)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({}, "names no target_modules"),
        ({"target_modules": ["q_proj"], "layers_pattern": "h", "layers_to_transform": 1}, "is not supported"),
        ({"target_modules": "("}, "target_modules is an invalid pattern"),
        ({"target_modules": ".*", "exclude_modules": "["}, "exclude_modules is an invalid pattern"),
    ],
    ids=str,
)
def test_unknown_targets_have_a_reason(config, reason):
    targets = target_modules(config, model(), None)
    assert targets.paths is None
    assert reason in targets.unknown


@pytest.mark.parametrize("pattern", ["(", "[", "*", r"\p{L}", "a(?i)b", "a" * 10_001, "(" * 5_000])
def test_a_pattern_that_peft_cannot_compile_is_invalid(pattern):
    assert match_names(pattern, NAMES) is None


def test_a_pattern_that_may_mean_a_nested_set_gives_no_warning():
    assert match_names("[[]", ["["]) == {"["}


def test_a_pattern_has_a_time_limit_over_all_names(monkeypatch):
    assert match_names(".*", NAMES) == set(NAMES)
    monkeypatch.setattr(adapter_modules, "SECONDS", 0)
    assert match_names(".*", NAMES) is None
