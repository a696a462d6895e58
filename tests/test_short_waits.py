"""Ctrl-C is heard by who waits, though it comes as the main thread falls asleep."""

import subprocess
import sys
import time
from itertools import islice

import pytest

from tests.hub_server import FOREVER
from vlm_inspect.short_waits import short_waits

# a signal that another thread receives wakes the main thread as little as one that comes too early
PROGRAM = """
import signal, threading, time
from concurrent.futures import ThreadPoolExecutor

def forever(*_):
    time.sleep(0.5)  # the main thread is asleep by then; where it is not, the signal is heard at once
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    threading.Event().wait()

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    {waits}
except KeyboardInterrupt:
    import os
    os.write(1, b"heard")
    os._exit(0)  # the standard library's pool waits for its threads
"""
WAITS = {
    "an outcome": "from vlm_inspect import batch; list(batch.run_on(ThreadPoolExecutor(1), [1], forever))",
    "workers that end": (
        "from vlm_inspect.workers import Workers, Thread; Workers._work = forever\n"
        "    workers = Workers(1); workers.submit(print); workers.shutdown()"
    ),
}


@pytest.mark.parametrize("waits", WAITS.values(), ids=WAITS)
def test_a_signal_that_does_not_wake_is_heard(waits):
    program = [sys.executable, "-c", PROGRAM.format(waits=waits)]
    assert subprocess.run(program, capture_output=True, check=True).stdout == b"heard"


def test_waits_are_short_and_without_end():
    assert set(islice(short_waits(), 100)) == {0.2}


def test_waits_end_when_the_time_has_passed():
    assert next(short_waits(FOREVER)) == 0.2
    waits = short_waits(0.3)
    first = next(waits)
    time.sleep(0.31)
    assert (first, list(waits)) == (0.2, [0.0])
    assert list(short_waits(0)) == [0.0]
