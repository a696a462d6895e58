"""A Hub that gives no answer: the cache, then the catalogue, then an error; always within the deadline."""

import os
import re
import subprocess
import sys

import pytest

from tests.hub_server import FOREVER, closed_port
from vlm_inspect.errors import HubUnavailableError
from vlm_inspect.ref import ModelRef
from vlm_inspect.sources import InspectOptions, load

LLAVA = {"config.json": {"model_type": "llava"}}
RIGHT = "hf_right"
IMPOSSIBLE = "hf_ünmöglich"
KNOWN = "llava-hf/llava-1.5-7b-hf"
# in the words of httpx, and of requests, on which huggingface_hub stood before 1.0
DROPPED = "(Server disconnected|Remote end closed connection) without"
# what may go wrong on the way, and what is said of it
TROUBLES = {
    "drops the connection": ({"drop": True}, f"cannot be reached: {DROPPED}"),
    "is busy": ({"status": 429, "headers": {"Retry-After": "60"}}, "answered 429"),
    "has an error": ({"status": 500, "headers": {"Retry-After": "60"}}, "answered 500"),
    "is busy at the download": (
        {"method": "GET", "status": 429, "headers": {"Retry-After": "60"}},
        "answered 429, too many requests: it says to wait 60 s",
    ),
    "never finishes a download": (
        {"method": "GET", "drop_after": 5},
        "the download failed: the answer broke off",
    ),
    "is down": ({"status": 503, "headers": {"Retry-After": "60"}}, "answered 503"),
    "has an error at the download": ({"method": "GET", "status": 500}, "answered 500"),
    "announces another length": (
        {"method": "HEAD", "content_length": 999},
        "the download failed: 23 bytes came of 999",
    ),
}
# what would go on for long
ENDLESS = {
    "is slow": ({"delay": FOREVER}, "did not come to an end within 0.5 s"),
}
# a program that asks for one model, for what only a process of its own can be told
PROGRAM = """
import sys
from vlm_inspect.errors import SourceError
from vlm_inspect.ref import ModelRef
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
    return InspectOptions(cache_dir=tmp_path / "cache")


def run(name, *, deadline=60, **environment):
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, str(deadline)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert answer.stderr == ""
    return answer.stdout.strip().split("|")


@pytest.mark.parametrize(("fault", "said"), TROUBLES.values(), ids=TROUBLES.keys())
def test_a_hub_in_trouble_leads_to_the_catalogue_with_one_line(hub, options, fault, said):
    hub.add_model(KNOWN, LLAVA)
    hub.fault("config.json", **fault)

    checkpoint = load(ModelRef(KNOWN), options)

    assert checkpoint.identity.source == "catalogue"
    assert len(checkpoint.notes) == 1
    assert re.search(said, checkpoint.notes[0])
    assert checkpoint.notes[0].endswith(f"{KNOWN} is answered from the built-in catalogue.")
    assert "\n" not in checkpoint.notes[0]


@pytest.mark.parametrize(("fault", "said"), ENDLESS.values(), ids=ENDLESS.keys())
def test_a_hub_that_comes_to_no_end_is_left_at_the_deadline(hub, tmp_path, fault, said):
    hub.add_model(KNOWN, LLAVA)
    hub.fault("config.json", **fault)

    source, _, note = run(KNOWN, deadline=0.5, HF_HUB_CACHE=str(tmp_path))

    assert source == "catalogue"
    assert re.match(rf"{re.escape(hub.url)} {said}\. {KNOWN} is answered", note)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_hub_in_trouble_leads_to_the_cache_first(hub, options, trouble):
    commit = hub.add_model(KNOWN, LLAVA)
    before = load(ModelRef(KNOWN), options)
    hub.add_model(KNOWN, {"config.json": {"model_type": "newer"}})
    hub.fault("config.json", **TROUBLES[trouble][0])

    after = load(ModelRef(KNOWN), options)

    assert (after.identity, after.config) == (before.identity, before.config)
    assert after.notes[0].endswith(f"{KNOWN} is answered from the cache, commit {commit[:12]}.")


def test_a_model_that_is_nowhere_else_is_an_error_with_the_cause(hub, options):
    hub.fault("config.json", drop=True)

    with pytest.raises(HubUnavailableError, match=f"cannot be reached: {DROPPED}") as caught:
        load(ModelRef("org/name"), options)

    assert "Check the connection" in caught.value.hint


def test_the_catalogue_does_not_answer_for_a_revision(hub, options):
    hub.fault("config.json", drop=True)

    with pytest.raises(HubUnavailableError):
        load(ModelRef(KNOWN, revision="main"), options)


def test_a_refused_connection_is_named_and_not_retried():
    endpoint = f"http://127.0.0.1:{closed_port()}"

    kind, message, _ = run("org/name", deadline=FOREVER, HF_ENDPOINT=endpoint)

    assert kind == "HubUnavailableError"
    assert message.startswith(f"{endpoint} cannot be reached: ")
    assert message.endswith("Connection refused.")


def test_a_host_that_does_not_exist_leads_to_the_catalogue():
    source, _, note = run(KNOWN, HF_ENDPOINT="http://nowhere.invalid")

    assert source == "catalogue"
    assert note.startswith("http://nowhere.invalid cannot be reached: ")


def test_the_password_of_a_mirror_is_not_printed():
    kind, message, hint = run("org/name", HF_ENDPOINT=f"http://me:secret@127.0.0.1:{closed_port()}")

    assert kind == "HubUnavailableError"
    assert "secret" not in message + hint


def test_an_address_without_a_scheme_is_an_error_and_no_traceback():
    assert run("org/name", HF_ENDPOINT="127.0.0.1")[0] == "SourceError"


def test_the_variables_of_the_hub_work(hub, tmp_path):
    commit = hub.add_model("org/name", LLAVA, private=True, readers={RIGHT})

    assert run("org/name", HF_TOKEN=RIGHT, HF_HUB_CACHE=str(tmp_path)) == ["hub", commit]
    assert (tmp_path / "models--org--name").is_dir()
    hub.requests.clear()
    assert run("org/name", HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(tmp_path)) == ["hub", commit]
    assert run(KNOWN, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path)) == ["catalogue", "None"]
    assert hub.requests == []


def test_a_stored_token_that_can_be_none_is_not_printed(hub):
    hub.add_model("org/name", LLAVA)

    said = run("org/name", HF_TOKEN=IMPOSSIBLE)

    assert said[0] == "TokenError"
    assert IMPOSSIBLE not in "".join(said)
