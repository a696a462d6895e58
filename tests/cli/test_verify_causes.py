"""`vlm-inspect verify`: one sentence for what explains many mismatches, and one for the head."""

import itertools
import logging

import pytest
import transformers

from tests import checkpoints, sparse
from tests.app.test_ties import EMBEDDING, LAYOUT_2024, LEVELS, MISTRAL3, stating, tensors_of
from tests.cli.program import call
from tests.cli.test_verify import experts, verify
from tests.cli.test_verify_adapter import LLAVA, bases, lora, save  # noqa: F401 - a fixture

HEAD = "lm_head.weight"


@pytest.fixture(scope="module")
def tensors():
    return checkpoints.tensors_of(LLAVA)


def causes(tmp_path, stored, config=LLAVA):
    answer = verify(checkpoints.save(tmp_path / "m", config, stored))
    assert answer.code == 1
    return answer.data.get("causes", []), answer.data


# --- prefixes and wrappers


@pytest.mark.parametrize(
    ("prefix", "layout"),
    [
        *itertools.product(["base_model.model.", "module.", "_orig_mod.", "a.b.c.d."], [{}, LAYOUT_2024]),
        # the loader accepts a part of the layout of 2024 under this prefix
        ("model.model.", {}),
    ],
)
def test_a_left_over_prefix_is_one_sentence(tmp_path, tensors, prefix, layout):
    names = {f"{prefix}{name}": shape for name, shape in checkpoints.renamed(tensors, layout).items()}
    (cause,), data = causes(tmp_path, names)
    assert cause.startswith(f"All {len(tensors)} names fit without the leading prefix '{prefix}'")
    assert {each["path"] for each in data["mismatches"]} == {
        *("model.vision_tower", "model.multi_modal_projector", "model.language_model", HEAD)
    }
    assert "head" not in data


@pytest.mark.parametrize(
    "wrapper", ["_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_orig_mod", "base_layer", "original_module"]
)
def test_a_wrapper_inside_of_the_names_is_one_sentence(tmp_path, tensors, wrapper):
    names = {name.replace(".layers.1.", f".layers.1.{wrapper}."): shape for name, shape in tensors.items()}
    changed = len(names.keys() - tensors.keys())
    (cause,), _ = causes(tmp_path, names)
    assert cause.startswith(f"All {changed} unexpected names fit without the wrapper's name '{wrapper}'")


def test_a_wrapper_of_one_part_is_a_sentence_with_its_count(tmp_path, tensors):
    names = {name.replace("model.vision", "clip.model.vision"): shape for name, shape in tensors.items()}
    tower = len(names.keys() - tensors.keys())
    (cause,), data = causes(tmp_path, {**names, "talker.weight": (3, 3)})
    assert cause.startswith(f"{tower} of the {tower + 1} unexpected names fit without the leading prefix 'clip.'")
    assert data["counts"]["missing"] == tower


def test_names_that_fit_no_part_have_no_cause(tmp_path):
    assert causes(tmp_path, {"unet.down.0.conv.weight": (3, 3), "unet.up.0.conv.weight": (3, 3)})[0] == []


@pytest.mark.parametrize("prefix", ["model.", ""])
def test_a_prefix_that_the_loader_accepts_is_no_mismatch(tmp_path, tensors, prefix):
    folder = checkpoints.save(tmp_path / "m", LLAVA, {f"{prefix}{name}": shape for name, shape in tensors.items()})
    assert verify(folder).code == 0


# --- empty tensors


@pytest.mark.parametrize("part", ["", "language_model", "layers.1.self_attn", "embed_tokens"])
def test_empty_tensors_are_one_sentence(tmp_path, tensors, part):
    names = {name: (0,) if part in name else shape for name, shape in tensors.items()}
    count = sum(1 for shape in names.values() if shape == (0,))
    (cause,), data = causes(tmp_path, names)
    assert cause.startswith("1 tensor is empty" if count == 1 else f"{count} tensors are empty")
    assert "ZeRO-3" in cause
    assert data["counts"] == {"missing": 0, "unexpected": 0, "mismatched": count}
    if part in {"", "language_model"}:
        language = next(each for each in data["mismatches"] if each["role"] == "language_model")
        assert (language["path"], language["reason"]) == ("model.language_model", "empty in the checkpoint")


# --- experts


@pytest.mark.parametrize(("expert", "name"), [(5, "up_proj"), (0, "gate_proj"), (7, "down_proj")])
def test_a_lost_expert_tensor_is_named(tmp_path, expert, name):
    config, stored = experts(8)
    del stored[f"model.language_model.layers.1.mlp.experts.{expert}.{name}.weight"]
    (cause,), data = causes(tmp_path, stored, config)
    assert cause == f"experts.{expert}.{name} of layer 1 is missing."
    assert data["counts"] == {"missing": 1, "unexpected": 0, "mismatched": 0}
    (misfit,) = data["mismatches"]
    assert misfit["key"] == f"model.language_model.layers.1.mlp.experts.{expert}.{name}.weight"
    assert misfit["role"] == "language_model"


def test_a_lost_expert_is_named_with_the_number_of_its_tensors(tmp_path):
    config, stored = experts(8)
    lost = [name for name in stored if "layers.0.mlp.experts.3." in name]
    (cause,), data = causes(tmp_path, {name: shape for name, shape in stored.items() if name not in lost}, config)
    assert cause == "experts.3.gate_proj of layer 0 is missing, and 2 more."
    assert {each["key"] for each in data["mismatches"]} == set(lost)


def test_another_number_of_experts_is_no_loss(tmp_path):
    config, _ = experts(8)
    found, data = causes(tmp_path, experts(4)[1], config)
    assert found == []
    assert data["counts"]["missing"] == 0
    assert data["counts"]["mismatched"] > 0


# --- vocabulary


@pytest.mark.parametrize("size", [130, 64])
def test_a_resized_vocabulary_is_named_with_both_sizes(tmp_path, tensors, size):
    names = {
        name: (size, *shape[1:]) if shape[0] == 128 and "mlp" not in name else shape for name, shape in tensors.items()
    }
    (cause,), data = causes(tmp_path, names)
    assert f"vocabulary has {size} tokens, and that of the model 128" in cause
    assert "Correct text_config.vocab_size" in cause
    assert data["counts"]["mismatched"] == 2


def test_a_tied_vocabulary_is_named_once(tmp_path):
    config = stating(MISTRAL3, top=True)
    stored = tensors_of(MISTRAL3, head=False)
    stored["language_model.model.embed_tokens.weight"] = (104, 32)
    (cause,), _ = causes(tmp_path, stored, config)
    assert "has 104 tokens, and that of the model 100" in cause


def test_a_model_of_another_width_is_no_resized_vocabulary(tmp_path, tensors):
    names = {name: (130, 80) if name in {HEAD, EMBEDDING} else shape for name, shape in tensors.items()}
    assert causes(tmp_path, names)[0] == []


# --- adapters


def adapter(folder, stored, **config):
    answer = call("verify", save(folder, stored, **config), "--format", "json")
    assert answer.code == 1
    return answer.data["causes"]


def test_an_adapter_of_another_class_is_named(bases):  # noqa: F811
    (cause,) = adapter(bases, lora("model"), targets=["q_proj"])
    assert "None of its 4 tensors is for a module of LlavaForConditionalGeneration" in cause


def test_the_class_that_an_adapter_was_made_for_is_named(bases):  # noqa: F811
    mapping = {"base_model_class": "MllamaForConditionalGeneration", "parent_library": "transformers"}
    first, _ = adapter(bases, lora("model"), targets=["q_proj"], auto_mapping=mapping)
    assert first.startswith("The adapter was made for MllamaForConditionalGeneration, and the base model is Llava")


def test_an_adapter_of_another_size_is_named(bases):  # noqa: F811
    (cause,) = adapter(bases, lora("model.language_model", into=96, out=96))
    assert cause.startswith("None of its shapes fits: its base is of other sizes (4 x 96 and 4 x 64 at ")


def test_another_base_than_the_configured_one_is_named(bases):  # noqa: F811
    folder = save(bases, lora("model"), base="org/other", targets=["q_proj"])
    answer = call("verify", folder, "--base", "./llava", "--format", "json")
    assert answer.data["causes"][0] == "adapter_config.json names org/other as its base model, and here it is llava."


@pytest.mark.parametrize("prefix", ["base_model.model.", "module."])
def test_a_doubled_prefix_of_an_adapter_is_named(bases, prefix):  # noqa: F811
    stored = {
        f"base_model.model.{prefix}{name.removeprefix('base_model.model.')}": shape
        for name, shape in lora("model.language_model").items()
    }
    (cause,) = adapter(bases, stored)
    assert cause.startswith(f"All 4 names fit without the leading prefix '{prefix}'")


def test_empty_tensors_of_an_adapter_are_one_sentence(bases):  # noqa: F811
    (cause,) = adapter(bases, dict.fromkeys(lora("model.language_model"), (0,)))
    assert cause.startswith("4 tensors are empty in the file")


def test_an_adapter_that_fits_has_no_cause(bases):  # noqa: F811
    folder = save(bases, lora("model.language_model"), auto_mapping={"base_model_class": "Other"}, base="./llava")
    assert "causes" not in call("verify", folder, "--format", "json").data


# --- the head


def loads_head(tmp_path, config, stored):
    """Whether the loader says that the head is missing, and whether it ties it, with real weights."""
    import torch
    from safetensors.torch import save_file

    folder = checkpoints.save(tmp_path / "real", config, {})
    state = {name: torch.full(shape, float(number)) for number, (name, shape) in enumerate(stored.items())}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    transformers.utils.logging.set_verbosity(logging.CRITICAL)
    model, info = transformers.Mistral3ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    return HEAD in info["missing_keys"], model.lm_head.weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize(("top", "text"), LEVELS)
def test_the_head_is_what_the_loader_makes_of_it(tmp_path, top, text, head):
    config, stored = stating(MISTRAL3, top=top, text=text), tensors_of(MISTRAL3, head=head)
    is_new, is_tied = loads_head(tmp_path, config, stored)
    answer = verify(checkpoints.save(tmp_path / "m", config, stored))
    sentence = answer.data.get("head", "")
    assert ("does not tie it: the loader initializes it newly" in sentence) == is_new
    assert (f"{HEAD} is not stored: the loader ties it to {EMBEDDING}" in sentence) == is_tied
    # these values differ
    assert ("else it warns" in sentence) == (head and top is not False)
    assert answer.code == (1 if is_new else 0)


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_every_format_has_the_head_and_the_causes(tmp_path, form):
    config, stored = stating(MISTRAL3, top=False), tensors_of(MISTRAL3, head=False)
    folder = checkpoints.save(tmp_path / "m", config, dict.fromkeys(stored, (0,)))
    text = " ".join(call("verify", folder, "--format", form).stdout.split())
    assert "ZeRO-3" in text
    assert "initializes it newly" in text


def test_a_head_without_its_embedding_is_tied_the_other_way(tmp_path):
    stored = tensors_of(MISTRAL3, head=True)
    del stored["language_model.model.embed_tokens.weight"]
    sparse.write(checkpoints.save(tmp_path, stating(MISTRAL3, top=True), stored) / "model.safetensors", stored)
    answer = verify(tmp_path)
    assert answer.data["head"] == f"{EMBEDDING} is not stored: the loader ties it to {HEAD}."
    assert answer.code == 0
