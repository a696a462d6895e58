"""Renamed keys, grouped mismatches, the keys of adapters."""

import pytest

from vlm_inspect.core.architecture import Component, Role
from vlm_inspect.verification.adapter import adapter_keys
from vlm_inspect.verification.keys import KeyMap, TensorMismatch, group_mismatches

LLAVA = {
    **{
        f"language_model.model.layers.{n}.norm.weight": f"model.language_model.layers.{n}.norm.weight"
        for n in range(3)
    },
    "language_model.model.norm.weight": "model.language_model.norm.weight",
    "language_model.lm_head.weight": "lm_head.weight",
}


def renamed_prefixes(names):
    return [(each.key, each.path, each.count) for each in names.renamings()]


def test_renamed_prefixes_are_listed_with_their_tensors():
    assert renamed_prefixes(KeyMap(LLAVA)) == [
        ("language_model.model", "model.language_model", 4),
        ("language_model.lm_head", "lm_head", 1),
    ]


def test_unchanged_names_are_not_listed():
    assert renamed_prefixes(KeyMap({"a.b": "a.b", "a.c": "a.c"})) == []


def test_an_added_prefix_is_listed_with_the_next_part():
    assert renamed_prefixes(KeyMap({"visual.a.weight": "model.visual.a.weight"})) == [("visual", "model.visual", 1)]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("model.language_model.layers.7.norm.weight", "language_model.model.layers.7.norm.weight"),
        ("model.language_model.layers.7.mlp.weight", "language_model.model.layers.7.mlp.weight"),
        ("model.vision_tower.weight", ""),
    ],
)
def test_a_missing_key_has_the_prefix_of_its_neighbours(path, key):
    assert KeyMap(LLAVA).key_of(path) == key


def test_without_renamings_the_key_is_the_path():
    assert KeyMap({"a.b": "a.b"}).key_of("c.d") == "c.d"


def test_all_keys_of_a_merged_parameter_are_listed():
    merged = {f"x.experts.{n}.{side}.weight": "x.experts.both" for n in range(2) for side in ("up", "gate")}
    names = KeyMap(merged, frozenset(merged))
    assert names.key_of("x.experts.both") == "x.experts.*.up.weight + x.experts.*.gate.weight"
    assert all(each.is_converted for each in names.renamings())


# --- grouping


def grouped(names, loaded, components=(), kind="missing"):
    tensors = [TensorMismatch(kind, path=name, key=name, expected=(2, 3)) for name in names]
    return [(each.path, each.count, each.is_module) for each in group_mismatches(tensors, loaded, components)]


def test_one_tensor_has_its_own_name():
    assert grouped(["a.0.b.weight"], ["a.0.c.weight"]) == [("a.0.b.weight", 1, False)]


def test_a_module_of_one_tensor_is_that_tensor():
    assert grouped(["head.weight"], ["a.weight"]) == [("head.weight", 1, False)]


def test_layers_are_grouped():
    names = [f"a.{n}.b.weight" for n in range(3)]
    assert grouped(names, [f"a.{n}.c.weight" for n in range(3)]) == [("a.*.b.weight", 3, False)]


def test_a_module_of_which_nothing_loads_is_one_mismatch():
    names = [f"tower.{n}.{part}" for n in range(3) for part in ("x", "y")]
    assert grouped(names, ["head.weight"]) == [("tower", 6, True)]


def test_a_wrong_shape_is_not_grouped_into_its_module():
    assert grouped(["t.a", "t.b"], [], kind="mismatched") == [("t.a", 1, False), ("t.b", 1, False)]


def test_components_are_not_grouped_together():
    components = (Component(Role.VISION_ENCODER, ("m.0",)), Component(Role.AUDIO_ENCODER, ("m.1",)))
    assert grouped(["m.0.w", "m.1.w"], ["m.0.v", "m.1.v"], components) == [
        ("m.0.w", 1, False),
        ("m.1.w", 1, False),
    ]


# --- an adapter's keys


@pytest.mark.parametrize(
    ("key", "module", "part"),
    [
        ("base_model.model.model.a.q_proj.lora_A.weight", "model.a.q_proj", "lora_A"),
        ("base_model.model.a.lora_B.default.weight", "a", "lora_B"),
        ("base_model.model.a.lora_B.bias", "a", "lora_B.bias"),
        ("base_model.model.a.lora_embedding_A", "a", "lora_embedding_A"),
        ("base_model.model.a.experts.base_layer.lora_A.weight", "a.experts", "lora_A"),
        ("base_model.model.a.hada_w1_a", "a", "hada_w1_a"),
        ("base_model.model.lm_head.weight", "", "lm_head.weight"),
        ("model.a.ia3_l", "model.a", "ia3_l"),
    ],
)
def test_an_adapters_key_is_split_into_module_and_part(key, module, part):
    (found,) = adapter_keys([key])
    assert (found.module, found.part) == (module, part)
