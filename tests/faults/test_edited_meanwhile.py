"""A README that somebody else writes while its tables are made: nobody's words are lost."""

import os
import subprocess

import pytest

from tests.cli.program import LLAVA, SCRIPT, call, environment, save
from tests.faults.readme import BEGIN, END, FRESH, wait_until
from vlm_inspect.documents import block_names, read_document, update_document
from vlm_inspect.errors import DocumentError

TABLE = "| `model` | `LlavaForConditionalGeneration` |"


@pytest.fixture
def readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path, "model")
    (tmp_path / "vlm-inspect.toml").write_text('[[models]]\nid = "./model"\n')
    (tmp_path / "README.md").write_text(FRESH)
    return tmp_path / "README.md"


def at_each_flush(monkeypatch, action, times=1):
    """Do something when the new file is ready and the old one is still there: the latest moment there is."""
    left = iter(range(times))
    monkeypatch.setattr(os, "fsync", lambda _: action() if next(left, None) is not None else None)


def litter(readme):
    return [path.name for path in readme.parent.iterdir() if path.name.startswith(".")]


def test_what_a_person_writes_at_the_last_moment_survives(readme, monkeypatch):
    def edit():
        readme.write_text(readme.read_text().replace("The end.", "The end, as a person wrote it."))

    at_each_flush(monkeypatch, edit)
    answer = call("table", "--write", "README.md")
    assert (answer.code, answer.stderr) == (0, "README.md: regenerated: architectures (1 model)\n")
    text = readme.read_text()
    assert text.endswith("The end, as a person wrote it.\n")
    assert TABLE in text
    assert litter(readme) == []


def test_an_editor_that_replaces_the_file_at_the_last_moment_is_heard(readme, monkeypatch):
    def edit():
        new = readme.with_name("README.md~")
        new.write_text("# Another title\n" + readme.read_text())
        new.replace(readme)

    at_each_flush(monkeypatch, edit)
    assert call("table", "--write", "README.md").code == 0
    text = readme.read_text()
    assert text.startswith("# Another title\n# Title\n")
    assert TABLE in text


def test_a_file_that_never_holds_still_is_left_to_whoever_edits_it(readme, monkeypatch):
    def edit():
        with readme.open("a") as file:
            file.write("more\n")

    at_each_flush(monkeypatch, edit, times=10**6)
    answer = call("table", "--write", "README.md")
    assert answer.code == 2
    assert "README.md was edited each time that it was about to be written" in answer.stderr
    assert readme.read_text() == FRESH + "more\n" * readme.read_text().count("more\n")
    assert litter(readme) == []


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda path: path.unlink(), "there is no such file"),
        (lambda path: path.write_text("# no markers any more\n"), "has no markers"),
        (lambda path: path.write_text(f"{BEGIN}\n"), "has no end marker"),
    ],
    ids=["removed", "markers removed", "half a block"],
)
def test_a_file_that_can_no_longer_be_updated_is_a_sentence_and_stays(readme, monkeypatch, edit, sentence):
    at_each_flush(monkeypatch, lambda: edit(readme))
    answer = call("table", "--write", "README.md")
    assert (answer.code, sentence in answer.stderr) == (2, True)
    assert not readme.exists() or TABLE not in readme.read_text()
    assert litter(readme) == []


def test_a_block_that_somebody_adds_meanwhile_is_for_the_next_run(readme, monkeypatch):
    second = f"{FRESH}<!-- vlm-inspect:begin comparison -->\n<!-- vlm-inspect:end -->\n"
    at_each_flush(monkeypatch, lambda: readme.write_text(second))
    answer = call("table", "--write", "README.md")
    assert answer.code == 2
    assert "got the block 'comparison' meanwhile" in answer.stderr
    assert readme.read_text() == second
    assert call("table", "--write", "README.md").code == 0
    assert call("table", "--check", "README.md").code == 0


def test_what_a_person_writes_while_the_hub_is_slow_survives(readme, hub):
    hub.add_model("org/llava", {"config.json": LLAVA})
    hub.fault("config.json", delay=1.5)
    (readme.parent / "vlm-inspect.toml").write_text('[[models]]\nid = "org/llava"\n')
    with subprocess.Popen(
        [*SCRIPT, "table", "--write", "README.md", "--builder", "config"],
        cwd=readme.parent,
        env=environment(HF_HOME=str(readme.parent / "home")),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: hub.requests)
        readme.write_text(f"A person's line.\n{FRESH}And another.\n")
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "README.md: regenerated: architectures (1 model)\n")
    text = readme.read_text()
    assert text.startswith("A person's line.\n# Title\n")
    assert text.endswith(f"{END}\n\nThe end.\nAnd another.\n")
    assert "`LlavaForConditionalGeneration`" in text


def test_an_update_that_changes_nothing_writes_nothing(readme):
    before = readme.stat()
    assert update_document(readme, lambda document: document.text) is False
    assert readme.stat().st_mtime_ns == before.st_mtime_ns


def test_a_change_that_raises_leaves_the_file_and_lets_the_next_one_in(readme):
    with pytest.raises(DocumentError):
        update_document(readme, lambda document: document.updated({}))
    assert update_document(readme, lambda document: document.updated({"architectures": "new"})) is True
    assert block_names(read_document(readme).text) == ("architectures",)
