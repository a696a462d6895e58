"""The configuration as the commands use it."""

import pytest

from tests.cli.program import call, cells, save

CONFIGURATION = """
[[models]]
id = "./model"
alias = "Mine"
[models.facts]
fine_tuning = "By hand"
"""


@pytest.fixture
def project(here):
    save(here, "model")
    (here / "pyproject.toml").write_text(CONFIGURATION.replace("models", "tool.vlm-inspect.models"))
    return here


def test_it_is_found_upward_and_its_paths_are_its_own(project, monkeypatch):
    below = project / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    answer = call("table", "--columns", "model,vision_layers")
    assert cells(answer.stdout)[1:] == [["`Mine`", "24 layers"]]


@pytest.mark.usefixtures("project")
def test_an_alias_is_a_name_for_the_model():
    assert cells(call("table", "Mine", "--columns", "model").stdout)[1:] == [["`Mine`"]]


@pytest.mark.usefixtures("project")
def test_an_alias_is_a_name_for_show_and_tree_too():
    assert call("show", "Mine").stdout.startswith("### Mine\n")
    assert call("show", "Mine", "--format", "json").data["model"]["id"] == "model"
    assert call("tree", "Mine", "--depth", "0").code == 0


@pytest.mark.usefixtures("project")
def test_a_stated_fact_is_shown():
    answer = call("table", "--kind", "comparison", "--columns", "model,fine_tuning")
    assert cells(answer.stdout)[1:] == [["Mine", "By hand"]]
    assert answer.stderr == ""


def test_a_fact_that_the_model_contradicts_is_not_shown_and_warned_of(project):
    with (project / "pyproject.toml").open("a") as file:
        file.write('parameters = "13B"\n')
    answer = call("table", "--kind", "comparison", "--columns", "model,parameters", "-q")
    assert answer.code == 0
    assert cells(answer.stdout)[1:] == [["Mine", "7.06B"]]
    assert answer.stderr == "warning: Mine: stated # of Parameters '13B', the model has 7.06B\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'modls = ["x"]',
            'vlm-inspect.toml: modls: unknown key "modls". Allowed: snapshots, files, models, tables',
        ),
        (
            '[[models]]\nid = "a/b"\nrevison = "x"',
            'models[0].revison: unknown key "revison". Allowed: id, revision',
        ),
        (
            '[[models]]\nid = "a/b"\n[models.facts]\nage = 3',
            'facts.age: unknown fact "age". Allowed: parameters',
        ),
        ('[tables.t]\ncolumns = ["lm_hed"]', 'unknown column "lm_hed". Allowed: model, model_class'),
        ("files = 3", "files: expected `array`, got `int`"),
        ("files = [", "is not valid TOML"),
    ],
    ids=["key", "key of a model", "fact", "column", "type", "syntax"],
)
def test_what_is_wrong_in_it_is_exit_2_and_names_file_key_and_what_is_allowed(here, text, sentence):
    (here / "vlm-inspect.toml").write_text(text)
    answer = call("table")
    assert (answer.code, answer.stdout) == (2, "")
    assert "vlm-inspect.toml" in answer.stderr
    assert sentence in answer.stderr


def test_another_file_can_be_named(project):
    (project / "other.toml").write_text('[[models]]\nid = "./model"\nalias = "Other"\n')
    answer = call("table", "--config", "other.toml", "--columns", "model")
    assert cells(answer.stdout)[1:] == [["`Other`"]]


def test_a_named_file_that_is_not_there_is_exit_2():
    answer = call("table", "--config", "none.toml")
    assert (answer.code, answer.stdout) == (2, "")
    assert "none.toml" in answer.stderr
