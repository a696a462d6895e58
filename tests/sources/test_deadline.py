"""The bound on a dialogue."""

from threading import Event

import pytest

from vlm_inspect.sources.deadline import OutOfTimeError, within


def test_what_the_work_returns_comes_back():
    assert within(5, lambda: 7) == 7


def test_what_the_work_raises_comes_back():
    def work():
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        within(5, work)


def test_work_that_does_not_end_is_left():
    never = Event()
    try:
        with pytest.raises(OutOfTimeError):
            within(0.05, never.wait)
    finally:
        never.set()
