"""`table`: its formats, its columns, and one model that fails among others."""

import csv
import io
import json

import pytest

from tests.cli.program import LLAVA, MODULE, SCRIPT, call, cells, run, save
from vlm_inspect.app import requests
from vlm_inspect.render.columns import column_ids


@pytest.fixture
def models(here):
    """A model, one that is none, and another model."""
    return save(here, "first"), save(here, "broken", "[]"), save(here, "last")


def test_markdown_is_what_a_pipe_gets(here):
    answer = call("table", save(here, "model"))
    assert answer.stdout.startswith("| Model Name | Model Class |")
    assert answer == call("table", "model", "--format", "markdown")


def test_json_is_a_list_of_records(here):
    (record,) = call("table", save(here, "model"), "--format", "json").data
    assert record["schema_version"] == 1
    assert record["model"] == {"id": "model", "revision": None, "source": "local"}
    assert sum(part["parameters"] for part in record["components"]) == record["parameters"]["total"]


def test_json_has_a_short_option(here):
    model = save(here, "model")
    assert call("table", model, "--json") == call("table", model, "--format", "json")


def test_csv_has_a_row_per_model(here):
    answer = call("table", save(here, "model"), "--format", "csv", "--columns", "model,vision_layers")
    assert list(csv.reader(io.StringIO(answer.stdout))) == [
        ["Model Name", "Vision Layers"],
        ["model", "24 layers"],
    ]


def test_latex_is_a_tabular(here):
    answer = call("table", save(here, "a_model"), "--format", "latex", "--columns", "model,vision_layers")
    assert r"\begin{tabular}" in answer.stdout
    assert r"a\_model" in answer.stdout


def test_html_is_a_page(here):
    answer = call("table", save(here, "model"), "--format", "html")
    assert answer.stdout.startswith("<!doctype html>")
    assert answer.stdout.count("<tr") == 2


def test_terminal_is_legible_and_without_escapes_in_a_pipe(here):
    answer = call("table", save(here, "model"), "--format", "terminal")
    assert "  Vision Layers            24 layers\n" in answer.stdout
    assert "\x1b" not in answer.stdout


def test_output_goes_to_a_file_and_not_to_stdout(here):
    asked = ("table", save(here, "model"))
    answer = call(*asked, "--output", "table.md")
    assert (answer.code, answer.stdout, answer.stderr) == (0, "", "")
    assert (here / "table.md").read_bytes().decode() == call(*asked).stdout


@pytest.mark.parametrize("file", ["none/table.md", "."])
def test_output_that_cannot_be_written_is_an_error(here, file):
    answer = call("table", save(here, "model"), "--output", file)
    assert (answer.code, answer.stdout) == (2, "")
    assert "could not be written" in answer.stderr


def test_columns_are_those_named_in_their_order(here):
    answer = call("table", save(here, "model"), "--columns", "lm_head, model")
    assert cells(answer.stdout) == [["LM Head", "Model Name"], ["Linear(4096 -> 32000)", "`model`"]]


@pytest.mark.parametrize("columns", ["model,bogus", ""])
def test_an_unknown_column_is_refused_with_those_allowed_before_a_model_is_built(monkeypatch, columns):
    monkeypatch.setattr(requests, "table_rows", None)
    answer = call("table", "org/name", "--columns", columns)
    assert (answer.code, answer.stdout) == (2, "")
    assert "there is no column" in answer.stderr
    assert f"Choose from: {', '.join(column_ids())}" in answer.stderr


def test_columns_and_json_exclude_each_other():
    answer = call("table", "org/name", "--columns", "model", "--format", "json")
    assert (answer.code, answer.stdout) == (2, "")
    assert "--format json prints records" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["frob"], "No such command 'frob'"),
        (["table", "--frob"], "No such option: --frob"),
        (["table", "--format", "yaml"], "'yaml' is not one of 'terminal', 'markdown'"),
        (["show", ".", "--format", "csv"], "'csv' is not one of 'terminal', 'markdown', 'json', 'html'"),
        (["diff", ".", ".", "--format", "latex"], "is not one of 'terminal', 'markdown', 'json', 'html'"),
        (["tree", ".", "--format", "html"], "'html' is not one of 'terminal', 'markdown', 'json'."),
        (["verify", ".", "--format", "csv"], "'csv' is not one of 'terminal', 'markdown', 'json'."),
        (["doctor", "--format", "html"], "'html' is not one of 'terminal', 'markdown', 'json'."),
        (["check", "--format", "csv"], "'csv' is not one of 'terminal', 'markdown', 'json', 'github'"),
        (["table", "--json", "--format", "csv"], "--json is short for --format json"),
        (["table", "--kind", "other"], "'other' is not one of"),
        (["show"], "Missing argument 'MODEL'"),
        (["show", "not a model"], "neither a model on the Hub nor a path"),
        (["table", ""], "neither a model on the Hub nor a path"),
        (["table", "org/name@a", "--revision", "b"], "names revision 'a', and --revision says 'b'"),
        (["table", "--revision", "main"], "no model is named"),
        (["tree", ".", "--depth", "-1"], "--depth"),
        (["table", "org/name", "--write", "README.md"], "take their tables from the configuration"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_exit_2_and_says_what_is_wrong(arguments, sentence):
    answer = call(*arguments)
    assert (answer.code, answer.stdout) == (2, "")
    assert sentence in answer.stderr


def test_no_command_prints_the_help():
    answer = call()
    assert answer.code == 2
    assert "Usage: " in answer.stdout + answer.stderr
    assert "table" in answer.stdout + answer.stderr


def test_a_model_that_fails_leaves_the_others_printed_and_says_why_in_its_row(models):
    answer = call("table", *models, "--columns", "model,vision_layers,lm_head")
    assert answer.code == 3
    assert [row[0] for row in cells(answer.stdout)[1:]] == ["`first`", f"`{models[1]}`", "`last`"]
    assert cells(answer.stdout)[2][1].startswith("error: ")
    assert "holds a list, not an object" in cells(answer.stdout)[2][1]
    assert answer.stderr.count("error: ") == 1


def test_a_model_that_fails_keeps_its_place_in_json(models):
    answer = call("table", *models, "--format", "json")
    first, broken, last = answer.data
    assert answer.code == 3
    assert (first["model"]["id"], last["model"]["id"]) == ("first", "last")
    assert broken.keys() == {"model", "error"}
    assert broken["error"].keys() == {"type", "message", "hint"}
    assert broken["error"]["type"] == "InvalidConfigError"


def test_one_model_by_many_names_is_as_many_rows(here):
    model = save(here, "model")
    assert len(cells(call("table", model, model, "--columns", "model").stdout)) == 3


@pytest.mark.slow
def test_script_and_module_are_the_same_program(here):

    script, module = (run("--version", cwd=here, program=each) for each in (SCRIPT, MODULE))
    assert script == module
    assert script.stdout.startswith("vlm-inspect 0.")


def test_the_json_of_a_table_and_of_show_are_the_same_record(here):
    model = save(here, "model", json.dumps(LLAVA))
    assert call("table", model, "--format", "json").data == [call("show", model, "--format", "json").data]
