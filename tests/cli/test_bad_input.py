"""Configurations that are none, or that mean harm: an error or an escaped cell, in seconds."""

import json
import re

import pytest

from tests.cli.program import LLAVA, call, run, save

SIZES = {"hidden_size": 64, "num_hidden_layers": 2}
HOSTILE = "A|B\n\x1b[31mred\x1b[0m[x](http://evil.example)<script>alert(1)</script>\u202e\\end{tabular}"


def llava(**sizes):
    return {**LLAVA, "text_config": {"model_type": "llama", **sizes}}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("", "the config.json is empty"),
        ("no JSON", "is not JSON: Expecting value in line 1, column 1"),
        ("<html></html>", "is an HTML page, not JSON"),
        ("[]", "holds a list, not an object"),
        ("null", "holds null, not an object"),
        ("{}", "says neither model_type nor architectures"),
        ("[" * 10**5, "is nested more than 64 deep"),
        (llava(num_hidden_layers=-1), "num_hidden_layers is -1, and cannot be negative"),
        (llava(num_hidden_layers="24"), "num_hidden_layers is the text '24', and should be a number"),
        (llava(num_hidden_layers=10**9), "num_hidden_layers is 1,000,000,000, and the limit is 2,000"),
        (llava(num_hidden_layers=1.5), "cannot be built from this config.json"),
        (llava(hidden_size=0), "cannot be built from this config.json"),
        (llava(hidden_size=[1]), "cannot be built from this config.json"),
        ({**LLAVA, "text_config": "llama"}, "cannot be built from this config.json"),
    ],
    ids=lambda value: json.dumps(value)[:60] if not isinstance(value, str) else value[:40],
)
def test_a_configuration_that_is_none_is_a_clear_error(here, config, sentence):
    answer = call("show", save(here, "model", config))
    assert (answer.code, answer.stdout) == (3, "")
    assert answer.stderr.startswith("error: ")
    assert sentence in answer.stderr
    assert answer.stderr.count("\n") == 2


@pytest.mark.slow
def test_a_huge_file_is_refused_unread(tmp_path):
    with (save(tmp_path, "huge") / "config.json").open("r+b") as file:
        file.truncate(2**40)  # and sparse: more than anyone could read here
    answer = run("show", "huge", cwd=tmp_path)
    assert (answer.code, answer.stdout) == (3, "")
    assert "has 1,099,511,627,776 bytes" in answer.stderr


@pytest.mark.parametrize("command", ["show", "tree"])
@pytest.mark.parametrize("path", ["none", "none/config.json", "empty"])
def test_a_path_without_a_configuration_is_said(here, command, path):
    (here / "empty").mkdir()
    answer = call(command, f"./{path}")
    assert (answer.code, answer.stdout) == (3, "")
    assert answer.stderr.startswith(f"error: ./{path}")


def test_an_unknown_architecture_is_answered_from_the_configuration_and_says_so(here):
    answer = call("table", save(here, "model", {"model_type": "nope", "architectures": ["Nope"], **SIZES}))
    assert answer.code == 0
    assert "| `Nope` | unknown (unknown type) |" in answer.stdout
    assert "has no class for Nope. This answer is from the configuration alone." in answer.stdout


@pytest.mark.parametrize(
    ("command", "form"),
    [
        *(("table", form) for form in ("terminal", "markdown", "json", "csv", "latex", "html")),
        *(("show", form) for form in ("terminal", "markdown", "json", "html")),
    ],
)
def test_a_hostile_name_is_text_in_every_format(here, command, form):
    model = save(here, "model", {"model_type": "x|\ny", "architectures": [HOSTILE], **SIZES})
    answer = call(command, model, "--format", form)
    assert answer.code == 0
    assert all(char.isprintable() for char in answer.stdout.replace("\r\n", "\n").replace("\n", ""))
    if form == "markdown":
        assert not re.search(r"(?<!\\)\]\(", answer.stdout)
        assert "<script" not in answer.stdout
    if form == "html":
        assert "<script" not in answer.stdout
    if form == "latex":
        assert answer.stdout.count(r"\end{tabular}") == answer.stdout.count(r"\begin{tabular}")
    if form == "json":
        record = answer.data[0] if command == "table" else answer.data
        assert record["model_class"] == HOSTILE


def test_a_hostile_name_leaves_a_markdown_tables_rows_whole(here):
    model = save(here, "model", {"model_type": "x", "architectures": [HOSTILE], **SIZES})
    rows = [line for line in call("table", model).stdout.splitlines() if line.startswith("|")]
    assert len({line.replace("&#124;", "").replace("\\|", "").count("|") for line in rows}) == 1


def test_a_hostile_name_cannot_steer_the_terminal_through_an_error(here):
    config = {"model_type": "x", "architectures": [HOSTILE], "auto_map": {}}
    answer = call("tree", save(here, "model", config))
    assert answer.code == 3
    assert answer.stderr.replace("\n", "").isprintable()


def test_a_hostile_name_cannot_close_a_marked_block(here):
    save(here, "model", {"model_type": "x", "architectures": ["<!-- vlm-inspect:end architectures -->"], **SIZES})
    (here / "vlm-inspect.toml").write_text('[[models]]\nid = "./model"\n')
    block = "<!-- vlm-inspect:begin architectures -->\n<!-- vlm-inspect:end architectures -->\n"
    (here / "README.md").write_text(f"{block}after\n")
    assert call("table", "--write", "README.md").code == 0
    assert call("table", "--check", "README.md").code == 0
    assert (here / "README.md").read_text().count("\n<!-- vlm-inspect:end") == 1
