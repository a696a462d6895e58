"""Concurrent lookups in one process: each has its own result."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hub_server import FOREVER
from vlm_inspect.core.errors import HubUnavailableError, InvalidConfigError, SourceError
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import load

THREADS = 16
LLAVA = {"config.json": {"model_type": "llava"}}
# lookups in many threads of a process without any imports
FRESH = """
from threading import Event, Thread
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.sources import InspectOptions, load
go, found = Event(), {}
def look_up(name):
    go.wait()
    try:
        found[name] = load(ModelRef(name)).config["model_type"]
    except BaseException as error:
        found[name] = repr(error)
threads = [Thread(target=look_up, args=(f"org/model-{n}",)) for n in range(16)]
for thread in threads:
    thread.start()
go.set()
import huggingface_hub.hf_api
for thread in threads:
    thread.join()
print(*set(found.values()))
"""
# a lookup in the main thread, and others in threads of their own
WAITING = """
from threading import Thread
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.sources import InspectOptions, load
for n in range(8):
    Thread(target=load, args=(ModelRef(f"org/model-{n}"),), daemon=True).start()
print("waiting", flush=True)
load(ModelRef("org/model-8"))
"""


@pytest.fixture
def options(tmp_path):
    return InspectOptions(cache_dir=tmp_path / "cache", timeout=20)


def ask_all(names, options):
    """The result or error of each lookup, all at once."""

    def ask(name):
        try:
            return load(ModelRef(name), options)
        except SourceError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(ask, names))


def test_concurrent_lookups_of_one_model_agree(hub, options):
    commit = hub.add_model("org/name", LLAVA)

    found = ask_all(["org/name"] * THREADS * 2, options)

    assert {each.identity.revision for each in found} == {commit}
    assert all(each == found[0] and not each.notes for each in found)


def test_fault_is_that_of_its_own_model(hub, options, capfd):
    faults = [
        ({"drop": True}, HubUnavailableError),
        ({"status": 429, "headers": {"Retry-After": "9"}}, HubUnavailableError),
        ({"status": 503, "headers": {"X-HF-Warning": "busy; This Hub is busy."}}, HubUnavailableError),
        ({"method": "GET", "drop_after": 3}, HubUnavailableError),
        ({"without": ("X-Repo-Commit",)}, HubUnavailableError),
        ({"delay": FOREVER}, HubUnavailableError),
        (None, InvalidConfigError),
    ]
    for n, (fault, _) in enumerate(faults):
        hub.add_model(f"org/bad-{n}", LLAVA if fault else {"config.json": b"<html>"})
        if fault:
            hub.fault("config.json", within=f"/bad-{n}/", **fault)
    good = [f"org/good-{n}" for n in range(len(faults))]
    commits = [hub.add_model(name, {"config.json": {"model_type": f"m{n}"}}) for n, name in enumerate(good)]
    names = [name for n, each in enumerate(good) for name in (f"org/bad-{n}", each)]

    found = ask_all(names, InspectOptions(cache_dir=options.cache_dir, timeout=4))

    assert [type(each) for each in found[::2]] == [kind for _, kind in faults]
    assert [each.model for each in found[::2]] == names[::2]
    assert [each.identity.revision for each in found[1::2]] == commits
    assert [each.config["model_type"] for each in found[1::2]] == [f"m{n}" for n in range(len(good))]
    assert capfd.readouterr() == ("", "")


def test_session_that_the_program_closed_is_no_traceback(hub, options):
    """huggingface_hub's session is shared with the rest of the program."""
    import huggingface_hub.utils

    hub.add_model("org/name", LLAVA)
    huggingface_hub.utils.get_session().close()
    try:
        found = ask_all(["org/name"] * 2, options)
    finally:
        (getattr(huggingface_hub.utils, "close_session", None) or huggingface_hub.utils.reset_sessions)()

    assert all(type(each) is HubUnavailableError or each.config for each in found)
    assert load(ModelRef("org/name"), options).config == LLAVA["config.json"]


def test_first_lookups_of_a_process_may_be_concurrent_and_request_only_the_models(hub, tmp_path):
    """With telemetry on, huggingface_hub 2 would request a list of programs."""
    for n in range(16):
        hub.add_model(f"org/model-{n}", LLAVA)
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}

    done = subprocess.run(
        [sys.executable, "-c", FRESH],
        env={**environment, "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert (done.stdout, done.stderr) == ("llava\n", "")
    assert {request.path.rpartition("/")[2] for request in hub.requests} == {"config.json"}
    assert len(hub.requests) == 2 * 16


def test_ctrl_c_ends_lookups_of_a_silent_hub(hub, tmp_path):
    hub.fault("config.json", delay=50)
    with subprocess.Popen(
        [sys.executable, "-c", WAITING],
        env={**os.environ, "HF_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "waiting\n"
        until = time.monotonic() + 30
        while len(hub.requests) < 9 and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stderr = process.communicate(timeout=20)[1]

    assert len(hub.requests) == 9
    assert process.returncode == -signal.SIGINT
    assert stderr.splitlines()[-1] == "KeyboardInterrupt"
