"""Commands with a Hub on the loopback interface."""

import pytest

from tests.cli.program import LLAVA, NO_HUB, call, cells, run

SECRET = "hf_thisIsTheSecretOfTheTest"  # noqa: S105 - of no account
MODEL = "org/llava"


@pytest.fixture
def home(tmp_path):
    """A Hub cache that is empty."""
    return {"cwd": tmp_path, "HF_HOME": str(tmp_path / "home")}


@pytest.mark.slow
def test_result_has_the_commit(hub, home):
    commit = hub.add_model(MODEL, {"config.json": LLAVA, "model.safetensors": b"0" * 4096})
    answer = run("show", f"{MODEL}@main", "--format", "json", **home)
    assert (answer.code, answer.stderr) == (0, "")
    assert answer.data["model"] == {"id": MODEL, "revision": commit, "source": "hub"}
    assert not any("safetensors" in request.path for request in hub.requests)

    before = len(hub.requests)
    cached = run("table", MODEL, "--columns", "model,commit", "--offline", **home)
    assert cells(cached.stdout)[1:] == [[f"`{MODEL}`", f"`{commit}`"]]
    assert len(hub.requests) == before


@pytest.mark.usefixtures("home")
def test_both_spellings_of_a_revision_work(hub, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    hub.add_model(MODEL, {"config.json": "{}"})
    commit = hub.add_model(MODEL, {"config.json": LLAVA}, branch="v2")
    cache = ("--cache-dir", tmp_path / "cache", "--format", "json")
    for arguments in ([f"{MODEL}@v2"], [MODEL, "--revision", "v2"]):
        assert call("show", *arguments, *cache).data["model"]["revision"] == commit


@pytest.mark.slow
def test_unreachable_hub_is_an_error(home):
    answer = run("show", MODEL, **home | {"HF_ENDPOINT": NO_HUB})
    assert (answer.code, answer.stdout) == (3, "")
    assert answer.stderr.startswith(f"error: {MODEL}: {NO_HUB} cannot be reached: ")
    assert "Check the connection" in answer.stderr


@pytest.mark.slow
def test_uncached_model_is_an_error_offline(home):
    by_option = run("show", MODEL, "--offline", **home)
    by_environment = run("show", MODEL, **home, HF_HUB_OFFLINE="1")
    assert by_option == by_environment
    assert (by_option.code, by_option.stdout) == (3, "")
    assert f"neither the cache nor the built-in catalogue has {MODEL}" in by_option.stderr


@pytest.mark.parametrize(
    ("who", "sentence"),
    [
        ({"gated": True}, f"{MODEL} is gated"),
        (
            {"private": True, "readers": {"hf_reader"}},
            f"no model {MODEL}, or none for anyone without a token",
        ),
        ({"disabled": True}, f"{MODEL} has been disabled"),
        (None, f"no model {MODEL}"),
    ],
    ids=["gated", "private", "disabled", "missing"],
)
def test_inaccessible_model_is_an_error_with_a_hint(hub, who, sentence):
    if who is not None:
        hub.add_model(MODEL, {"config.json": LLAVA}, **who)
    answer = call("show", MODEL)
    assert (answer.code, answer.stdout) == (3, "")
    assert sentence in answer.stderr
    assert answer.stderr.count("\n") == 2


def test_missing_config_json_and_unknown_revision_are_errors(hub):
    hub.add_model(MODEL, {"README.md": "x"})
    assert "has no config.json" in call("show", MODEL).stderr
    assert "has no branch, tag or commit 'v9'" in call("show", f"{MODEL}@v9").stderr


def test_error_of_a_busy_hub_has_the_time_to_wait(hub, tmp_path):
    hub.fault("config.json", status=429, headers={"Retry-After": "3600"})
    answer = call("show", MODEL, "--cache-dir", tmp_path / "cache")
    assert answer.code == 3
    assert "answered 429, too many requests: wait 3600 s" in answer.stderr


def test_catalogue_is_used_if_the_hub_is_busy(hub, tmp_path):
    hub.fault("config.json", status=429, headers={"Retry-After": "3600"})
    answer = call("table", "--columns", "model", "--cache-dir", tmp_path / "cache")
    assert answer.code == 0
    assert len(cells(answer.stdout)) == 10
    assert answer.stderr.count("\n") == 1
    assert "9 models are answered from the built-in catalogue" in answer.stderr


def test_private_model_needs_a_token_with_read_access(hub, tmp_path):
    hub.add_model(MODEL, {"config.json": LLAVA}, private=True, readers={SECRET})
    command = ("table", MODEL, "--columns", "model", "--cache-dir", tmp_path / "cache")
    assert call(*command).code == 3
    assert call(*command, "--token", SECRET).code == 0
    assert SECRET in {request.token for request in hub.requests}


@pytest.mark.slow
@pytest.mark.parametrize("option", [True, False], ids=["option", "environment"])
def test_token_is_never_printed(hub, home, option):
    hub.add_model(MODEL, {"config.json": LLAVA}, private=True, readers={"hf_reader"})
    token = ("--token", SECRET) if option else ()
    answer = run("show", MODEL, "--debug", *token, **home, HF_TOKEN=None if option else SECRET)
    assert answer.code == 3
    assert SECRET in {request.token for request in hub.requests}
    assert SECRET not in answer.stdout + answer.stderr


def test_missing_model_does_not_affect_the_others(hub):
    commit = hub.add_model(MODEL, {"config.json": LLAVA})
    answer = call("table", "org/gone", MODEL, "--format", "json")
    assert answer.code == 3
    assert answer.data[0]["error"]["type"] == "ModelNotFoundError"
    assert answer.data[0]["model"]["id"] == "org/gone"
    assert answer.data[1]["model"]["revision"] == commit
