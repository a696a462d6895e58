"""What all tests share: a Hub on the loopback interface, and no way to any other."""

import os
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from tests.hub_server import HubServer

# huggingface_hub reads its variables when it is first imported, so they are set before any test is.
_HUB = HubServer()
_HOME = tempfile.TemporaryDirectory(prefix="vlm-inspect-tests-", ignore_cleanup_errors=True)
for _name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
    del os.environ[_name]
os.environ |= {"HF_ENDPOINT": _HUB.url, "HF_HOME": _HOME.name, "HF_HUB_DISABLE_TELEMETRY": "1"}
# a proxy of the machine's has no business between the tests and the loopback interface
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

# started in the background or under nohup, the suite inherits ignored signals; what it starts must not
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)  # the suite itself goes on

# how long an example takes says how busy the machine is, and nothing of what is tested
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_unconfigure():
    _HUB.close()
    _HOME.cleanup()


@pytest.fixture
def hub():
    """The loopback Hub that HF_ENDPOINT names, without models, in this process and those it starts."""
    _HUB.reset()
    yield _HUB
    _HUB.reset()
