"""`snapshot` and `check` as they are run: in a project, with a configuration."""

import json
import re
import subprocess
import sys

import pytest

from tests.cli.program import LLAVA, call, environment, run


def write_model(project, name, **sizes):
    folder = project / name
    folder.mkdir(exist_ok=True)
    text = {"model_type": "llama", "num_hidden_layers": 2, **sizes}
    (folder / "config.json").write_text(json.dumps({**LLAVA, "text_config": text}))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that keeps two folders in snapshots."""
    for name in ("one", "two"):
        write_model(tmp_path, name)
    (tmp_path / "vlm-inspect.toml").write_text('[[models]]\nid = "./one"\n[[models]]\nid = "./two"\n')
    monkeypatch.chdir(tmp_path)
    assert call("snapshot").code == 0
    return tmp_path


def files(project):
    return {path.name: path.read_text() for path in (project / "snapshots").glob("*.json")}


def test_snapshots_are_written_and_nothing_is_printed_on_stdout(project):
    assert len(files(project)) == 2
    answer = call("snapshot")
    assert (answer.code, answer.stdout) == (0, "")
    assert answer.stderr.count("unchanged") == 2


@pytest.mark.usefixtures("project")
def test_check_of_what_did_not_change_exits_0():
    answer = call("check", "--format", "terminal")
    assert (answer.code, answer.stdout) == (0, "2 models: 2 unchanged\n")


def test_check_of_what_changed_exits_1_and_says_what(project):
    write_model(project, "one", intermediate_size=1024)
    answer = call("check", "--format", "terminal")
    assert answer.code == 1
    assert "language_model: MLP hidden width 11,008 → 1,024" in answer.stdout
    assert "2 models: 1 changed, 1 unchanged" in answer.stdout


def test_a_changed_order_of_layers_is_folded_and_named(project):
    order = ["sliding_attention"] * 5 + ["full_attention"]
    layers = {
        "model_type": "gemma3_text",
        "num_hidden_layers": 12,
        "layer_types": order * 2,
        "tie_word_embeddings": True,
    }
    write_model(project, "one", **layers)
    assert call("snapshot").code == 0
    write_model(project, "one", **layers | {"layer_types": order[3:] * 4})
    answer = call("check", "--format", "markdown")
    assert (
        "layer order 5 x sliding attention + 1 x full attention, 2 times"
        " → 2 x sliding attention + 1 x full attention, 4 times"
    ) in answer.stdout


def test_update_writes_and_exits_0(project):
    write_model(project, "one", intermediate_size=1024)
    assert call("check", "--update").code == 0
    assert call("check").code == 0


def test_a_missing_file_and_a_surplus_one_exit_1(project):
    (project / "vlm-inspect.toml").write_text('[[models]]\nid = "./one"\n')
    answer = call("check", "--format", "terminal")
    assert (answer.code, "no longer configured" in answer.stdout) == (1, True)
    assert call("snapshot", "--prune").code == 0
    assert len(files(project)) == 1
    next((project / "snapshots").glob("*.json")).unlink()
    answer = call("check", "--format", "terminal")
    assert (answer.code, "no snapshot file" in answer.stdout) == (1, True)


def test_a_damaged_file_exits_3_and_the_others_are_still_checked(project):
    damaged = min((project / "snapshots").glob("*.json"))
    damaged.write_text("<<<<<<< ours\n{}")
    write_model(project, "two", intermediate_size=1024)
    answer = call("check", "--format", "json")
    assert answer.code == 3
    assert {model["status"] for model in answer.data["models"]} == {"failed", "different"}
    assert any("merge conflict" in model.get("message", "") for model in answer.data["models"])


def test_the_summary_is_appended(project):
    summary = project / "summary.md"
    summary.write_text("before\n")
    call("check", "--summary", str(summary))
    assert summary.read_text().startswith("before\n### vlm-inspect: 2 models: 2 unchanged")


def test_annotations_name_files_from_the_root_of_the_checkout(project, monkeypatch):
    write_model(project, "one", intermediate_size=1024)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.parent))
    answer = call("check", "--format", "github")
    assert re.search(rf"^::error file={project.name}/snapshots/[^,]+\.json,", answer.stdout, re.MULTILINE)


def test_prune_and_models_do_not_go_together(project):
    answer = call("snapshot", "--prune", "./one")
    assert answer.code == 2
    assert len(files(project)) == 2


def test_without_a_folder_there_is_nothing_to_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = call("check", "--format", "terminal")
    assert (answer.code, answer.stdout) == (2, "")
    assert "there is nothing to check" in answer.stderr


@pytest.fixture(scope="module")
def two_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two-files")
    names = ("HuggingFaceM4/idefics2-8b-base", "HuggingFaceM4/idefics2-8b")
    assert run("snapshot", *names, "--offline", "--folder", "s", cwd=folder).code == 0
    return folder, sorted(path.name for path in (folder / "s").glob("*.json"))


@pytest.mark.slow
def test_two_snapshot_files_are_compared_without_anything_heavy(two_files):
    folder, names = two_files
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vlm_inspect", "diff", *(f"s/{name}" for name in names)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "vocabulary" in done.stdout
    imported = set(re.findall(r"\| +(\w+)$", done.stderr, re.MULTILINE))
    assert "vlm_inspect" in imported
    assert not imported & {"torch", "transformers", "accelerate", "huggingface_hub"}


@pytest.mark.slow
def test_snapshot_files_are_the_same_on_every_run(two_files):
    folder, names = two_files
    before = {name: (folder / "s" / name).read_bytes() for name in names}
    models = ("HuggingFaceM4/idefics2-8b-base", "HuggingFaceM4/idefics2-8b")
    run("snapshot", *models, "--offline", "--folder", "s", cwd=folder, PYTHONHASHSEED="7", LC_ALL="C")
    assert before == {name: (folder / "s" / name).read_bytes() for name in names}


@pytest.mark.slow
def test_a_snapshot_file_is_a_model_for_every_command(two_files):
    folder, names = two_files
    path = str(folder / "s" / names[0])
    assert "snapshot file" in call("show", path).stdout
    assert "MistralDecoderLayer" in call("tree", path).stdout
    assert "MistralModel" in call("table", path, "--columns", "model,language_model").stdout
