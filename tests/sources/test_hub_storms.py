"""A Hub that is busy, broken, slow or silent: it is asked twice at most, and left within the deadline."""

import json
import os
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from tests.hub_server import FOREVER
from tests.sources.lookups import (
    NAME,
    OWN_CODE,
    ask,
    ask_for_the_list,
    every_lookup,
    half_written,
    options_of,
    publish,
)
from tests.sources.test_hub_threads import ask_all
from vlm_inspect.errors import BadHeaderError, HubUnavailableError, SourceError
from vlm_inspect.ref import ModelRef
from vlm_inspect.sources import InspectOptions, health, load
from vlm_inspect.sources.hub_errors import retry_after

BUSY = [408, 425, 429, 500, 502, 503, 504, 520]
HOUR = timedelta(hours=1)
# what a Hub says of when to ask again, and what is said of that
WAITS = {
    "seconds": ({"Retry-After": "3600"}, "it says to wait 3600 s"),
    "more seconds than there are": ({"Retry-After": "9" * 12}, "it says to wait for more than a day"),
    "two days": ({"Retry-After": "172800"}, "it says to wait for more than a day"),
    "a limit used up": ({"RateLimit": '"api";r=0;t=55'}, "it says to wait 55 s"),
    "a limit used up, with a space": ({"ratelimit": '"api"; r=0; t=299'}, "it says to wait 299 s"),
}
NO_WAITS = {
    "nothing": {},
    "a negative number": {"Retry-After": "-5"},
    "a fraction": {"Retry-After": "1.5"},
    "a number of thousands of digits": {"Retry-After": "9" * 5000},
    "a word": {"Retry-After": "soon"},
    "a date that is none": {"Retry-After": "Wed, 99 Foo 2199 99:99:99 GMT"},
    "a year that is none": {"Retry-After": "Wed, 21 Oct 99999999999 07:28:00 GMT"},
    "a limit that is left": {"RateLimit": '"api";r=5;t=55'},
    "a limit that is none": {"RateLimit": ";;;r=0;t=x"},
}
SLOW = {
    "the body a byte at a time": {"pace": 0.2},
    "the headers a byte at a time": {"slow_head": 0.2},
    "no answer": {"delay": FOREVER},
}


@pytest.fixture
def options(tmp_path):
    return options_of(tmp_path)


def busy(hub, options, headers):
    """The error that a busy Hub leads to."""
    hub.fault("config.json", status=429, headers=headers)
    with pytest.raises(HubUnavailableError) as caught:
        load(ModelRef(NAME), options)
    return caught.value


@pytest.mark.parametrize(("headers", "said"), WAITS.values(), ids=WAITS.keys())
def test_who_is_told_to_wait_long_is_told_how_long_and_asks_once(hub, options, headers, said):
    error = busy(hub, options, headers)

    assert error.message == f"{hub.url} answered 429, too many requests: {said}."
    assert error.hint.startswith("Try again then.")
    assert len(hub.requests) == 1


def test_who_is_not_told_how_long_to_wait_asks_once_more(hub, options):
    error = busy(hub, options, NO_WAITS["a negative number"])

    assert error.message == f"{hub.url} answered 429, too many requests."
    assert len(hub.requests) == 2


@pytest.mark.parametrize("headers", NO_WAITS.values(), ids=NO_WAITS.keys())
def test_a_wait_that_is_none_is_not_told_as_one(headers):
    said = {"Retry-After": "", **headers}

    assert retry_after(SimpleNamespace(response=SimpleNamespace(headers=said))) is None


def test_a_date_is_a_wait_too(hub, options):
    error = busy(
        hub, options, {"Retry-After": format_datetime(datetime.now(timezone.utc) + HOUR, usegmt=True)}
    )

    assert "it says to wait 3600 s" in error.message or "it says to wait 359" in error.message
    assert len(hub.requests) == 1


@pytest.mark.parametrize(
    "date", [datetime.now(timezone.utc) - HOUR, datetime(1970, 1, 1, tzinfo=timezone.utc)]
)
def test_a_date_that_is_past_is_no_wait(hub, options, tmp_path, date):
    publish(hub, tmp_path)
    said = {"Retry-After": format_datetime(date, usegmt=True)}
    hub.fault("config.json", status=429, times=1, headers=said)

    assert load(ModelRef(NAME), options).config


@every_lookup
@pytest.mark.parametrize("status", BUSY)
def test_a_storm_is_not_answered_by_another(hub, options, tmp_path, file, look_up, status):
    commit = publish(hub, tmp_path)
    hub.fault(file, status=status, headers={"Retry-After": "0"})

    with pytest.raises(HubUnavailableError, match=f"answered {status}"):
        ask(look_up, commit, options)

    assert sum(request.path.endswith(file) for request in hub.requests) <= 2
    hub.faults.clear()
    assert ask(look_up, commit, options) == ask(look_up, commit, options_of(tmp_path / "another"))


@every_lookup
def test_no_wait_is_begun_that_the_deadline_does_not_leave(hub, tmp_path, file, look_up):
    commit = publish(hub, tmp_path)
    hub.fault(file, status=503, headers={"Retry-After": "5"})

    with pytest.raises(HubUnavailableError, match="answered 503"):
        ask(look_up, commit, options_of(tmp_path, deadline=4))

    assert sum(request.path.endswith(file) for request in hub.requests) == 1


@every_lookup
@pytest.mark.parametrize("fault", [{"drop": True}, {"method": "GET", "drop_after": 2}])
def test_a_connection_that_breaks_once_costs_nothing(hub, options, tmp_path, file, look_up, fault):
    commit = publish(hub, tmp_path)
    hub.fault(file, times=1, **fault)

    assert ask(look_up, commit, options) == ask(look_up, commit, options_of(tmp_path / "another"))


@every_lookup
@pytest.mark.parametrize("fault", [{"drop": True}, {"method": "GET", "drop_after": 2}])
def test_connections_that_always_break_are_given_up(hub, options, tmp_path, file, look_up, fault):
    commit = publish(hub, tmp_path)
    hub.fault(file, **fault)

    with pytest.raises((HubUnavailableError, BadHeaderError)):
        ask(look_up, commit, options)

    assert sum(request.path.endswith(file) for request in hub.requests) <= 3
    assert half_written(options) == []


@every_lookup
@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW.keys())
def test_a_hub_that_is_slow_is_left_at_the_deadline(hub, tmp_path, file, look_up, fault):
    options = options_of(tmp_path, deadline=0.4)
    commit = publish(hub, tmp_path)
    hub.fault(file, **fault)

    with pytest.raises(HubUnavailableError, match=r"within 0\.4 s"):
        ask(look_up, commit, options)

    hub.forget_faults()
    options = options_of(tmp_path)
    assert ask(look_up, commit, options) == ask(look_up, commit, options_of(tmp_path / "another"))


def test_a_download_that_nobody_waits_for_does_not_go_on(hub, tmp_path):
    publish(hub, tmp_path)
    hub.fault("config.json", method="GET", pace=0.05)

    with pytest.raises(HubUnavailableError):
        load(ModelRef(NAME), options_of(tmp_path, deadline=0.5))

    until = time.monotonic() + 20
    seen = []
    while (len(seen) < 10 or seen[-1] != seen[-10]) and time.monotonic() < until:
        time.sleep(0.05)
        seen.append(hub.requests[-1].body_bytes)
    assert seen[-1] == seen[-10] < len(json.dumps(OWN_CODE))


@pytest.mark.parametrize("fault", [*SLOW.values(), {"status": 429}, {"status": 503}, {"drop": True}])
def test_the_list_of_files_is_waited_for_no_longer(hub, tmp_path, fault):
    deadline = 1.5 if "status" in fault else 0.5
    hub.fault("", within="/api/models/", **fault)

    with pytest.raises(HubUnavailableError):
        ask_for_the_list(hub, options_of(tmp_path, deadline))


def test_a_hub_that_answers_the_first_of_twenty_models_alone_is_left(hub, tmp_path):
    names = [f"org/model-{n}" for n in range(20)]
    commits = [hub.add_model(name, {"config.json": {"model_type": "llava"}}) for name in names]
    for name in names[1:]:
        hub.fault("config.json", within=f"{name}/", delay=FOREVER)

    first, *others = ask_all(names, InspectOptions(cache_dir=tmp_path, timeout=8), threads=20)

    assert first.identity.revision == commits[0]
    assert {type(other) for other in others} == {HubUnavailableError}
    assert [other.model for other in others] == names[1:]


# --- servers that are no Hub at all, in a process of their own: the address is read when it starts


@pytest.fixture
def silent():
    """The address of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def look_up_at(endpoint, tmp_path, deadline=0.5):
    program = (
        "import sys\n"
        "from vlm_inspect.errors import HubUnavailableError\n"
        "from vlm_inspect.ref import ModelRef\n"
        "from vlm_inspect.sources import InspectOptions, load\n"
        "try:\n"
        "    load(ModelRef('org/name'), InspectOptions(timeout=float(sys.argv[1])))\n"
        "except HubUnavailableError as error:\n"
        "    print(error.message)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(deadline)],
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert answer.stderr == ""
    return answer.stdout


def test_a_server_that_never_answers_is_left(silent, tmp_path):
    assert (
        look_up_at(f"http://{silent}", tmp_path) == f"http://{silent} did not come to an end within 0.5 s.\n"
    )


def test_a_server_that_never_shakes_hands_is_left(silent, tmp_path):
    assert "within 0.5 s" in look_up_at(f"https://{silent}", tmp_path)


def test_https_to_a_port_that_speaks_http_is_said_to_be_so(hub, tmp_path):
    said = look_up_at(f"https://127.0.0.1:{hub.port}", tmp_path, deadline=20)

    assert said.startswith(f"https://127.0.0.1:{hub.port} cannot be reached: ")
    assert "SSL" in said


@pytest.mark.parametrize(
    "address", ["http://[::1", "http://", "http://127.0.0.1:99999", "file:///tmp", "x", ""]
)
def test_an_endpoint_that_is_no_address_is_an_error_and_no_traceback(monkeypatch, tmp_path, address):
    monkeypatch.setenv("HF_ENDPOINT", address)

    with pytest.raises(SourceError, match="HF_ENDPOINT is no address") as caught:
        load(ModelRef(NAME), options_of(tmp_path))

    assert "unset" in caught.value.hint
    found = {each.subject: each.state for each in health.look(options_of(tmp_path))}
    assert found["Hub"] == "wrong"


def test_an_endpoint_that_only_the_transport_finds_fault_with_is_an_error(tmp_path):
    assert "cannot be reached" in look_up_at("http://a b", tmp_path, deadline=20)


# --- the doctor's question


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 500}, "answered 500"),
        ({"drop": True}, "cannot be reached"),
        ({"status": 302, "headers": {"Location": "/api/models/vlm-inspect/doctor"}}, "redirects more than"),
        ({"status": 302, "headers": {"Location": "file:///etc/passwd"}}, "neither http nor https"),
        ({"status": 200, "body": b"<html>Sign in to use this network</html>"}, "is not JSON"),
        ({"status": 200, "body": b"[]"}, "not an object"),
        ({"status": 200, "body": b"{}", "headers": {"Content-Encoding": "gzip"}}, "compressed"),
        ({"raw": b"SSH-2.0-OpenSSH_9.6\r\n"}, "cannot be reached"),
    ],
)
def test_the_doctor_says_what_is_wrong_with_the_hub(hub, tmp_path, fault, said):
    hub.fault("doctor", **fault)

    finding = next(each for each in health.look(InspectOptions(cache_dir=tmp_path)) if each.subject == "Hub")

    assert (finding.state, finding.hint != "") == ("wrong", True)
    assert said in finding.said


def test_the_doctor_sends_no_token(hub, tmp_path):
    list(health.look(options_of(tmp_path)))

    assert [request.token for request in hub.requests] == [None]
