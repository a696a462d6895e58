"""`diff`: arguments, exit codes, formats and imports."""

import json
import sys

import pytest

from tests.builders import phi3_v
from tests.cli.program import LLAVA, call, cells, run, save
from vlm_inspect.app import pipeline
from vlm_inspect.storage import snapshots

WIDER = {**LLAVA, "text_config": {"model_type": "llama", "vocab_size": 32064, "intermediate_size": 13824}}
CLIP, SIGLIP = "TIGER-Lab/Mantis-8B-clip-llama3", "TIGER-Lab/Mantis-8B-siglip-llama3"


@pytest.fixture
def two(here):
    """Two models that differ in the language model's MLP alone."""
    return save(here, "one", LLAVA | {"text_config": WIDER["text_config"] | {"intermediate_size": 11008}}), save(
        here, "two", WIDER
    )


def test_the_same_model_twice_is_no_difference(two):
    answer = call("diff", two[0], two[0], "--format", "terminal")
    assert (answer.code, answer.stdout) == (0, "No difference.\n")


def test_a_difference_exits_1_and_names_what_differs(two):
    answer = call("diff", *two)
    assert answer.code == 1
    assert "**1 changed, 0 moved, 0 added, 0 removed**" in answer.stdout
    assert cells(answer.stdout)[1] == ["Language model", "MLP hidden width", "11008", "13824"]


def test_exit_zero(two):
    assert call("diff", *two, "--exit-zero").code == 0


def test_names_only(two):
    answer = call("diff", *two, "--names-only")
    assert (answer.code, answer.stdout) == (1, "language_model.MLP hidden width\n")
    assert call("diff", two[0], two[0], "--names-only").stdout == ""


def test_names_only_rejects_a_format(two):
    answer = call("diff", *two, "--names-only", "--format", "json")
    assert (answer.code, answer.stdout) == (2, "")


def test_only_some_roles(two):
    assert call("diff", *two, "--only", "vision_encoder").code == 0
    answer = call("diff", *two, "--only", "vision_encoder", "--only", "language_model", "--format", "json")
    assert answer.code == 1
    assert {pair["role"] for pair in answer.data["pairs"]} == {"vision_encoder", "language_model"}
    assert call("diff", *two, "--only", "tower").code == 2


def test_the_two_directions_mirror_each_other(two):
    there = call("diff", *two, "--format", "json").data
    back = call("diff", *reversed(two), "--format", "json").data
    assert [(c["field"], c["before"], c["after"]) for c in there["changes"]] == [
        (c["field"], c["after"], c["before"]) for c in back["changes"]
    ]
    assert (there["before"], there["total_before"]) == (back["after"], back["total_after"])


@pytest.mark.parametrize("name", ["html", "terminal", "markdown"])
def test_every_format(two, name):
    answer = call("diff", *two, "--format", name)
    assert answer.code == 1
    assert "MLP hidden width" in answer.stdout


def test_output_to_a_file(two, here):
    answer = call("diff", *two, "--output", here / "diff.md")
    assert (answer.code, answer.stdout) == (1, "")
    assert "13824" in (here / "diff.md").read_text()


@pytest.mark.parametrize("place", [0, 1])
def test_a_model_that_cannot_be_inspected_exits_3(two, here, place):
    models = list(two)
    models[place] = save(here, "broken", "[]")
    answer = call("diff", *models)
    assert (answer.code, answer.stdout) == (3, "")
    assert "broken" in answer.stderr


@pytest.mark.usefixtures("here")
def test_catalogue_models_need_no_hub():
    answer = call("diff", CLIP, SIGLIP, "--offline", "--format", "json")
    assert answer.code == 1
    found = {(change["field"], str(change["before"]), str(change["after"])) for change in answer.data["changes"]}
    assert found >= {("layers", "24", "27"), ("positions", "577", "729"), ("input width", "1024", "1152")}


def test_unknown_facts_of_two_configurations_are_not_equal(here):
    phi = save(here, "phi", phi3_v.CONFIG)
    found = call("diff", phi, phi, "-q").stdout.splitlines()[-1]
    assert found == "No difference. 24 facts could not be compared (remote code)."


@pytest.mark.usefixtures("here")
def test_revisions_of_one_model(hub):
    first = hub.add_model("org/model", {"config.json": json.dumps(LLAVA).encode()})
    second = hub.add_model("org/model", {"config.json": json.dumps(WIDER).encode()})
    answer = call("diff", f"org/model@{first}", f"org/model@{second}", "--format", "json")
    assert answer.code == 1
    assert (answer.data["before"]["revision"], answer.data["after"]["revision"]) == (first, second)


@pytest.mark.slow
def test_two_snapshot_files_are_compared_without_torch(two, here):
    files = []
    for model in two:
        files.append(here / f"{model.name}.json")
        files[-1].write_text(snapshots.to_text(pipeline.take_snapshot(str(model)).stored))
    script = (
        "import sys\n"
        "from vlm_inspect.cli.main import program\n"
        "try:\n"
        f"    program()(['diff', {str(files[0])!r}, {str(files[1])!r}])\n"
        "finally:\n"
        "    assert not {'torch', 'transformers', 'huggingface_hub'} & {*sys.modules}, 'imported'\n"
    )
    answer = run("-c", script, cwd=here, program=(sys.executable,))
    assert answer.code == 1
    assert "13824" in answer.stdout


def test_help_lists_options_and_roles():
    answer = call("diff", "--help")
    assert answer.code == 0
    assert "--names-only" in answer.stdout
    assert "vision_encoder" in answer.stdout
