"""The bound on a dialogue."""

from threading import Event

import pytest

from vlm_inspect.sources.deadline import OutOfTimeError, start_thread, still_in_time, time_for, within


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


def test_work_that_is_left_leaves_off_by_itself():
    left_off = Event()

    def work():
        try:
            while True:
                still_in_time()
        finally:
            left_off.set()

    with pytest.raises(OutOfTimeError):
        within(0.05, work)
    assert left_off.wait(20)


def test_a_thread_has_the_deadline_of_the_one_that_starts_it():
    def work():
        answers = []
        thread = start_thread(lambda: answers.extend([time_for(1), time_for(100)]))
        thread.join()
        return answers

    assert within(50, work) == [True, False]


def test_without_a_deadline_there_is_time():
    still_in_time()
    assert time_for(10**9)
