"""Commands with a Hub that fails: the error messages, and a correct result in the next run."""

import signal
import subprocess
import time

import pytest

from tests import sparse
from tests.cli.program import LLAVA, SCRIPT, call, cells, environment, run
from tests.hub_server import HubServer
from tests.sources.test_hub_untrusted import bomb

MODEL = "org/llava"
KNOWN = "llava-hf/llava-1.5-7b-hf"
SECRET = "hf_thisIsTheSecretOfTheTest"  # noqa: S105 - of no account
OWN_CODE = {"model_type": "own", "auto_map": {"AutoModel": "modeling_own.OwnModel"}, "hidden_size": 4, "num_layers": 1}
# what the Hub does, the message and the hint
FAULTS = {
    "is busy for an hour": (
        {"status": 429, "headers": {"Retry-After": "3600"}},
        "answered 429, too many requests: wait 3600 s.",
        "Try again later.",
    ),
    "fails": ({"status": 500, "headers": {"Retry-After": "0"}}, "answered 500.", "Check the connection"),
    "drops every connection": ({"drop": True}, "cannot be reached:", "Check the connection"),
    "redirects in a circle": (
        {"status": 302, "headers": {"Location": "/x/config.json"}},
        "sent an unexpected response: it redirects more than 8 times.",
        "Check the connection",
    ),
    "redirects to a file": (
        {"status": 302, "headers": {"Location": "file:///etc/passwd"}},
        "sent an unexpected response: it redirects from http to file.",
        "Check the connection",
    ),
    "names another commit": (
        {"method": "GET", "headers": {"X-Repo-Commit": "0" * 40}},
        "was requested, and it is of another.",
        "Check the connection",
    ),
    "names a commit that is a path": (
        {"headers": {"X-Repo-Commit": "../" * 13 + "x"}},
        "sent an unexpected response: it names no commit.",
        "Check the connection",
    ),
    "drops the connection": (
        {"method": "GET", "drop_after": 5},
        "the download failed:",
        "Check the connection",
    ),
    "sends what unpacks to a hundred megabytes": (
        {"method": "GET", "body": b"bomb", "headers": {"Content-Encoding": "gzip"}},
        "its body is compressed, which the request did not allow.",
        "Check the connection",
    ),
}


@pytest.fixture
def home(tmp_path):
    """A Hub cache that is empty."""
    return {"cwd": tmp_path, "HF_HOME": str(tmp_path / "home")}


@pytest.mark.parametrize(("fault", "sentence", "hint"), FAULTS.values(), ids=FAULTS.keys())
def test_fault_is_one_message_and_one_hint(hub, tmp_path, fault, sentence, hint):
    hub.add_model(MODEL, {"config.json": LLAVA})
    body = bomb() if fault.get("body") == b"bomb" else fault.get("body")
    hub.fault("config.json", **{**fault, "body": body})

    answer = call("show", MODEL, "--cache-dir", tmp_path / "cache")

    assert (answer.code, answer.stdout) == (3, "")
    message, to_do = answer.stderr.splitlines()
    assert message.startswith(f"error: {MODEL}: ")
    assert sentence in message
    assert to_do.strip().startswith(hint)


def test_other_models_are_in_the_table(hub, home):
    """A model of the catalogue is, too; and the next run without faults has all of them."""
    for name in (MODEL, "org/busy", KNOWN):
        hub.add_model(name, {"config.json": LLAVA})
    hub.fault("config.json", within="/busy/", status=503, headers={"Retry-After": "60"})
    hub.fault("config.json", within=KNOWN, drop=True)
    command = ("table", MODEL, "org/busy", KNOWN, "--columns", "model,commit")

    answer = run(*command, **home)

    assert answer.code == 3
    assert [row[0] for row in cells(answer.stdout)[1:]] == [f"`{MODEL}`", "`org/busy`", f"`{KNOWN}`"]
    assert "org/busy" in answer.stderr
    assert "answered 503" in answer.stderr
    assert f"{KNOWN} is answered from the built-in catalogue" in answer.stderr

    hub.faults.clear()
    healthy = run(*command, **home)
    assert (healthy.code, healthy.stderr) == (0, "")
    assert [row[1].strip("`") for row in cells(healthy.stdout)[1:]] == [
        hub.models[name].refs["main"] for name in (MODEL, "org/busy", KNOWN)
    ]


@pytest.mark.parametrize("file", ["of-00002.safetensors", "index.json", "modeling_own.py"])
def test_incomplete_result_is_not_cached(hub, tmp_path, file):
    """Without headers and code, less is known of a model whose class transformers does not have."""
    sparse.write_sharded(tmp_path / "m", {"model.embed_tokens.weight": (8, 4), "lm_head.weight": (8, 4)}, 2)
    files = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    code = f"class OwnModel:\n    pass  # {file}\n"  # each case has its own commit
    hub.add_model(MODEL, {**files, "config.json": OWN_CODE, "modeling_own.py": code})
    hub.fault(file, status=500, headers={"Retry-After": "60"})
    command = ("show", MODEL, "--format", "json", "--cache-dir", tmp_path / "cache")

    incomplete = call(*command)
    hub.faults.clear()
    healthy = call(*command)

    assert (incomplete.code, healthy.code) == (0, 0)
    assert "answered 500" in incomplete.stderr
    assert "answered 500" not in healthy.stderr
    assert healthy.data["builder"] == "header"
    assert healthy.data["parameters"]["total"] == 64


def test_token_does_not_follow_a_redirect(hub, home):
    other = HubServer()
    try:
        hub.add_model(MODEL, {"config.json": LLAVA}, private=True, readers={SECRET})
        place = f"{other.url}/{MODEL}/resolve/main/config.json"
        hub.fault("config.json", status=302, headers={"Location": place})

        answer = run("show", MODEL, HF_TOKEN=SECRET, **home)

        assert (answer.code, answer.stdout) == (3, "")
        assert SECRET not in answer.stdout + answer.stderr
        assert {request.token for request in hub.requests} == {SECRET}
        assert {request.token for request in other.requests} == {None}
    finally:
        other.close()


def test_ctrl_c_does_not_wait_for_a_silent_hub(hub, home):
    names = [f"org/model-{n}" for n in range(4)]
    for name in names:
        hub.add_model(name, {"config.json": LLAVA})
    hub.fault("config.json", delay=50)
    with subprocess.Popen(
        [*SCRIPT, "table", *names],
        cwd=home["cwd"],
        env=environment(HF_HOME=home["HF_HOME"]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + 60
        while len(hub.requests) < len(names) and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=20)

    assert len(hub.requests) == len(names)
    assert process.returncode == 130
    assert "Traceback" not in "".join(output)


def test_a_refusal_says_why_the_headers_were_not_read(hub, tmp_path):
    config = {"model_type": "own", "auto_map": {"AutoModel": "modeling_own.OwnModel"}}
    sparse.write_sharded(tmp_path / "m", {"model.embed_tokens.weight": (8, 4)}, 1)
    files = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    hub.add_model("org/refused", {**files, "config.json": config})
    hub.fault(".safetensors", status=500, headers={"Retry-After": "60"})
    answer = call("show", "org/refused", "--cache-dir", tmp_path / "cache")
    hub.faults.clear()
    assert (answer.code, answer.stdout) == (3, "")
    assert "states no size of any part" in answer.stderr
    assert "answered 500" in answer.stderr
