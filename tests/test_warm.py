"""A fork of a warm process is what a new process would be, and nothing that is lost is waited for."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.cli.program import call, environment, warm_in
from tests.warm import WarmProcess


def state():
    sys.stderr.write(f"{os.getcwd()} {dict(os.environ)} {sys.argv[1:]} {sys.stdin.read()!r}")  # noqa: PTH109
    sys.exit(7)


def sleep():
    time.sleep(1000)


def die():
    os.kill(os.getpid(), signal.SIGTERM)


def fail():
    raise ValueError("wrong")


@pytest.fixture
def warm():
    process = WarmProcess((), dict(os.environ), ["json"])
    yield process
    process.close()


@pytest.fixture
def start(warm, tmp_path):
    def begin(function):
        with open(os.devnull, "rb") as nothing, (tmp_path / "output").open("wb") as output:  # noqa: PTH123
            return warm.start(
                f"tests.test_warm:{function.__name__}",
                ["word"],
                cwd=tmp_path,
                environment={"A": "b"},
                stdin=nothing,
                stdout=output,
                stderr=output,
            )

    return begin


def test_it_has_the_folder_the_environment_the_words_and_the_streams_that_it_is_given(start, tmp_path):
    assert start(state).wait() == 7
    assert (tmp_path / "output").read_text() == f"{tmp_path} {{'A': 'b'}} ['word'] ''"


def test_it_ends_as_a_process_ends(start, tmp_path):
    assert start(die).wait() == -signal.SIGTERM
    assert start(fail).wait() == 1
    assert (tmp_path / "output").read_text().endswith("ValueError: wrong\n")


def test_one_that_takes_too_long_is_given_up(start):
    fork = start(sleep)
    with pytest.raises(subprocess.TimeoutExpired):
        fork.wait(0.01)
    fork.kill()
    assert fork.wait() == -signal.SIGKILL


def test_with_the_warm_process_its_forks_end(start, warm):
    fork = psutil.Process(start(sleep).pid)
    warm.close()
    assert not psutil.wait_procs([fork], timeout=20)[1]


def test_a_warm_process_that_dies_is_an_error(start, warm):
    fork = start(sleep)
    warm._process.kill()  # noqa: SLF001
    with pytest.raises(RuntimeError, match="died"):
        fork.wait()
    os.kill(fork.pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has warm processes")
def test_a_build_in_this_process_does_not_change_which_warm_process_a_run_starts_from():
    before = warm_in(environment())
    assert call("show", "llava-hf/llava-1.5-7b-hf", "--offline", "--no-cache").code == 0
    assert warm_in(environment()) is before
