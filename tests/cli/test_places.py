"""Homes, caches and Pythons as they are elsewhere: an answer, or a sentence with what to do. No traceback."""

import json
import resource
import sys

import pytest

from tests.broken import as_any_user, run_under
from tests.cli.program import LLAVA, run, save

LONG = {**LLAVA, "comment": "x" * 5000}  # longer than what a full disk takes


@pytest.fixture
def model(hub):
    hub.add_model("org/model", {"config.json": json.dumps(LONG)})
    return "org/model"


def program(*words, cwd, **env):
    """The program in the fork of a warm process."""
    return run(*words, cwd=cwd, main="tests.broken:main_as_any_user", check=False, **env)


def new_program(*words, cwd, **how):
    """The program in a new process, where its start-up is under test."""
    return run_under(sys.executable, *words, cwd=cwd, before=as_any_user, **how)


def show(model, here, *more, by=program, **how):
    return by("show", model, "--builder", "config", *more, cwd=here, **how)


def is_answered(done):
    return done.code == 0 and "org/model" in done.stdout and "Traceback" not in done.stderr


def refusal(done):
    assert done.code == 3, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def doctor(here, **how):
    done = program("doctor", "--format", "json", cwd=here, **how)
    assert not done.stderr
    return {each["subject"]: each for each in json.loads(done.stdout)}


@pytest.fixture
def read_only(tmp_path):
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(0o555)
    return folder


def answer_with_note(done, reason):
    assert is_answered(done), done.stderr
    (note,) = done.stderr.splitlines()
    assert f"The Hub's cache cannot be written: {reason}" in note
    return note


def test_a_model_is_answered_where_the_cache_cannot_be_written(model, here, read_only):
    note = answer_with_note(show(model, here, HOME=str(read_only), HF_HOME=None), "Permission denied")
    assert str(read_only) in note
    assert "--cache-dir DIR, or HF_HUB_CACHE" in note
    done = show(model, here, HOME=str(read_only), HF_HOME=None, HF_HUB_CACHE=str(here / "cache"))
    assert is_answered(done)
    assert not done.stderr


def test_the_note_about_the_cache_appears_once_for_several_models(model, here, read_only):
    words = ("table", model, f"{model}@main", "--builder", "config")
    done = program(*words, cwd=here, HOME=str(read_only), HF_HOME=None)
    answer_with_note(done, "Permission denied")


def test_a_folder_is_answered_where_nothing_can_be_written(here, read_only):
    words = ("show", str(save(here, "model")))
    done = new_program(*words, cwd=read_only, HOME=str(read_only), HF_HOME=None)
    assert (done.code, done.stderr) == (0, "")
    assert "CLIPVisionModel" in done.stdout


def test_a_home_that_is_not_there_yet_is_made(model, here):
    assert is_answered(show(model, here, HOME=str(here / "new" / "home"), HF_HOME=None))


def test_no_home_is_no_error(model, here):
    assert is_answered(show(model, here, HOME=None))


def test_a_model_is_answered_where_a_file_is_in_the_place_of_the_cache(model, here):
    (here / "file").write_text("x")
    assert f"{here / 'file'}" in answer_with_note(show(model, here, HF_HUB_CACHE=str(here / "file")), "")
    assert f"{here / 'file'}" in refusal(show(model, here, HF_HOME=str(here / "file")))  # the token's folder, too


def test_a_model_is_answered_on_a_full_disk(model, here):
    def full():
        as_any_user()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    words = ("show", model, "--builder", "config")
    done = run_under(sys.executable, *words, cwd=here, before=full, HF_HOME=str(here / "cache"))
    answer_with_note(done, "File too large")
    assert not [path for path in (here / "cache").rglob("*") if path.is_file()]


def test_a_cache_of_another_user_is_said(model, here):
    home = here / "cache"
    assert is_answered(show(model, here, HF_HOME=str(home)))
    (kept,) = home.glob("hub/models--*/snapshots/*/config.json")
    kept.resolve().chmod(0)
    assert "cannot be read: Permission denied" in refusal(show(model, here, "--offline", HF_HOME=str(home)))
    (repo,) = home.glob("hub/models--*")
    repo.chmod(0)
    assert str(repo) in doctor(here, HF_HOME=str(home))["Hub cache"]["message"]
    repo.chmod(0o755)


def test_a_token_that_another_user_keeps_is_said(model, here):
    (here / "token").write_text("hf_abc")
    (here / "token").chmod(0)
    said = refusal(show(model, here, HF_HOME=str(here)))
    assert f"cannot be read: {here / 'token'}: Permission denied" in said
    assert "HF_TOKEN" in said


@pytest.mark.parametrize("options", [("-I",), ("-O",), ("-W", "error"), ("-X", "dev"), ("-bb", "-s", "-E")])
def test_options_of_python_change_nothing(model, here, options):
    assert is_answered(show(model, here, by=new_program, options=options))


@pytest.mark.parametrize("locale", ["C", "POSIX", "xx_XX.unknown"])
def test_a_locale_changes_nothing(model, here, locale):
    plain = show(model, here)
    elsewhere = show(model, here, by=new_program, LC_ALL=locale, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert is_answered(elsewhere)
    assert elsewhere.stdout == plain.stdout


def test_docstrings_that_are_dropped_are_said(here):
    words = ("show", "llava-hf/llava-1.5-7b-hf", "--offline", "--no-cache")
    assert "-OO" in refusal(run_under(sys.executable, *words, cwd=here, options=["-OO"]))
