"""Configurations on the Hub, over HTTP: commits, cache, redirects, and the requests that are sent."""

import pytest

from vlm_inspect.core.errors import (
    ConfigMissingError,
    HubUnavailableError,
    InvalidConfigError,
    RevisionNotFoundError,
)
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import load

LLAVA = {"config.json": {"model_type": "llava"}, "model.safetensors": b"weights" * 1000}
RIGHT = "hf_right"
NEXT = {"config.json": {"model_type": "llava_next"}}


def ask(name, options, revision=None):
    return load(ModelRef(name, revision=revision), options)


def test_branch_is_read_at_its_commit(hub, options):
    commit = hub.add_model("org/name", LLAVA)

    checkpoint = ask("org/name", options)

    assert checkpoint.config == {"model_type": "llava"}
    assert checkpoint.identity == ModelIdentity(id="org/name", revision=commit, source="hub")
    assert checkpoint.notes == ()


def test_only_the_configuration_is_fetched(hub, options):
    hub.add_model("org/name", LLAVA)

    ask("org/name", options)

    assert {request.path.rsplit("/", 1)[1] for request in hub.requests} == {"config.json"}
    assert sum(request.body_bytes for request in hub.requests) == len(b'{"model_type": "llava"}')
    assert hub.counted("GET") == 1


def test_user_agent_names_the_program(hub, options):
    hub.add_model("org/name", LLAVA)

    ask("org/name", options)

    assert all(request.headers["user-agent"].startswith("vlm-inspect/") for request in hub.requests)


def test_repo_without_an_owner_is_read(hub, options):
    commit = hub.add_model("gpt2", LLAVA)

    assert ask("gpt2", options).identity == ModelIdentity(id="gpt2", revision=commit)


def test_cached_configuration_costs_one_request(hub, options):
    hub.add_model("org/name", LLAVA)
    first = ask("org/name", options)
    hub.requests.clear()

    assert ask("org/name", options) == first
    assert [request.method for request in hub.requests] == ["HEAD"]


def test_cached_commit_costs_no_request(hub, options):
    commit = hub.add_model("org/name", LLAVA)
    first = ask("org/name", options, commit)
    hub.requests.clear()

    assert ask("org/name", options, commit) == first
    assert hub.requests == []


def test_moved_branch_is_read_again(hub, options):
    hub.add_model("org/name", LLAVA)
    ask("org/name", options)
    commit = hub.add_model("org/name", NEXT)

    checkpoint = ask("org/name", options)

    assert (checkpoint.identity.revision, checkpoint.config["model_type"]) == (commit, "llava_next")


@pytest.mark.parametrize("branch", ["dev", "refs/pr/1", "v1.0", "größer"])
def test_branch_or_tag_is_read_by_its_name(hub, options, offline, branch):
    hub.add_model("org/name", LLAVA)
    commit = hub.add_model("org/name", NEXT, branch=branch)

    checkpoint = ask("org/name", options, branch)

    assert (checkpoint.identity.revision, checkpoint.config["model_type"]) == (commit, "llava_next")
    assert ask("org/name", offline, branch) == checkpoint


def test_short_commit_is_recorded_in_full(hub, options):
    commit = hub.add_model("org/name", LLAVA)

    assert ask("org/name", options, commit[:8]).identity.revision == commit


@pytest.mark.parametrize("revision", ["../../etc", "/etc", "a\nb", "\0", "\udcff"])
def test_invalid_revision_is_not_requested(hub, options, revision):
    hub.add_model("org/name", LLAVA)

    with pytest.raises(RevisionNotFoundError, match="Invalid revision"):
        ask("org/name", options, revision)

    assert hub.requests == []


def test_renamed_repo_is_found_by_its_old_name(hub, options):
    commit = hub.add_model("new-org/name", LLAVA)
    hub.moved["org/name"] = "new-org/name"

    assert ask("org/name", options).identity == ModelIdentity(id="org/name", revision=commit)


def test_redirect_to_the_resolve_cache_is_followed(hub, options):
    commit = hub.add_model("org/name", LLAVA)
    hub.resolve_cache = True

    assert ask("org/name", options).identity.revision == commit
    assert any(request.path.startswith("/api/resolve-cache/") for request in hub.requests)


def test_cdn_gets_no_token(hub, options):
    commit = hub.add_model("org/name", LLAVA, private=True, readers={RIGHT}, large={"config.json"})

    checkpoint = ask("org/name", InspectOptions(token=RIGHT, cache_dir=options.cache_dir))

    assert (checkpoint.identity.revision, checkpoint.config["model_type"]) == (commit, "llava")
    assert {request.host.split(":")[0]: request.token for request in hub.requests} == {
        "127.0.0.1": RIGHT,
        "localhost": None,
    }


def test_too_long_configuration_is_not_downloaded(hub, options, tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    hub.add_model("org/name", {"config.json": path}, large=set())
    hub.fault("config.json", method="GET", status=500)

    with pytest.raises(InvalidConfigError, match="has 100,000,000 bytes"):
        ask("org/name", options)

    assert hub.counted("GET") == 0


def test_malformed_configuration_is_an_error_that_names_the_model(hub, options):
    hub.add_model("org/name", {"config.json": b"<html>"})

    with pytest.raises(InvalidConfigError, match=r"^org/name: the config\.json is an HTML page"):
        ask("org/name", options)


def test_offline_the_cache_answers_without_requests(hub, options, offline):
    hub.add_model("org/name", LLAVA)
    first = ask("org/name", options)
    hub.requests.clear()

    assert ask("org/name", offline) == first
    assert hub.requests == []


def test_offline_the_catalogue_answers_after_the_cache(hub, offline):
    checkpoint = ask("llava-hf/llava-1.5-7b-hf", offline)

    assert checkpoint.identity == ModelIdentity(id="llava-hf/llava-1.5-7b-hf", source="catalogue")
    assert checkpoint.notes == ()
    assert hub.requests == []


@pytest.mark.parametrize("revision", ["main", "0" * 40])
def test_offline_the_catalogue_does_not_answer_for_a_revision(offline, revision):
    with pytest.raises(HubUnavailableError, match=f"has llava-hf/llava-1.5-7b-hf at revision {revision}"):
        ask("llava-hf/llava-1.5-7b-hf", offline, revision)


def test_offline_an_unknown_model_is_an_error(offline):
    with pytest.raises(HubUnavailableError, match="Offline, and neither the cache nor") as caught:
        ask("org/name", offline)

    assert "without --offline" in caught.value.hint


def test_a_model_is_answered_without_a_cache_that_can_be_written(hub, tmp_path):
    hub.add_model("org/name", LLAVA)
    (tmp_path / "cache").write_text("a file is no folder")

    checkpoint = ask("org/name", InspectOptions(cache_dir=tmp_path / "cache"))

    assert checkpoint.config == {"model_type": "llava"}
    (note,) = checkpoint.notes
    assert "The Hub's cache cannot be written" in note
    assert "--cache-dir" in note


def test_catalogue_does_not_replace_a_missing_configuration(hub, options):
    hub.add_model("llava-hf/llava-1.5-7b-hf", {"README.md": b""})

    with pytest.raises(ConfigMissingError):
        ask("llava-hf/llava-1.5-7b-hf", options)


def test_huggingface_hub_writes_nothing_to_stderr(hub, options, capfd):
    hub.add_model("org/name", LLAVA)
    hub.fault("config.json", headers={"X-HF-Warning": "unauthenticated; You are not logged in."})
    hub.fault("config.json", method="GET", drop_after=5, times=1)

    ask("org/name", options)

    assert capfd.readouterr() == ("", "")
