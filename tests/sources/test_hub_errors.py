"""Errors of the Hub: each says what happened and what to do, and shows no token."""

import traceback
from dataclasses import replace

import pytest

from vlm_inspect.core.errors import (
    ConfigMissingError,
    GatedModelError,
    HubUnavailableError,
    ModelNotFoundError,
    RevisionNotFoundError,
    TokenError,
)
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import load

LLAVA = {"config.json": {"model_type": "llava"}}
OTHER = "hf_another"
WRONG = "hf_wrongWRONGwrong"
# the model, if there is one; the token; the error, its message and its hint
CASES = {
    "missing": (None, None, ModelNotFoundError, "no model org/name", "spelling"),
    "missing, with token": (None, OTHER, ModelNotFoundError, "the account of this token", "spelling"),
    "private": ({"private": True}, None, ModelNotFoundError, "without a token", "hf auth login"),
    "private, other token": (
        {"private": True},
        OTHER,
        ModelNotFoundError,
        "account of this token",
        "HF_TOKEN",
    ),
    "gated": ({"gated": True}, None, GatedModelError, "is gated", "/org/name"),
    "gated, other token": ({"gated": True}, OTHER, GatedModelError, "is gated", "/org/name"),
    "unknown token": ({}, WRONG, TokenError, "rejected the token", "--token"),
    "disabled": ({"disabled": True}, None, ModelNotFoundError, "disabled", "/org/name"),
}


@pytest.fixture
def error_of(hub, tmp_path):
    """The error of a lookup, nothing of which may show the token."""

    def look_up(kind, name="org/name", revision=None, token=None):
        with pytest.raises(kind) as caught:
            load(ModelRef(name, revision=revision), InspectOptions(token=token, cache_dir=tmp_path))
        shown = "".join(traceback.format_exception(caught.value)) + caught.value.hint
        assert not token or token.strip() not in shown
        assert caught.type is kind
        assert caught.value.hint
        return caught.value

    hub.tokens.add(OTHER)
    return look_up


@pytest.mark.parametrize(("model", "token", "kind", "message", "hint"), CASES.values(), ids=CASES.keys())
def test_error_says_what_happened_and_what_to_do(hub, error_of, model, token, kind, message, hint):
    if model is not None:
        hub.add_model("org/name", LLAVA, readers={"hf_right"}, **model)

    error = error_of(kind, token=token)

    assert message in error.message
    assert hint in error.hint


@pytest.mark.parametrize("token", ["hf_a\nb", "hf_ä", "hf_a b", "hf_\x00", "hf_\x7f", "hf_\N{LLAMA}"])
def test_malformed_token_is_not_sent(hub, error_of, monkeypatch, token):
    hub.add_model("org/name", LLAVA)

    error_of(TokenError, token=token)

    assert hub.requests == []
    if "\x00" not in token and "\n" not in token:  # the former cannot be set, the latter is removed
        monkeypatch.setenv("HF_TOKEN", token)
        assert token not in error_of(TokenError).message


def test_token_that_the_server_repeats_is_not_shown(hub, error_of):
    hub.add_model("org/name", LLAVA)
    hub.tokens.add(WRONG)
    hub.fault("config.json", status=403, headers={"X-Error-Message": f"{WRONG} may not read this"})

    assert "<token> may not read this" in error_of(GatedModelError, token=WRONG).message


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_missing_revision_is_named(hub, error_of, revision):
    hub.add_model("org/name", LLAVA)

    error = error_of(RevisionNotFoundError, revision=revision)

    assert f"'{revision}'" in error.message
    assert "/org/name/commits" in error.hint


def test_repo_without_a_configuration_may_be_an_adapter(hub, error_of):
    hub.add_model("org/name", {"adapter_config.json": b"{}"})

    assert "adapter" in error_of(ConfigMissingError).hint


@pytest.mark.parametrize("name", ["a--b/../c", "llava-hf/llava-1.5-7b-hf"])
def test_hub_has_precedence_over_the_catalogue(error_of, name):
    error_of(ModelNotFoundError, name=name)


def test_hub_has_precedence_over_the_cache(hub, error_of, tmp_path):
    hub.add_model("org/name", LLAVA)
    load(ModelRef("org/name"), InspectOptions(cache_dir=tmp_path))
    hub.models["org/name"].gated = True

    error_of(GatedModelError)


def test_server_error_is_tried_twice(hub, error_of):
    hub.add_model("org/name", LLAVA)
    hub.fault("config.json", status=500, headers={"Retry-After": "0"})

    assert "answered 500" in error_of(HubUnavailableError).message
    assert len(hub.requests) == 2


def test_server_that_is_no_hub_is_reported(hub, error_of):
    hub.add_model("org/name", LLAVA)
    hub.fault("config.json", without=("X-Repo-Commit",))

    assert "unexpected response: it names no commit" in error_of(HubUnavailableError).message


def test_without_a_token_none_is_blamed(hub, options):
    hub.add_model("org/name", LLAVA)
    hub.fault("config.json", status=401, headers={"X-Error-Message": "Invalid credentials in Authorization header"})
    with pytest.raises(ModelNotFoundError, match="or none for anyone without a token"):
        load(ModelRef("org/name"), options)


@pytest.mark.parametrize(
    ("token", "headers", "hint"),
    [
        (None, {}, "Try again in a few minutes. More requests are allowed with a token: hf auth login"),
        (None, {"Retry-After": "90"}, "Try again later. More requests are allowed with a token: hf auth login"),
        (OTHER, {"Retry-After": "90"}, "Try again later."),
    ],
)
def test_too_many_requests_say_when_to_try_again(hub, options, token, headers, hint):
    hub.add_model("org/name", LLAVA)
    hub.fault("config.json", status=429, headers=headers)
    with pytest.raises(HubUnavailableError, match="429, too many requests") as caught:
        load(ModelRef("org/name"), replace(options, token=token))
    assert caught.value.hint.startswith(hint)
    assert ("token" in caught.value.hint) == (token is None)
