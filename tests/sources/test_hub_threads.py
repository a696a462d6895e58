"""Many lookups at once in one process: each gets its own answer, whatever becomes of the others."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hub_server import FOREVER
from vlm_inspect.errors import HubUnavailableError, InvalidConfigError, SourceError
from vlm_inspect.ref import ModelRef
from vlm_inspect.sources import InspectOptions, load

THREADS = 16
LLAVA = {"config.json": {"model_type": "llava"}}
# lookups in many threads of a process in which nothing was imported yet
FRESH = """
import sys
from threading import Event, Thread
from vlm_inspect.ref import ModelRef
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
# a lookup in the main thread, beside others in their own
WAITING = """
from threading import Thread
from vlm_inspect.ref import ModelRef
from vlm_inspect.sources import InspectOptions, load
for n in range(8):
    Thread(target=load, args=(ModelRef(f"org/model-{n}"),), daemon=True).start()
print("waiting", flush=True)
load(ModelRef("org/model-8"))
"""


@pytest.fixture
def options(tmp_path):
    return InspectOptions(cache_dir=tmp_path / "cache", timeout=20)


def ask_all(names, options, threads=THREADS):
    """What each lookup gave or raised, all of them at once."""

    def ask(name):
        try:
            return load(ModelRef(name), options)
        except SourceError as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(ask, names))


def left_over(options):
    return [path for path in options.cache_dir.rglob("*") if path.name.endswith((".part", ".incomplete"))]


def test_different_models_get_their_own_answers(hub, options, capfd):
    commits = {
        f"org/model-{n}": hub.add_model(f"org/model-{n}", {"config.json": {"model_type": f"m{n}"}})
        for n in range(THREADS)
    }

    found = ask_all(commits, options)

    assert [each.identity.revision for each in found] == list(commits.values())
    assert [each.config["model_type"] for each in found] == [f"m{n}" for n in range(THREADS)]
    assert capfd.readouterr() == ("", "")


def test_the_same_model_is_one_answer(hub, options):
    commit = hub.add_model("org/name", LLAVA)

    found = ask_all(["org/name"] * THREADS * 2, options)

    assert {each.identity.revision for each in found} == {commit}
    assert all(each == found[0] and not each.notes for each in found)
    assert left_over(options) == []


def test_a_fault_is_that_of_its_own_model(hub, options, capfd):
    """Every other model meets a fault of its own."""
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
    commits = [hub.add_model(name, LLAVA) for name in good]
    names = [name for n, each in enumerate(good) for name in (f"org/bad-{n}", each)]

    found = ask_all(names, InspectOptions(cache_dir=options.cache_dir, timeout=8))

    assert [type(each) for each in found[::2]] == [kind for _, kind in faults]
    assert [each.model for each in found[::2]] == names[::2]
    assert [each.identity.revision for each in found[1::2]] == commits
    assert left_over(options) == []
    assert capfd.readouterr() == ("", "")


def test_a_session_that_the_program_closed_is_no_bug_of_ours(hub, options):
    """The session is huggingface_hub's, and so everybody's."""
    import huggingface_hub.utils

    hub.add_model("org/name", LLAVA)
    huggingface_hub.utils.get_session().close()
    try:
        found = ask_all(["org/name"] * 2, options)
    finally:
        (getattr(huggingface_hub.utils, "close_session", None) or huggingface_hub.utils.reset_sessions)()

    assert all(type(each) is HubUnavailableError or each.config for each in found)
    assert load(ModelRef("org/name"), options).config == LLAVA["config.json"]


def test_the_first_lookups_of_a_process_may_be_at_once(hub, tmp_path):
    for n in range(16):
        hub.add_model(f"org/model-{n}", LLAVA)

    answer = subprocess.run(
        [sys.executable, "-c", FRESH],
        env={**os.environ, "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert (answer.stdout, answer.stderr) == ("llava\n", "")


def test_nothing_is_asked_but_for_the_model(hub, tmp_path):
    """Not even where telemetry is on: huggingface_hub 2 then asks what programs may run it."""
    for n in range(16):
        hub.add_model(f"org/model-{n}", LLAVA)
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}

    subprocess.run(
        [sys.executable, "-c", FRESH],
        env={**environment, "HF_HOME": str(tmp_path)},
        capture_output=True,
        timeout=120,
        check=True,
    )

    assert {request.path.rpartition("/")[2] for request in hub.requests} == {"config.json"}
    assert len(hub.requests) == 2 * 16


def test_ctrl_c_is_not_kept_waiting_by_a_hub_that_is_silent(hub, tmp_path):
    for n in range(9):
        hub.add_model(f"org/model-{n}", LLAVA)
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
        said = process.communicate(timeout=20)[1]

    assert len(hub.requests) == 9
    assert process.returncode == -signal.SIGINT
    assert said.splitlines()[-1] == "KeyboardInterrupt"
