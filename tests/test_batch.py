"""Batches: in order, one outcome per model, whatever runs them and whatever dies."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vlm_inspect import batch
from vlm_inspect.errors import ConfigMissingError, WorkerDiedError


def double(number):
    if number == 13:
        raise ConfigMissingError("there is no config.json", model="13")
    return 2 * number


def die_at_seven(number):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return double(number)


def slow_first(number):
    time.sleep(0.3 if number == 0 else 0)
    return number


def told(outcomes):
    return [
        outcome.answer if isinstance(outcome, batch.Inspected) else type(outcome.error)
        for outcome in outcomes
    ]


EXPECTED = [2 * number if number != 13 else ConfigMissingError for number in range(20)]
WAYS = {
    "one by one": batch.run,
    "in threads": lambda asked, answer: batch.run_on(ThreadPoolExecutor(4), asked, answer),
    "in processes": lambda asked, answer: batch.run_in_processes(2, asked, answer),
}


@pytest.mark.parametrize("way", WAYS)
def test_outcomes_come_in_the_order_asked(way):
    assert told(WAYS[way](range(20), double)) == EXPECTED


def test_a_killed_worker_costs_one_row():
    outcomes = list(batch.run_in_processes(2, range(20), die_at_seven))
    wanted = list(EXPECTED)
    wanted[7] = WorkerDiedError
    assert told(outcomes) == wanted
    assert [outcome.asked for outcome in outcomes] == list(range(20))


def test_so_does_one_among_more_than_are_handed_out_at_once():
    outcomes = told(batch.run_in_processes(2, range(200), die_at_seven))
    assert outcomes.count(WorkerDiedError) == 1
    assert len(outcomes) == 200


def test_a_slow_model_holds_up_nobody_but_the_order():
    assert told(batch.run_on(ThreadPoolExecutor(4), range(5), slow_first)) == list(range(5))


def test_no_more_models_are_handed_out_than_can_be_taken_back():
    taken = []

    def asked():
        for number in range(1000):
            taken.append(number)
            yield number

    outcomes = batch.run_on(ThreadPoolExecutor(4), asked(), double)
    next(outcomes)
    assert len(taken) <= 65
    outcomes.close()


def test_nothing_asked_is_nothing_answered():
    for way in WAYS.values():
        assert not list(way([], double))


def test_a_bug_is_not_an_outcome():
    with pytest.raises(TypeError):
        list(batch.run_in_processes(1, ["text"], sum))
