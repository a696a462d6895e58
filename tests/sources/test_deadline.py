"""The time limit of a lookup."""

from threading import Event

import pytest

from vlm_inspect.sources.deadline import (
    DeadlineExceededError,
    check_deadline,
    has_time,
    run_in_parallel,
    run_with_timeout,
)


def test_result_or_error_of_the_work_comes_back():
    def work():
        raise TimeoutError("its own")

    assert run_with_timeout(5, lambda: 7) == 7
    with pytest.raises(TimeoutError, match="its own"):
        run_with_timeout(5, work)


def test_endless_work_is_left_and_stops_at_its_next_check():
    stopped = Event()

    def work():
        try:
            while True:
                check_deadline()
        finally:
            stopped.set()

    with pytest.raises(DeadlineExceededError):
        run_with_timeout(0.05, work)
    assert stopped.wait(20)


def test_parallel_work_has_the_deadline_of_its_caller():
    def work():
        return run_in_parallel(has_time, [1, 100])

    assert run_with_timeout(50, work) == {1: True, 100: False}
    assert run_in_parallel(has_time, [10**9]) == {10**9: True}


def test_parallel_work_stops_after_an_error():
    done = []

    def work(number):
        done.append(number)
        if number == 3:
            raise ValueError(number)

    with pytest.raises(ValueError, match="3"):
        run_in_parallel(work, range(100), threads=1)
    assert done == [0, 1, 2, 3]
