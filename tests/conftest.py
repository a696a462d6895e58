"""What all tests share: a Hub on the loopback interface, and no way to any other."""

import gc
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.hub_server import HubServer

# files and folders of tests that start processes, wait, or build much: what `make test-fast` leaves out
SLOW = {
    *("faults", "properties", "test_batch", "test_many", "test_dask", "test_growth", "test_checks_in_ci"),
    *("test_bench", "test_builders", "test_codecs", "test_remote", "test_saved_configs", "test_wheel"),
    *("test_hub_faults", "test_hub_threads", "test_hub_unavailable", "test_hub_connection"),
    *("test_broken_libraries", "test_cache", "test_doctor", "test_ends", "test_light", "test_places"),
    *("test_seed_models", "test_streams", "test_task_models"),
}
_PATHS = {path.stem for path in Path(__file__).parent.rglob("*")}
assert _PATHS >= SLOW, f"renamed? {SLOW - _PATHS}"

# the workers and hundreds of processes import the same modules: compiled once, whatever the shell says
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# huggingface_hub reads its variables when it is first imported, so they are set before any test is.
_HUB = HubServer()
_HOME = tempfile.TemporaryDirectory(prefix="vlm-inspect-tests-", ignore_cleanup_errors=True)
for _name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
    del os.environ[_name]
# the first process of the session makes a folder for what all of its workers share
_SHARED = None
if "VLM_INSPECT_TESTS_SHARED" not in os.environ:
    _SHARED = tempfile.TemporaryDirectory(prefix="vlm-inspect-shared-", ignore_cleanup_errors=True)
    os.environ["VLM_INSPECT_TESTS_SHARED"] = _SHARED.name
os.environ |= {"HF_ENDPOINT": _HUB.url, "HF_HOME": _HOME.name, "HF_HUB_DISABLE_TELEMETRY": "1"}
# a proxy of the machine's has no business between the tests and the loopback interface
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

# no deadline: the time of an example depends on the load of the machine
# started in the background or under nohup, the suite inherits ignored signals; what it starts must not
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)  # the suite itself goes on

for _profile, _examples in {"dev": 20, "ci": 200, "long": 10_000}.items():
    settings.register_profile(
        _profile,
        max_examples=_examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers():
    # one more than cores: a test that waits for a pause or a response leaves its core to another
    return (yield) + 1


def pytest_collection_modifyitems(items):
    for item in items:
        if SLOW & {item.path.stem, item.path.parent.name}:
            item.add_marker(pytest.mark.slow)
    # the slow files first, so that no process has a long test to itself at the end
    items.sort(key=lambda item: not SLOW & {item.path.stem, item.path.parent.name})


def pytest_collection_finish():
    # what collection imported lives to the end: no later collection of garbage need look at it
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    _HUB.close()
    _HOME.cleanup()
    if _SHARED is not None:
        _SHARED.cleanup()


@pytest.fixture
def hub():
    """The loopback Hub that HF_ENDPOINT names, without models, in this process and those it starts."""
    _HUB.reset()
    yield _HUB
    _HUB.reset()
