"""Snapshots of models of which the checkpoint decides the ties: compared on the same evidence, never made poorer."""

import json

import pytest

from tests import checkpoints
from tests.app.test_ties import HEAD, MISTRAL3, tensors_of
from tests.cli.program import call
from vlm_inspect.storage import snapshots


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "vlm-inspect.toml").write_text('[[models]]\nid = "./m"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_model(project, config=MISTRAL3, *, head=None):
    """The model with a head in its checkpoint, without one, or (None) without a checkpoint."""
    checkpoints.save(project / "m", config, tensors_of(MISTRAL3, head=bool(head)))
    if head is None:
        (project / "m" / "model.safetensors").unlink()


def stored(project):
    (path,) = (project / "snapshots").glob("*.json")
    return snapshots.read(path).snapshot.architecture.parameters


@pytest.mark.parametrize(("before", "after"), [(True, None), (None, True), (False, None), (None, False)])
def test_other_evidence_is_no_difference(project, before, after):
    write_model(project, head=before)
    assert call("snapshot").code == 0
    write_model(project, head=after)
    answer = call("check", "--format", "terminal")
    assert (answer.code, answer.stdout) == (0, "1 model: 1 unchanged\n")
    assert "note: ./m: the checkpoint decided whether the head is tied" in answer.stderr


def test_the_same_evidence_is_compared(project):
    write_model(project, head=True)
    assert call("snapshot").code == 0
    write_model(project, head=False)
    answer = call("check", "--format", "terminal")
    assert answer.code == 1
    assert "lm_head" in answer.stdout


@pytest.mark.parametrize(("before", "after"), [(True, None), (None, True)])
def test_another_change_is_a_difference_on_any_evidence(project, before, after):
    write_model(project, head=before)
    assert call("snapshot").code == 0
    text = {**MISTRAL3["text_config"], "intermediate_size": 128}
    write_model(project, {**MISTRAL3, "text_config": text}, head=after)
    answer = call("check", "--format", "terminal")
    assert answer.code == 1
    assert "MLP hidden width 64 → 128" in answer.stdout
    assert "lm_head" not in answer.stdout


def test_an_update_keeps_what_the_checkpoint_decided(project):
    write_model(project, head=True)
    assert call("snapshot").code == 0
    total = stored(project).total
    text = {**MISTRAL3["text_config"], "intermediate_size": 128}
    write_model(project, {**MISTRAL3, "text_config": text})
    assert call("check", "--update").code == 0
    assert (stored(project).ties, stored(project).uncertain) == ((), None)
    assert stored(project).total > total
    assert call("check").code == 0


def test_a_snapshot_without_evidence_gets_it(project):
    write_model(project)
    assert call("snapshot").code == 0
    total = stored(project).total
    assert stored(project).uncertain
    write_model(project, head=True)
    assert call("snapshot").code == 0
    assert (stored(project).uncertain, stored(project).total) == (None, total + HEAD)


def test_a_snapshot_with_evidence_stays_if_nothing_else_changed(project):
    write_model(project, head=True)
    assert call("snapshot").code == 0
    before = stored(project)
    write_model(project)
    answer = call("snapshot")
    assert (answer.code, stored(project)) == (0, before)
    assert "unchanged" in answer.stderr


def test_a_snapshot_with_evidence_is_not_replaced_by_an_uncertain_one(project):
    write_model(project, head=True)
    assert call("snapshot").code == 0
    before = stored(project)
    write_model(project, {**MISTRAL3, "text_config": {**MISTRAL3["text_config"], "intermediate_size": 128}})
    answer = call("snapshot")
    assert (answer.code, stored(project)) == (3, before)
    assert "its tensors are not at hand now" in answer.stderr


@pytest.mark.parametrize("command", [["snapshot"], ["check"], ["check", "--update"]])
@pytest.mark.parametrize("builder", ["header", "config"])
def test_a_snapshot_of_a_built_class_is_not_replaced_by_a_poorer_answer(project, command, builder):
    write_model(project, head=True)
    assert call("snapshot").code == 0
    before = (project / "snapshots").glob("*.json").__next__().read_bytes()
    unknown = {**MISTRAL3, "model_type": "mistral9", "architectures": ["Mistral9ForConditionalGeneration"]}
    write_model(project, {**unknown, "auto_map": {"AutoModel": "a.B"}}, head=True if builder == "header" else None)
    answer = call(*command)
    assert answer.code == 3
    assert "holds Mistral3ForConditionalGeneration, which was built" in answer.stderr + answer.stdout
    assert next((project / "snapshots").glob("*.json")).read_bytes() == before


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "html", "latex"])
def test_every_table_marks_an_uncertain_count(project, form):
    write_model(project)
    answer = call("table", "m", "--kind", "comparison", "--format", form)
    assert "(?)" in answer.stdout
    assert "does not say whether the head is tied" in " ".join((answer.stdout + answer.stderr).split())


def test_a_terminal_table_has_the_reason_once(project):
    write_model(project)
    answer = call("table", "m", "--kind", "comparison", "--format", "terminal")
    assert " ".join((answer.stdout + answer.stderr).split()).count("does not say whether the head is tied") == 1


@pytest.mark.parametrize("column", ["total_parameters", "active_parameters", "head_parameters", "parameters"])
def test_every_column_with_the_head_has_the_mark(project, column):
    for head, is_marked in ((None, True), (True, False)):
        write_model(project, head=head)
        assert ("(?)" in call("table", "m", "--columns", column, "--format", "csv").stdout) == is_marked


@pytest.mark.parametrize("form", ["terminal", "markdown", "html"])
def test_every_card_marks_an_uncertain_count(project, form):
    write_model(project)
    assert call("show", "m", "--format", form).stdout.count("(?)") >= 3
    write_model(project, head=False)
    assert "(?)" not in call("show", "m", "--format", form).stdout


@pytest.mark.parametrize("command", ["show", "tree"])
def test_json_has_the_reason(project, command):
    write_model(project)
    data = json.loads(call(command, "m", "--format", "json").stdout)
    assert (
        "ties it by default" in data.get("parameters", data)["uncertain"] if command == "show" else data["uncertain"]
    )


def test_the_tree_marks_the_total_of_the_model_alone(project):
    write_model(project)
    first, *others = call("tree", "m", "--format", "terminal").stdout.splitlines()
    assert first.endswith("(?)")
    assert "(?)" not in "".join(others)
    assert "(?)" not in call("tree", "m", "--focus", "model").stdout


@pytest.mark.parametrize("form", ["terminal", "markdown", "json", "html"])
def test_a_difference_names_the_side_that_is_uncertain(project, form):
    write_model(project, head=True)
    certain = checkpoints.save(project / "other", MISTRAL3, tensors_of(MISTRAL3, head=True))
    write_model(project)
    answer = call("diff", certain, "m", "--format", form)
    assert answer.code == 1
    assert "does not say whether the head is tied" in " ".join(answer.stdout.split())
    if form == "terminal":
        assert "47,840 (?)" in answer.stdout
        assert "51,040 (?)" not in answer.stdout
