"""What the Hub refuses: each refusal says what happened and what to type next, and shows no token."""

import traceback

import pytest

from vlm_inspect.errors import (
    ConfigMissingError,
    GatedModelError,
    HubUnavailableError,
    ModelNotFoundError,
    RevisionNotFoundError,
    TokenError,
)
from vlm_inspect.ref import ModelRef
from vlm_inspect.sources import InspectOptions, load

LLAVA = {"config.json": {"model_type": "llava"}}
ANOTHER = "hf_another"
WRONG = "hf_wrongWRONGwrong"


@pytest.fixture
def refusal(hub, tmp_path):
    """The error that a question to the Hub ends in; nothing of it may show the token."""

    def ask(error, name="org/name", revision=None, token=None):
        with pytest.raises(error) as caught:
            load(ModelRef(name, revision=revision), InspectOptions(token=token, cache_dir=tmp_path))
        shown = "".join(traceback.format_exception(caught.value)) + caught.value.hint
        assert not token or token.strip() not in shown
        assert caught.type is error
        assert caught.value.hint
        return caught.value

    hub.tokens.add(ANOTHER)
    return ask


def test_a_missing_repo_says_to_check_the_spelling(refusal):
    assert "no model org/name" in refusal(ModelNotFoundError).message
    assert "spelling" in refusal(ModelNotFoundError, token=ANOTHER).hint


def test_a_private_repo_without_a_token_says_how_to_log_in(hub, refusal):
    hub.add_model("org/name", LLAVA, private=True, readers={"hf_right"})

    error = refusal(ModelNotFoundError)

    assert all(way in error.hint for way in ("hf auth login", "HF_TOKEN", "--token"))
    assert "without a token" in error.message


def test_a_private_repo_with_a_token_that_may_not_read_it_says_so(hub, refusal):
    hub.add_model("org/name", LLAVA, private=True, readers={"hf_right"})

    assert "the account of the token" in refusal(ModelNotFoundError, token=ANOTHER).message


@pytest.mark.parametrize("token", [None, ANOTHER])
def test_a_gated_repo_says_where_to_accept_the_licence(hub, refusal, token):
    hub.add_model("org/name", LLAVA, gated=True, readers={"hf_right"})

    assert f"{hub.url}/org/name" in refusal(GatedModelError, token=token).hint


def test_a_token_that_the_hub_does_not_know_is_named_as_the_cause(hub, refusal):
    hub.add_model("org/name", LLAVA)

    assert "does not accept the token" in refusal(TokenError, token=WRONG).message


@pytest.mark.parametrize("token", ["hf_a\nb", "hf_ä", "hf_a b", "hf_\x00", "hf_\x7f", "hf_\N{LLAMA}"])
def test_a_token_that_can_be_none_is_not_sent(hub, refusal, token):
    hub.add_model("org/name", LLAVA)

    refusal(TokenError, token=token)

    assert hub.requests == []


def test_a_server_that_repeats_the_token_does_not_get_it_printed(hub, refusal):
    hub.add_model("org/name", LLAVA)
    hub.tokens.add(WRONG)
    hub.fault("config.json", status=403, headers={"X-Error-Message": f"{WRONG} may not read this"})

    assert "<token> may not read this" in refusal(GatedModelError, token=WRONG).message


def test_a_missing_revision_is_named(hub, refusal):
    hub.add_model("org/name", LLAVA)

    error = refusal(RevisionNotFoundError, revision="v9")

    assert "'v9'" in error.message
    assert "/org/name/commits" in error.hint


def test_a_commit_that_is_not_in_the_repo_is_a_missing_revision(hub, refusal):
    hub.add_model("org/name", LLAVA)

    assert "0" * 40 in refusal(RevisionNotFoundError, revision="0" * 40).message


def test_a_repo_without_a_configuration_says_what_it_may_be(hub, refusal):
    hub.add_model("org/name", {"adapter_config.json": b"{}"})

    assert "adapter" in refusal(ConfigMissingError).hint


def test_a_disabled_repo_is_said_to_be_disabled(hub, refusal):
    hub.add_model("org/name", LLAVA, disabled=True)

    assert "disabled" in refusal(ModelNotFoundError).message


def test_a_name_that_the_hub_cannot_have_is_not_found(refusal):
    refusal(ModelNotFoundError, name="a--b/../c")


def test_the_word_of_the_hub_wins_over_the_catalogue(refusal):
    refusal(ModelNotFoundError, name="llava-hf/llava-1.5-7b-hf")


def test_the_word_of_the_hub_wins_over_the_cache(hub, refusal, tmp_path):
    hub.add_model("org/name", LLAVA)
    load(ModelRef("org/name"), InspectOptions(cache_dir=tmp_path))
    hub.models["org/name"].gated = True

    refusal(GatedModelError)


def test_too_many_requests_says_how_long_to_wait(hub, refusal):
    hub.add_model("org/name", LLAVA)
    hub.fault("config.json", status=429, headers={"Retry-After": "3600"})

    error = refusal(HubUnavailableError)

    assert "answered 429, too many requests: it says to wait 3600 s" in error.message
    assert len(hub.requests) == 1


def test_a_server_error_is_asked_about_twice_and_no_more(hub, refusal):
    hub.add_model("org/name", LLAVA)
    hub.fault("config.json", status=500, headers={"Retry-After": "0"})

    assert "answered 500" in refusal(HubUnavailableError).message
    assert len(hub.requests) == 2


def test_a_server_that_is_no_hub_is_said_to_be_none(hub, refusal):
    hub.add_model("org/name", LLAVA)
    hub.fault("config.json", without=("X-Repo-Commit",))

    assert "not as a Hub does" in refusal(HubUnavailableError).message
