"""A Hub that is busy, broken, slow or out of reach: two attempts at most, then the cache or the catalogue."""

import json
import os
import re
import socket
import subprocess
import sys
import time

import pytest

from tests.hub_server import FOREVER, closed_port
from tests.sources.lookups import (
    NAME,
    OWN_CODE,
    TOKEN,
    ask,
    every_lookup,
    options_of,
    publish,
    remaining_temporary_files,
    why_no_headers,
)
from vlm_inspect.core.errors import BadHeaderError, HubUnavailableError, SourceError
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import doctor, load
from vlm_inspect.sources.http import retry_after

LLAVA = {"config.json": {"model_type": "llava"}}
KNOWN = "llava-hf/llava-1.5-7b-hf"
WAITS = {
    "seconds": ({"Retry-After": "3600"}, "wait 3600 s"),
    "two days": ({"Retry-After": "172800"}, "wait for more than a day"),
    "rate limit": ({"RateLimit": '"api"; r=0; t=299'}, "wait 299 s"),
}
NO_WAITS = (
    {},
    *({"Retry-After": text} for text in ("-5", "1.5", "9" * 5000, "soon")),
    *({"RateLimit": text} for text in ('"api";r=5;t=55', ";;;r=0;t=x")),
)
SLOW = {
    "body": {"pace": 0.2},
    "headers": {"slow_head": 0.2},
    "no answer": {"delay": FOREVER},
}
# the messages of httpx, and of requests, which huggingface_hub used before 1.0
DROPPED = "cannot be reached: (Server disconnected|Remote end closed connection) without"
TROUBLES = {
    "dropped connection": ({"drop": True}, DROPPED),
    "busy": ({"status": 429, "headers": {"Retry-After": "60"}}, "answered 429, too many requests: wait"),
    "error": ({"status": 503, "headers": {"Retry-After": "60"}}, "answered 503"),
    "error at the download": ({"method": "GET", "status": 500, "headers": {"Retry-After": "0"}}, "answered 500"),
    "truncated": ({"method": "GET", "drop_after": 5}, "the download failed: the connection was closed"),
    "another length": (
        {"method": "HEAD", "content_length": 999},
        "the download failed: received 23 of 999 bytes",
    ),
}
# a program that looks up one model, for environment variables that are read once
PROGRAM = """
import sys
from vlm_inspect.core.errors import SourceError
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.sources import InspectOptions, load
try:
    checkpoint = load(ModelRef.parse(sys.argv[1]), InspectOptions(timeout=float(sys.argv[2])))
except SourceError as error:
    print(type(error).__name__, error.message, error.hint, sep="|")
else:
    print(checkpoint.identity.source, checkpoint.identity.revision, *checkpoint.notes, sep="|")
"""


@pytest.fixture
def options(tmp_path):
    return options_of(tmp_path)


def run(name, *, deadline=60, **environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, str(deadline)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip().split("|")


# --- busy


@pytest.mark.parametrize(("headers", "message"), WAITS.values(), ids=WAITS.keys())
def test_long_wait_is_reported_and_not_waited_for(hub, options, headers, message):
    hub.fault("config.json", status=429, headers=headers)

    with pytest.raises(HubUnavailableError) as caught:
        load(ModelRef(NAME), options)

    assert caught.value.message == f"{hub.url} answered 429, too many requests: {message}."
    assert caught.value.hint.startswith("Try again later.")
    assert len(hub.requests) == 1


@pytest.mark.parametrize("headers", NO_WAITS, ids=range(len(NO_WAITS)))
def test_malformed_wait_is_ignored(headers):
    assert retry_after(headers) is None


@every_lookup
@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 520])
def test_busy_hub_gets_two_requests_at_most(hub, options, tmp_path, file, look_up, status):
    commit = publish(hub, tmp_path)
    hub.fault(file, status=status, headers={"Retry-After": "0"})

    with pytest.raises(HubUnavailableError, match=f"answered {status}"):
        ask(look_up, commit, options)

    assert sum(request.path.endswith(file) for request in hub.requests) <= 2
    hub.faults.clear()
    assert ask(look_up, commit, options) == ask(look_up, commit, options_of(tmp_path / "another"))


@every_lookup
def test_wait_beyond_the_deadline_is_not_begun(hub, tmp_path, file, look_up):
    commit = publish(hub, tmp_path)
    hub.fault(file, status=503, headers={"Retry-After": "5"})

    with pytest.raises(HubUnavailableError, match="answered 503"):
        ask(look_up, commit, options_of(tmp_path, timeout=4))

    assert sum(request.path.endswith(file) for request in hub.requests) == 1


# --- broken


@every_lookup
@pytest.mark.parametrize("fault", [{"drop": True}, {"method": "GET", "drop_after": 2}])
@pytest.mark.parametrize("times", [1, 10**6])
def test_connection_that_breaks_is_tried_once_more(hub, options, tmp_path, file, look_up, fault, times):
    commit = publish(hub, tmp_path)
    hub.fault(file, times=times, **fault)

    if times == 1:
        assert ask(look_up, commit, options) == ask(look_up, commit, options_of(tmp_path / "another"))
    else:
        with pytest.raises((HubUnavailableError, BadHeaderError)):
            ask(look_up, commit, options)
        assert sum(request.path.endswith(file) for request in hub.requests) <= 3
    assert remaining_temporary_files(options) == []


@pytest.mark.parametrize(("fault", "message"), TROUBLES.values(), ids=TROUBLES.keys())
def test_catalogue_answers_for_a_hub_in_trouble(hub, options, fault, message):
    hub.add_model(KNOWN, LLAVA, readers={TOKEN})
    hub.fault("config.json", **fault)

    checkpoint = load(ModelRef(KNOWN), options)

    assert checkpoint.identity.source == "catalogue"
    (note,) = checkpoint.notes
    assert re.search(message, note)
    assert note.endswith(f"{KNOWN} is answered from the built-in catalogue.")
    assert "\n" not in note


@pytest.mark.parametrize("trouble", TROUBLES)
def test_cache_answers_before_the_catalogue(hub, options, trouble):
    commit = hub.add_model(KNOWN, LLAVA, readers={TOKEN})
    before = load(ModelRef(KNOWN), options)
    hub.add_model(KNOWN, {"config.json": {"model_type": "newer"}})
    hub.fault("config.json", **TROUBLES[trouble][0])

    after = load(ModelRef(KNOWN), options)

    assert (after.identity, after.config) == (before.identity, before.config)
    assert after.notes[0].endswith(f"{KNOWN} is answered from the cache, commit {commit[:12]}.")


@pytest.mark.parametrize("ref", [ModelRef(NAME), ModelRef(KNOWN, revision="main")])
def test_model_that_is_nowhere_else_is_an_error_with_the_cause(hub, options, ref):
    hub.fault("config.json", drop=True)

    with pytest.raises(HubUnavailableError, match=DROPPED) as caught:
        load(ref, options)

    assert "Check the connection" in caught.value.hint


# --- slow


@every_lookup
@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW.keys())
def test_slow_hub_is_left_at_the_deadline(hub, tmp_path, file, look_up, fault):
    commit = publish(hub, tmp_path)
    hub.fault(file, **fault)

    with pytest.raises(HubUnavailableError, match=r"did not finish within 0\.3 s"):
        ask(look_up, commit, options_of(tmp_path, timeout=0.3))

    hub.forget_faults()
    found = ask(look_up, commit, options_of(tmp_path))
    assert found == ask(look_up, commit, options_of(tmp_path / "another"))


@pytest.mark.parametrize("fault", [*SLOW.values(), {"status": 429}, {"drop": True}])
def test_slow_list_of_files_is_left_at_the_deadline(hub, tmp_path, fault):
    hub.fault("", within="/api/models/", **fault)

    with pytest.raises(HubUnavailableError):
        why_no_headers(hub, options_of(tmp_path, timeout=1.5 if "status" in fault else 0.3))


def test_download_stops_after_the_deadline(hub, tmp_path):
    publish(hub, tmp_path)
    hub.fault("config.json", method="GET", pace=0.05)

    with pytest.raises(HubUnavailableError):
        load(ModelRef(NAME), options_of(tmp_path, timeout=0.5))

    until = time.monotonic() + 20
    seen = []
    while (len(seen) < 10 or seen[-1] != seen[-10]) and time.monotonic() < until:
        time.sleep(0.05)
        seen.append(hub.requests[-1].body_bytes)
    assert seen[-1] == seen[-10] < len(json.dumps(OWN_CODE))


# --- environment variables, and servers that are not a Hub


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_server_that_never_answers_is_left(scheme, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"

        message = run(NAME, deadline=0.5, HF_ENDPOINT=endpoint, HF_HOME=str(tmp_path))[1]

    assert message == f"{endpoint} did not finish within 0.5 s."


def test_refused_connection_is_reported_without_the_mirrors_password():
    port = closed_port()

    kind, message, hint = run(NAME, HF_ENDPOINT=f"http://me:secret@127.0.0.1:{port}")

    assert kind == "HubUnavailableError"
    assert message.startswith(f"http://127.0.0.1:{port} cannot be reached: ")
    assert message.endswith("Connection refused.")
    assert "secret" not in message + hint


def test_unknown_host_leads_to_the_catalogue():
    source, _, note = run(KNOWN, HF_ENDPOINT="http://nowhere.invalid")

    assert source == "catalogue"
    assert note.startswith("http://nowhere.invalid cannot be reached: ")


@pytest.mark.parametrize("address", ["http://[::1", "http://", "http://127.0.0.1:99999", "file:///tmp", "x", ""])
def test_malformed_endpoint_is_an_error(monkeypatch, options, address):
    monkeypatch.setenv("HF_ENDPOINT", address)

    with pytest.raises(SourceError, match="HF_ENDPOINT is not a valid URL") as caught:
        load(ModelRef(NAME), options)

    assert "unset" in caught.value.hint
    assert {check.subject: check.state for check in doctor.run_checks(options)}["Hub"] == "wrong"


def test_endpoint_that_only_the_transport_refuses_is_an_error():
    assert "cannot be reached" in run(NAME, HF_ENDPOINT="http://a b")[1]
    assert run(NAME, HF_ENDPOINT="127.0.0.1")[0] == "SourceError"


def test_environment_variables_of_the_hub_work(hub, tmp_path):
    commit = hub.add_model(NAME, LLAVA, private=True, readers={TOKEN})

    assert run(NAME, HF_TOKEN=TOKEN, HF_HUB_CACHE=str(tmp_path)) == ["hub", commit]
    assert (tmp_path / "models--org--name").is_dir()
    hub.requests.clear()
    assert run(NAME, HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(tmp_path)) == ["hub", commit]
    assert run(KNOWN, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path)) == ["catalogue", "None"]
    assert hub.requests == []


# --- doctor


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 500}, "answered 500"),
        ({"drop": True}, "cannot be reached"),
        ({"status": 302, "headers": {"Location": "/api/models/vlm-inspect/doctor"}}, "redirects more than"),
        ({"status": 200, "body": b"<html>Sign in to use this network</html>"}, "not the JSON"),
        ({"status": 200, "body": b"{}", "headers": {"Content-Encoding": "gzip"}}, "compressed"),
    ],
)
def test_doctor_reports_what_is_wrong_with_the_hub(hub, tmp_path, fault, message):
    hub.fault("doctor", **fault)

    checks = doctor.run_checks(InspectOptions(cache_dir=tmp_path))

    found = next(check for check in checks if check.subject == "Hub")
    assert (found.state, found.hint != "") == ("wrong", True)
    assert message in found.message


def test_doctor_sends_no_token(hub, options):
    list(doctor.run_checks(options))

    assert [request.token for request in hub.requests] == [None]
