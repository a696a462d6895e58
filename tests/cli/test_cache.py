"""An answer that was given before: the same to the byte, and without the libraries that build."""

import os
import subprocess
import sys

import pytest

from tests import checkpoints
from tests.builders import phi3_v
from tests.cli.program import LLAVA, call, environment, run, save
from vlm_inspect.builders.transformers import build
from vlm_inspect.storage import cache

HEAVY = {"torch", "transformers", "accelerate", "numpy"}
MODEL = "org/kept"  # the cache of this session has it from then on


@pytest.fixture
def home(here):
    """A place of its own for what is kept."""
    return here / "home"


@pytest.fixture
def builds(monkeypatch, here):
    """The names of the models that were built, of commands that run in this process."""
    names = []
    really = build.build

    def counted(config, model):
        names.append(model)
        return really(config, model)

    monkeypatch.setattr(build, "build", counted)
    own = cache.ResultCache(here / "kept")
    monkeypatch.setattr(cache, "default_cache", lambda: own)
    return names


RUN_AND_TELL = """
import atexit, runpy, sys
told, *sys.argv[1:] = sys.argv[1:]
atexit.register(lambda: open(told, "w").write("\\n".join(sys.modules)))
runpy.run_module("vlm_inspect", run_name="__main__", alter_sys=True)
"""


def imported_by(*arguments, home):
    """What a run of the program says, and the modules that it imported."""
    told = home.parent / "modules"
    command = [sys.executable, "-c", RUN_AND_TELL, told, *arguments]
    done = subprocess.run(
        [*map(str, command)], env=environment(HF_HOME=str(home)), capture_output=True, text=True, check=True
    )
    return done.stdout, set(told.read_text().split())


@pytest.mark.parametrize(
    "asked",
    [
        ("table", "--format", "markdown"),
        ("show", "llava-hf/llava-1.5-7b-hf", "--explain", "--format", "json"),
        ("show", "microsoft/Phi-3-vision-128k-instruct", "--format", "markdown"),
        ("tree", "llava-hf/llava-1.5-7b-hf", "--format", "json"),
        ("diff", "TIGER-Lab/Mantis-8B-clip-llama3", "TIGER-Lab/Mantis-8B-siglip-llama3", "--exit-zero"),
    ],
    ids=lambda asked: " ".join(asked[:2]),
)
def test_what_was_answered_is_answered_again_without_the_libraries(home, monkeypatch, asked):
    own = cache.ResultCache(home / cache.cache_dir().relative_to(os.environ["HF_HOME"]))
    monkeypatch.setattr(cache, "default_cache", lambda: own)
    monkeypatch.setenv("COLUMNS", "80")  # as where there is no terminal
    first = call(*asked, "--offline").stdout
    again, imported = imported_by(*asked, "--offline", home=home)
    assert again == first
    assert not imported & HEAVY


def test_what_was_not_answered_before_needs_the_libraries(home):
    _, imported = imported_by("show", "llava-hf/llava-1.5-7b-hf", "--offline", home=home)
    assert imported >= HEAVY


def test_without_a_cache_all_is_built_anew_and_nothing_kept(here, builds):
    model = save(here, "model")
    for _ in range(2):
        assert call("show", model, "--no-cache").code == 0
    assert not (here / "kept").exists()
    assert call("show", model).code == 0
    assert call("show", model, "--no-cache").code == 0
    assert len(builds) == 4


def test_a_place_that_cannot_be_written_is_no_error(here):
    (here / "home").write_text("a file where a folder should be")
    answer = run("show", save(here, "model"), cwd=here, HF_HOME=str(here / "home"))
    assert (answer.code, answer.stderr) == (0, "")


def test_a_branch_is_asked_for_its_commit_and_a_commit_is_not(hub, here, home):
    commit = hub.add_model(MODEL, {"config.json": LLAVA})
    place = {"cwd": here, "HF_HOME": str(home)}
    first = run("show", MODEL, "--format", "json", **place)
    hub.requests.clear()
    assert run("show", MODEL, "--format", "json", **place) == first
    assert [request.method for request in hub.requests] == ["HEAD"]
    hub.requests.clear()
    assert run("show", f"{MODEL}@{commit}", "--format", "json", **place) == first
    assert run("show", MODEL, "--format", "json", "--offline", **place) == first
    assert hub.requests == []


def test_a_branch_that_moved_is_another_model(hub, builds):
    hub.add_model(MODEL, {"config.json": LLAVA})
    one = call("show", MODEL, "--format", "json").data
    hub.add_model(MODEL, {"config.json": LLAVA | {"vision_config": {"num_hidden_layers": 3}}})
    other = call("show", MODEL, "--format", "json").data
    assert one["model"]["revision"] != other["model"]["revision"]
    assert one["parameters"]["total"] > other["parameters"]["total"]
    assert builds == [MODEL, MODEL]


def test_the_same_configuration_under_other_names_is_built_once(here, builds):
    names = [f"model{number}" for number in range(20)]
    for name in names:
        save(here, name, LLAVA | {"_name_or_path": f"org/{name}"})
    records = call("table", *(here / name for name in names), "--format", "json").data
    assert [record["model"]["id"] for record in records] == names
    assert len({str(record["components"]) for record in records}) == 1
    assert builds == ["model0"]


def test_a_folder_whose_configuration_changed_is_built_again(here, builds):
    save(here, "model")
    before = call("show", here / "model", "--format", "json").data
    save(here, "model", LLAVA | {"vision_config": {"num_hidden_layers": 3}})
    after = call("show", here / "model", "--format", "json").data
    assert before["parameters"] != after["parameters"]
    assert len(builds) == 2


def test_what_failed_is_tried_again(here, builds):
    save(here, "model", LLAVA | {"text_config": {"model_type": "llama", "hidden_size": "wide"}})
    assert [call("show", here / "model").code for _ in range(2)] == [3, 3]
    assert len(builds) == 2


@pytest.mark.usefixtures("builds")
def test_what_trusted_code_built_is_not_given_to_who_does_not_trust_it(hub):
    hub.add_model(MODEL, {"config.json": phi3_v.CONFIG})
    answer = call("show", MODEL, "--builder", "remote-code")
    assert answer.code == 3
    assert "only run if you trust it" in answer.stderr


def test_a_damaged_entry_is_made_anew(here, home):
    model, place = save(here, "model"), {"cwd": here, "HF_HOME": str(home)}
    first = run("table", model, **place)
    (entry,) = home.rglob("*.answer")
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-100])
    assert run("table", model, **place) == first
    assert entry.read_bytes() == whole


def test_an_answer_from_headers_is_kept_under_its_commit(hub, builds, tmp_path):
    folder = checkpoints.save(tmp_path / "saved", phi3_v.CONFIG, phi3_v.SHAPES, shards=1)
    hub.add_model(MODEL, {path.name: path for path in folder.iterdir()})
    first = call("show", MODEL, "--format", "json")
    assert first.data["builder"] == "header"
    hub.requests.clear()
    assert call("show", MODEL, "--format", "json") == first
    assert [request.method for request in hub.requests] == ["HEAD"]
    assert builds == [MODEL]
