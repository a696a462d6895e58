"""`show` and `tree`: one model in full."""

import json

import pytest

from tests.builders import phi3_v
from tests.cli.program import LLAVA, call, save
from tests.published import GEMMA_3_4B


@pytest.fixture
def model(here):
    return save(here, "model")


@pytest.fixture
def tied(here):
    return save(here, "tied", GEMMA_3_4B)


def test_json_is_the_record_of_the_contract(tied):
    record = call("show", tied, "--format", "json").data
    assert record["schema_version"] == 1
    assert record["model"] == {"id": "tied", "revision": None, "source": "local"}
    assert (record["model_type"], record["model_class"]) == ("gemma3", "Gemma3ForConditionalGeneration")
    assert record["builder"] == "transformers"
    assert record["parameters"]["total"] == 4_300_079_472
    assert record["parameters"]["ties"] == [["model.language_model.embed_tokens.weight", "lm_head.weight"]]
    assert record["versions"].keys() >= {"transformers", "torch"}


def test_the_components_parameters_add_up_to_the_total(tied):
    record = call("show", tied, "--format", "json").data
    assert sum(part["parameters"] for part in record["components"]) == record["parameters"]["total"]
    assert {part["role"] for part in record["components"]} >= {
        "vision_encoder",
        "projector",
        "language_model",
    }
    assert all(part["paths"] and part["class_name"] for part in record["components"])


@pytest.mark.parametrize("form", ["terminal", "markdown", "html"])
def test_the_card_tells_the_parts_in_every_format(model, form):
    answer = call("show", model, "--format", form)
    assert (answer.code, answer.stderr) == (0, "")
    for part in ("CLIPVisionModel", "LlavaMultiModalProjector", "LlamaModel", "303,507,456"):
        assert part in answer.stdout


def test_the_terminals_card_has_a_bar_for_each_share(model):
    card = call("show", model, "--format", "terminal").stdout
    assert "█" in next(line for line in card.splitlines() if line.startswith("Language model  LlamaModel"))
    assert "24 x CLIPEncoderLayer" in card


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_explain_says_how_each_part_was_found(model, form):
    assert "by accessor" not in call("show", model, "--format", form).stdout
    assert "vision_encoder at model.vision_tower, by " in " ".join(
        call("show", model, "--format", form, "--explain").stdout.replace("`", "").split()
    )


def test_a_card_can_go_to_a_file(model, here):
    assert call("show", model, "--output", "card.md").stdout == ""
    assert (here / "card.md").read_text() == call("show", model).stdout


def test_a_model_without_a_native_class_and_headers_is_answered_from_its_configuration(here):
    answer = call("show", save(here, "phi", phi3_v.CONFIG), "--format", "json")
    assert answer.code == 0
    assert answer.data["builder"] == "config"
    assert answer.data["parameters"]["total"] is None
    assert answer.data["parameters"]["unknown"]["total"] == "remote code"


def test_a_tree_folds_repeated_layers_and_counts_each_node(model):
    lines = call("tree", model, "--format", "terminal").stdout.splitlines()
    assert any("(0-23): 24 x CLIPEncoderLayer(" in line and "302,309,376" in line for line in lines)
    assert lines[0].startswith("LlavaForConditionalGeneration(")
    assert lines[-1] == ")"


def test_a_tree_in_markdown_is_a_code_block(model):
    lines = call("tree", model).stdout.splitlines()
    assert (lines[0], lines[-1]) == ("```text", "```")


def test_depth_stops_below_the_root(model):
    lines = call("tree", model, "--format", "terminal", "--depth", "1").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "LlavaForConditionalGeneration(",
        "(model):",
        "(lm_head):",
        ")",
    ]


def test_focus_shows_one_module(model):
    answer = call("tree", model, "--format", "terminal", "--focus", "model.multi_modal_projector")
    assert answer.stdout.startswith("(model.multi_modal_projector): LlavaMultiModalProjector(")
    assert "vision_tower" not in answer.stdout


def test_an_unknown_focus_is_exit_2_with_close_matches(model):
    answer = call("tree", model, "--focus", "model.vision_towr")
    assert (answer.code, answer.stdout) == (2, "")
    assert "no module 'model.vision_towr'" in answer.stderr
    assert "model.vision_tower" in answer.stderr.replace("'model.vision_towr'", "")


def test_a_tree_as_data_adds_up(model):
    root = call("tree", model, "--format", "json").data

    def summed(node):
        own = sum(_product(shape) for shape in node["own_parameters"].values())
        return node["count"] * (own + sum(map(summed, node["children"]))) if node["children"] else node["parameters"]

    assert summed(root) == root["parameters"]


def test_a_model_that_is_not_built_has_no_tree_and_says_what_to_type(here):
    answer = call("tree", save(here, "phi", phi3_v.CONFIG))
    assert (answer.code, answer.stdout) == (3, "")
    assert "there is no module tree: Phi3VForCausalLM is code of its own repo" in answer.stderr
    assert "answer is from" not in answer.stderr
    assert "vlm-inspect show " in answer.stderr


def test_a_config_json_and_its_folder_are_the_same_model(model):
    asked = ("show", "--format", "json")
    assert call(*asked, model) == call(*asked, model / "config.json")


def _product(shape):
    answer = 1
    for side in shape:
        answer *= side
    return answer


def test_the_record_of_a_model_names_no_place_of_this_machine(model):
    record = call("show", model, "--format", "json").stdout
    assert str(model.parent) not in record
    assert json.loads(record)["model"]["id"] == "model"
    assert LLAVA["model_type"] in record
