"""Concurrent processes with one cache, one README and one folder of snapshots."""

import subprocess
from pathlib import Path

import pytest

from tests import sparse
from tests.cli.program import LLAVA, SCRIPT, environment, run
from tests.faults import forks
from tests.faults.forks import Task
from tests.faults.readme import END, FRESH, wait_until
from vlm_inspect.storage.markdown_blocks import read_document, update_document

MANY = 20
NAME = "org/name"
TENSORS = {f"model.layers.{index}.mlp.down_proj.weight": (64, 256) for index in range(4)}
SHOWN = ("show", NAME, "--builder", "header", "--format", "json")
WORDS = [("table", "--write", "README.md"), ("snapshot",), ("check", "--update")]


def state(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_concurrent_commands_write_the_same_as_one_of_each(project):
    for words in WORDS:
        assert forks.run(Task(str(project), words)).code == 0
    expected = state(project)
    (project / "README.md").write_text(FRESH)
    (snapshot,) = (project / "snapshots").iterdir()
    snapshot.unlink()
    ended = forks.run_at_once([Task(str(project), WORDS[index % 2]) for index in range(MANY)])
    assert {(each.code, "error" in each.output) for each in ended} == {(0, False)}, ended
    assert state(project) == expected


def write_block(path, name, text):
    """Write one block."""

    def change(document):
        begin = f"<!-- vlm-inspect:begin {name} -->\n"
        return document.text.replace(begin, begin + text)

    update_document(Path(path), change)


def test_concurrent_updates_of_blocks_in_one_file_lose_none(tmp_path):
    names = [f"block-{index}" for index in range(MANY)]
    path = tmp_path / "README.md"
    blocks = "<!-- vlm-inspect:begin {0} -->\n{1}<!-- vlm-inspect:end {0} -->\n"
    path.write_text("".join(blocks.format(name, "") for name in names))
    texts = {name: f"| {name} |\n" * 50 for name in names}
    tasks = [Task(str(tmp_path), (str(path), *text), f"{__name__}:write_block") for text in texts.items()]
    ended = forks.run_at_once(tasks)
    assert {(each.code, each.output) for each in ended} == {(0, "")}, ended
    assert read_document(path).text == "".join(blocks.format(*text) for text in texts.items())
    assert [each.name for each in tmp_path.iterdir()] == ["README.md"]


def test_concurrent_commands_with_an_empty_cache_have_the_same_output(hub, tmp_path):
    sparse.write_sharded(tmp_path / "model", TENSORS, 2)
    hub.add_model(NAME, {"config.json": LLAVA, **{p.name: p for p in (tmp_path / "model").iterdir()}})
    own = {"cwd": tmp_path, "HF_HOME": str(tmp_path / "own")}
    expected = run(*SHOWN, "--cache-dir", tmp_path / "own", **own).stdout
    words = (*SHOWN, "--cache-dir", str(tmp_path / "cache"), "--no-cache")
    ended = forks.run_at_once([Task(str(tmp_path), words)] * MANY)
    assert {(each.code, each.output) for each in ended} == {(0, expected)}
    hub.requests.clear()
    offline = forks.run(Task(str(tmp_path), (*words, "--offline")))
    assert (offline.code, offline.output, hub.requests) == (0, expected, [])
    assert not list((tmp_path / "cache").rglob(".*"))


# --- the user edits the file while models are inspected


@pytest.fixture
def slow_write(tmp_path, hub):
    """Edit the README while `table --write` waits for the Hub; returns (exit code, stderr)."""
    hub.add_model("org/llava", {"config.json": LLAVA})
    hub.fault("config.json", delay=1.5)
    (tmp_path / "vlm-inspect.toml").write_text('[[models]]\nid = "org/llava"\n')
    (tmp_path / "README.md").write_text(FRESH)

    def edited(text):
        with subprocess.Popen(
            [*SCRIPT, "table", "--write", "README.md", "--builder", "config"],
            cwd=tmp_path,
            env=environment(HF_HOME=str(tmp_path / "home")),
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            wait_until(lambda: hub.requests)
            (tmp_path / "README.md").write_text(text)
            hub.forget_faults()
            _, stderr = process.communicate(timeout=60)
        return process.returncode, stderr

    return edited


def test_a_concurrent_edit_of_the_file_survives(slow_write, tmp_path):
    assert slow_write(f"A person's line.\n{FRESH}And another.\n") == (
        0,
        "README.md: regenerated: architectures (1 model)\n",
    )
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("A person's line.\n# Title\n")
    assert text.endswith(f"{END}\n\nThe end.\nAnd another.\n")
    assert "`LlavaForConditionalGeneration`" in text


def test_a_concurrently_added_block_is_an_error_and_the_edit_survives(slow_write, tmp_path):
    added = f"{FRESH}<!-- vlm-inspect:begin comparison -->\n<!-- vlm-inspect:end -->\n"
    code, stderr = slow_write(added)
    assert (code, "got the block 'comparison' while models were inspected" in stderr) == (2, True)
    assert (tmp_path / "README.md").read_text() == added
