"""Two and twenty processes at once, with one cache, one README and one folder of snapshots."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import sparse
from tests.cli.program import LLAVA, SCRIPT, environment, run
from tests.faults.nursery import ROOT, Nursery, Task
from tests.faults.readme import FRESH
from vlm_inspect.documents import read_document, update_document
from vlm_inspect.kept_files import keep, read_kept

MANY = 20
MODEL = "llava-hf--llava-1.5-7b-hf"
NAME = "org/name"
TENSORS = {f"model.layers.{index}.mlp.down_proj.weight": (64, 256) for index in range(4)}
SHOWN = ("show", NAME, "--builder", "header", "--format", "json")


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def project(tmp_path):
    """A configured model that is answered without torch, and a README that waits for its table."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "snapshots" / f"{MODEL}.json", folder / "llava.json")
    (folder / "vlm-inspect.toml").write_text('[[models]]\nid = "./llava.json"\n')
    (folder / "README.md").write_text(FRESH)
    return folder


@pytest.fixture
def published(hub, tmp_path):
    """A model on the Hub with two shards."""
    sparse.write_sharded(tmp_path / "model", TENSORS, 2)
    hub.add_model(NAME, {"config.json": LLAVA, **{p.name: p for p in (tmp_path / "model").iterdir()}})
    return hub


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def alone(words, folder):
    """What one process makes of a copy of a folder."""
    copy = folder.with_name("alone")
    shutil.copytree(folder, copy)
    assert run(*words, cwd=copy).code == 0
    return state(copy)


def state(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def started(words, cwd, **env):
    return subprocess.Popen(
        [*SCRIPT, *words], cwd=cwd, env=environment(**env), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def at_once(words, count, cwd, **env):
    """The installed program, so many times at the same time: (exit code, stdout, stderr) of each."""
    running = [started(words, cwd, **env) for _ in range(count)]
    said = [process.communicate(timeout=120) for process in running]
    return [(process.returncode, *each) for process, each in zip(running, said, strict=True)]


WORDS = [("table", "--write", "README.md"), ("snapshot",), ("check", "--update")]
NAMES = ["README", "snapshots", "updates"]


@pytest.mark.parametrize("words", WORDS[:2], ids=NAMES[:2])
def test_two_of_the_installed_program_write_the_same_as_one(project, words):
    expected = alone(words, project)
    for code, _, stderr in at_once(words, 2, project):
        assert (code, b"error" in stderr) == (0, False), stderr
    assert state(project) == expected


@pytest.mark.parametrize("words", WORDS, ids=NAMES)
def test_twenty_write_the_same_as_one(nursery, project, words):
    expected = alone(words, project)
    ended = nursery.run_at_once([Task(str(project), words)] * MANY)
    assert {(each.code, "error" in each.said) for each in ended} == {(0, False)}, ended
    assert state(project) == expected


def test_twenty_that_update_stale_snapshots_and_a_readme_at_once_leave_both_right(nursery, project):
    assert nursery.run(Task(str(project), ("snapshot",))).code == 0
    (snapshot,) = (project / "snapshots").iterdir()
    expected = alone(WORDS[0], project)
    other = ROOT / "snapshots" / "llava-hf--llava-v1.6-mistral-7b-hf.json"
    snapshot.write_bytes(other.read_bytes())
    ended = nursery.run_at_once([Task(str(project), WORDS[index % 3]) for index in range(MANY)])
    assert {each.code for each in ended} == {0}, ended
    assert state(project) == expected


def write_block(path, name, text):
    """What a child does that regenerates a block of its own, and knows nothing of the others."""
    update_document(Path(path), lambda document: document.updated({**insides(document.text), name: text}))


def insides(text):
    """Block → what it holds."""
    found, name = {}, None
    for line in text.splitlines():
        if line.startswith("<!-- vlm-inspect:begin "):
            name = line.split()[2]
            found[name] = ""
        elif line.startswith("<!-- vlm-inspect:end"):
            name = None
        elif name:
            found[name] += line + "\n"
    return found


def blocks(names):
    return "".join(
        f"# {name}\n<!-- vlm-inspect:begin {name} -->\n<!-- vlm-inspect:end {name} -->\n" for name in names
    )


def test_twenty_that_write_a_block_each_of_one_readme_lose_none(nursery, tmp_path):
    names = [f"block-{index}" for index in range(MANY)]
    path = tmp_path / "README.md"
    path.write_text(f"{blocks(names)}The end.\n")
    tasks = [
        Task(str(tmp_path), (str(path), name, f"| {name} |\n" * 50), f"{__name__}:write_block")
        for name in names
    ]
    ended = nursery.run_at_once(tasks)
    assert {(each.code, each.said) for each in ended} == {(0, "")}, ended
    text = read_document(path).text
    assert insides(text) == {name: f"| {name} |\n" * 50 for name in names}
    assert text.endswith("The end.\n")
    assert entries(tmp_path) == ["README.md"]


def keep_entry(folder, text):
    """What a child does that keeps the same entry as nineteen others, in words of its own."""
    path = Path(folder) / "entry"
    for _ in range(8):
        keep(path, text.encode() * 20_000)
        read = read_kept(path, 10**6)
        assert read is not None
        assert read == read[:1] * 20_000


def test_twenty_that_keep_one_entry_of_a_cache_read_one_of_theirs_whole(nursery, tmp_path):
    texts = "abcdefghijklmnopqrst"
    tasks = [Task(str(tmp_path), (str(tmp_path), text), f"{__name__}:keep_entry") for text in texts]
    ended = nursery.run_at_once(tasks)
    assert {(each.code, each.said) for each in ended} == {(0, "")}, ended
    assert entries(tmp_path) == ["entry"]
    assert read_kept(tmp_path / "entry", 10**6) in {text.encode() * 20_000 for text in texts}


def test_twenty_with_one_empty_cache_give_the_answer_of_one_and_leave_it_right(nursery, published, tmp_path):
    expected = run(
        *SHOWN, "--cache-dir", tmp_path / "own", cwd=tmp_path, HF_HOME=str(tmp_path / "own")
    ).stdout
    cache = str(tmp_path / "cache")
    words = (*SHOWN, "--cache-dir", cache, "--no-cache")
    ended = nursery.run_at_once([Task(str(tmp_path), words)] * MANY)
    assert {each.code for each in ended} == {0}, ended
    assert {each.said for each in ended} == {expected}
    published.requests.clear()
    offline = nursery.run(Task(str(tmp_path), (*words, "--offline")))
    assert (offline.code, offline.said, published.requests) == (0, expected, [])
    assert not list(Path(cache).rglob(".*"))


def test_two_of_the_installed_program_fill_one_cache_and_give_the_answer_of_one(published, tmp_path):
    home = str(tmp_path / "home")
    expected = run(*SHOWN, cwd=tmp_path, HF_HOME=str(tmp_path / "own")).stdout.encode()
    assert at_once(SHOWN, 2, tmp_path, HF_HOME=home) == [(0, expected, b"")] * 2
    (kept,) = Path(home).rglob("*.answer")
    published.requests.clear()
    again = run(*SHOWN, cwd=tmp_path, HF_HOME=home)
    assert (again.stdout.encode(), {request.method for request in published.requests}) == (expected, {"HEAD"})
    assert json.loads(again.stdout)["builder"] == "header"
    assert kept.is_file()
