"""Configurations that ask for too much: refused by a stated limit, whoever builds, before anything is."""

import json
import sys

import pytest

from tests import sparse
from tests.cli.program import call, run, save

LLAVA = {
    "model_type": "llava",
    "architectures": ["LlavaForConditionalGeneration"],
    "auto_map": {"AutoModel": "modeling.Model"},
}
DEEP = '{"model_type": "llava", "x": ' + "[" * 10**4 + "]" * 10**4 + "}"
DIGITS = json.dumps(LLAVA)[:-1] + ', "vocab_size": ' + "9" * 10**5 + "}"
TOO_MUCH = {
    "10^6 layers": (
        {"text_config": {"num_hidden_layers": 10**6}},
        "num_hidden_layers is 1,000,000, and the limit is 2,000",
    ),
    "10^6 layers of a tower": (
        {"vision_config": {"num_hidden_layers": 10**6}},
        "num_hidden_layers is 1,000,000, and the limit is 2,000",
    ),
    "a huge embedding": (
        {"text_config": {"vocab_size": 10**12}},
        "vocab_size is 1,000,000,000,000, and the limit is 1,000,000,000",
    ),
    "an endless width": (
        {"text_config": {"hidden_size": float("inf")}},
        "hidden_size is inf, and the limit is 1,000,000,000",
    ),
    "a width that is no number": ({"text_config": {"hidden_size": float("nan")}}, "hidden_size is nan, and the limit"),
    "a list": ({"layer_types": [0] * 400_001}, "the config.json holds more than 400,000 values"),
    "a text": ({"name": "x" * 10**6}, "the config.json holds a text of 1,000,000 characters"),
    "a name": ({"architectures": ["x" * 10**4]}, "architectures has a name of 10,000 characters"),
    "10^4 deep": (DEEP, "the config.json is nested more than 64 deep"),
    "10^5 digits": (DIGITS, "the config.json holds a number that is too long"),
    "4,000 digits": (
        {"bos_token_id": 10**4_000},
        "the config.json holds a number that is too long",
    ),
    "UTF-16": ("\ufeff" + json.dumps(LLAVA), "the config.json is not UTF-8 text"),
}

LABELS = {
    "a million labels": ({"num_labels": 10**6}, "num_labels is 1,000,000, and the limit is 100,000"),
    "a map of labels": ({"id2label": dict.fromkeys(range(100_001), "x")}, "id2label has 100,001 entries"),
}
# LLaVA's classes read none of these
UNREAD = {
    "stages of another tower": {"depths": [2, 10**6]},
    "experts of a dense model": {"text_config": {"num_experts": 10**9}},
    "a size of a trainer": {"my_trainer": {"num_layers": "2", "max_size": 10**12, "depth": -1}},
    "sizes outside of their section": {"vocab_size": 10**12, "hidden_size": "4096", "num_hidden_layers": -1},
}


def hostile(folder, config):
    """A whole model's folder, but for its configuration."""
    place = save(folder, "model", LLAVA)
    sparse.write(place / "model.safetensors", {"model.embed_tokens.weight": (8, 4), "lm_head.weight": (8, 4)})
    (place / "modeling.py").write_text("raise SystemExit('this code must not run')\n")
    text = config if isinstance(config, str) else json.dumps({**LLAVA, **config})
    (place / "config.json").write_bytes(text.encode("utf-16" if text.startswith("\ufeff") else "utf-8"))
    return place


@pytest.mark.parametrize("builder", ["transformers", "remote-code", "header", "config"])
@pytest.mark.parametrize(("config", "sentence"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_every_builder_refuses_what_asks_for_too_much(here, config, sentence, builder):
    model = hostile(here, config)
    answer = call("show", model, "--builder", builder, "--trust-remote-code")
    assert (answer.code, answer.stdout) == (3, "")
    assert answer.stderr.startswith("error: ")
    assert sentence in answer.stderr
    assert len(answer.stderr) < 500


@pytest.mark.parametrize("builder", ["transformers", "remote-code"])
@pytest.mark.parametrize(("config", "sentence"), LABELS.values(), ids=LABELS)
def test_every_class_refuses_too_many_labels(here, config, sentence, builder):
    answer = call("show", hostile(here, config), "--builder", builder, "--trust-remote-code")
    assert (answer.code, answer.stdout) == (3, "")
    assert sentence in answer.stderr


@pytest.mark.parametrize("config", UNREAD.values(), ids=UNREAD)
def test_a_size_that_no_class_reads_refuses_nothing(here, config):
    total = call("show", hostile(here, {}), "--format", "json").data["parameters"]["total"]
    answer = call("show", hostile(here, config), "--format", "json")
    assert answer.data["parameters"]["total"] == total


def test_a_size_of_a_part_that_no_builder_reads_refuses_nothing(here):
    config = {"model_type": "foo", "architectures": ["FooForCausalLM"], "hidden_size": 256, "num_hidden_layers": 2}
    model = save(here, "foo", {**config, "audio_config": {"speech_vocab_size": "1280", "codebook_size": 10**12}})
    assert call("show", model, "--format", "json").data["model_class"] == "FooForCausalLM"


@pytest.mark.parametrize("command", ["table", "show", "tree", "verify", "snapshot", "diff"])
def test_every_command_refuses_what_asks_for_too_much(here, command):
    model = hostile(here, {"text_config": {"num_hidden_layers": 10**6}})
    answer = call(command, model, *([model] if command == "diff" else []))
    assert answer.code == 3
    assert "num_hidden_layers is 1,000,000, and the limit is 2,000" in answer.stderr
    assert not (here / "snapshots").exists() or not list((here / "snapshots").iterdir())


@pytest.mark.slow
def test_neither_torch_nor_transformers_is_imported_to_refuse(tmp_path):
    model = hostile(tmp_path, {"text_config": {"num_hidden_layers": 10**6}})
    code = "import sys; from vlm_inspect.cli.main import main\ntry: main()\nfinally: print(*sys.modules)"
    answer = run("-c", code, "show", model, "--builder", "config", cwd=tmp_path, program=(sys.executable,))
    assert answer.code == 3
    assert not {"torch", "transformers", "accelerate"} & set(answer.stdout.split())


@pytest.mark.parametrize("builder", ["transformers", "header", "config"])
@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + json.dumps({"model_type": "x", "architectures": ["NoModel"], "num_layers": 2}),
        '{"model_type": "y", "architectures": ["NoModel"], "model_type": "x", "num_layers": 2}',
        '{"model_type": "x", "architectures": ["NoModel"], "num_layers": 2, "scale": NaN, "limit": -Infinity}',
    ],
    ids=["a byte order mark", "keys twice, of which the last counts", "NaN where it does no harm"],
)
def test_what_transformers_reads_is_read(here, text, builder):
    model = hostile(here, {})
    (model / "config.json").write_text(text, encoding="utf-8")
    answer = call("show", model, "--builder", builder, "--format", "json")
    if builder == "transformers":
        assert "has no class for NoModel" in answer.stderr
    else:
        assert answer.data["model_type"] == "x"
