"""Batches: in order, one outcome per model, on any executor, whatever dies."""

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count, islice
from multiprocessing import get_context, spawn
from pathlib import Path

import psutil
import pytest

from vlm_inspect.app import batch
from vlm_inspect.app.process_pool import WorkerPool
from vlm_inspect.core.errors import ConfigMissingError, PicklingError, WorkerDiedError, WorkerStartError

ROOT = Path(__file__).parents[2]
LONGEST = 60
"""Seconds after which something hangs; nothing here takes any."""


def double(number):
    if number == 13:
        raise ConfigMissingError("there is no config.json", model="13")
    return 2 * number


def die_at_seven(number):
    if number in {7, "seven"}:
        os.kill(os.getpid(), signal.SIGKILL)
    return double(number)


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def written_down(pair):
    folder, number = pair
    with (folder / str(number)).open("a", encoding="utf-8") as file:
        file.write("worked on\n")
    return die_at_seven(number)


def slow_first(number):
    time.sleep(0.3 if number == 0 else 0)
    return number


def who(_):
    return os.getpid()


def sleep(_):
    time.sleep(600)


def said(name):
    print("to stdout", name, flush=True)  # noqa: T201 - what is printed there is under test
    os.write(1, b"to the descriptor")
    os.write(2, b"to stderr")
    return os.environ.get(name)


def a_function_of_its_own(_):
    return lambda: None


class HardToMakeError(Exception):
    def __init__(self, *, needed):
        super().__init__(needed)


def fail(_):
    raise HardToMakeError(needed="said in the error")


class Large:
    """An answer that tells when it is gone."""


def large(_):
    return Large()


def told(outcomes):
    return [outcome.answer if isinstance(outcome, batch.Inspected) else type(outcome.error) for outcome in outcomes]


def in_threads(asked, answer, **choices):
    with ThreadPoolExecutor(4) as executor:
        yield from batch.run_on(executor, asked, answer, **choices)


def in_a_pool(asked, answer, **choices):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        yield from batch.run_on(executor, asked, answer, **choices)


def in_processes(asked, answer, **choices):
    return batch.run_in_processes(2, asked, answer, **choices)


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def workers_now():
    """Worker processes, without multiprocessing's resource tracker."""
    return [each for each in psutil.Process().children() if "spawn_main" in " ".join(each.cmdline())]


def wait_until(happened):
    ends = time.monotonic() + LONGEST
    while not happened():
        assert time.monotonic() < ends
        time.sleep(0.02)


EXPECTED = [2 * number if number != 13 else ConfigMissingError for number in range(20)]
ON_AN_EXECUTOR = {"in threads": in_threads, "in a pool": in_a_pool, "in processes": in_processes}
WAYS = {"one by one": batch.run, **ON_AN_EXECUTOR}


# --- order and flow


@pytest.mark.parametrize("way", WAYS)
def test_outcomes_come_in_the_order_asked(way):
    assert told(WAYS[way](range(20), double)) == EXPECTED


def test_a_slow_model_holds_up_nobody_but_the_order():
    assert told(in_threads(range(5), slow_first)) == list(range(5))


@pytest.mark.parametrize("way", WAYS)
def test_nothing_asked_is_nothing_answered(way):
    assert not list(WAYS[way]([], double))


@pytest.mark.parametrize("way", WAYS)
def test_models_without_end_are_taken_as_they_are_needed(way):
    taken = []

    def asked():
        for number in count():
            taken.append(number)
            yield number

    outcomes = WAYS[way](asked(), str)
    assert told(islice(outcomes, 100)) == [str(number) for number in range(100)]
    outcomes.close()
    assert len(taken) <= 100 + batch.MAX_PENDING


def test_an_outcome_is_given_out_before_the_next_model_is_known():
    """Where it is there: models may come slowly, and their answers need not wait for them."""
    futures = []

    class Kept(ThreadPoolExecutor):
        def submit(self, *work):
            futures.append(super().submit(*work))
            return futures[-1]

    def asked():
        yield 1
        futures[0].result(LONGEST)
        yield 2
        raise AssertionError("the first was there, and the third was asked for")

    with Kept(1) as executor:
        outcomes = batch.run_on(executor, asked(), str)
        assert next(outcomes).answer == "1"
        outcomes.close()


def test_answers_do_not_pile_up():
    alive = weakref.WeakSet()
    most = 0
    for outcome in batch.run_in_processes(2, range(300), large):
        alive.add(outcome.answer)
        most = max(most, len(alive))
    assert most <= 3  # this one and those that the pool's threads last handled


def test_who_stops_asking_leaves_no_process():
    outcomes = batch.run_in_processes(2, count(), who)
    workers = {outcome.answer for outcome in islice(outcomes, 50)}
    assert not any(map(is_gone, workers))
    outcomes.close()
    assert all(map(is_gone, workers))


def test_an_error_among_the_asked_leaves_no_process_either():
    def asked():
        yield from range(100)
        raise ConnectionError("the list of models broke off")

    with pytest.raises(ConnectionError):
        list(batch.run_in_processes(2, asked(), who))
    assert not workers_now()


def test_what_an_executor_was_given_and_nobody_waits_for_is_taken_back():
    hold = threading.Event()
    worked_on = []

    def answer(number):
        worked_on.append(number)
        if number:
            hold.wait(LONGEST)
        return number

    with ThreadPoolExecutor(1) as executor:
        outcomes = batch.run_on(executor, count(), answer)
        assert next(outcomes).answer == 0
        outcomes.close()
        hold.set()
    assert set(worked_on) <= {0, 1}


# --- what is at hand


@pytest.mark.parametrize("way", WAYS)
def test_what_is_at_hand_is_not_worked_on(way):
    outcomes = WAYS[way](range(20), double, cached=lambda number: None if number % 2 else "known")
    assert told(outcomes) == [EXPECTED[number] if number % 2 else "known" for number in range(20)]


@pytest.mark.parametrize("way", WAYS)
def test_why_nothing_can_be_at_hand_is_the_outcome(way):
    assert told(WAYS[way]([12, 13], str, cached=lambda number: double(number) and None)) == [
        "12",
        ConfigMissingError,
    ]


def test_where_all_is_at_hand_no_process_is_started(monkeypatch):
    monkeypatch.setattr(spawn, "_python_exe", b"/nowhere/python")  # starting one would be an error
    assert told(batch.run_in_processes(2, range(200), double, cached=str)) == list(map(str, range(200)))


def test_models_that_are_the_same_are_worked_on_once():
    known, worked_on = {}, []

    def answer(number):
        worked_on.append(number)
        time.sleep(0.01)
        return number % 10

    outcomes = in_threads(
        range(200),
        answer,
        cached=lambda number: known.get(number % 10),
        dedupe_key=lambda number: number % 10,
    )
    for outcome in outcomes:
        known[outcome.model % 10] = outcome.answer
        assert outcome.answer == outcome.model % 10
    assert len(worked_on) == 10


def test_without_anything_at_hand_each_of_the_same_is_answered():
    assert told(in_threads(range(200), str, dedupe_key=lambda _: "all")) == list(map(str, range(200)))


# --- workers that die, and work that cannot travel


def test_a_killed_worker_costs_one_row_and_nothing_is_worked_on_again(tmp_path):
    outcomes = list(batch.run_in_processes(2, ((tmp_path, number) for number in range(20)), written_down))
    wanted = list(EXPECTED)
    wanted[7] = WorkerDiedError
    assert told(outcomes) == wanted
    assert [outcome.model[1] for outcome in outcomes] == list(range(20))
    assert {path.read_text() for path in tmp_path.iterdir()} == {"worked on\n"}


def test_why_a_worker_died_is_said():
    (outcome,) = batch.run_in_processes(1, [7], die_at_seven)
    assert outcome.error.message.endswith("Killed (signal 9).")
    assert "--jobs" in outcome.error.hint


def test_so_does_one_among_more_than_are_handed_out_at_once():
    outcomes = told(batch.run_in_processes(2, range(200), die_at_seven))
    assert outcomes.count(WorkerDiedError) == 1
    assert len(outcomes) == 200


def test_a_model_that_kills_kills_each_time_it_is_asked_for():
    outcomes = told(batch.run_in_processes(2, ["seven", 1, "seven", 2], die_at_seven))
    assert outcomes == [WorkerDiedError, 2, WorkerDiedError, 4]


def test_where_every_model_kills_every_row_says_so():
    assert told(batch.run_in_processes(2, range(6), die)) == [WorkerDiedError] * 6


@pytest.mark.parametrize("python", [b"/nowhere/python", b"/bin/false"])
def test_workers_that_do_not_come_up_end_the_run_with_what_to_do(monkeypatch, python):
    monkeypatch.setattr(spawn, "_python_exe", python)
    with pytest.raises(WorkerStartError) as raised:
        list(batch.run_in_processes(2, range(20), double))
    assert "--jobs" in raised.value.hint
    assert raised.value.message.startswith("worker processes cannot be started: ")


def test_a_pool_that_breaks_ends_in_rows():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        outcomes = told(batch.run_on(executor, range(100), die_at_seven))
    assert outcomes[7:] == [WorkerDiedError] * 93


def test_a_pool_that_cannot_begin_ends_in_rows():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=die, initargs=(0,)) as executor:
        outcomes = list(batch.run_on(executor, range(100), double))
    assert told(outcomes) == [WorkerDiedError] * 100
    assert all(outcome.error.hint for outcome in outcomes)


@pytest.mark.parametrize("way", [in_a_pool, in_processes])
def test_what_cannot_be_sent_is_one_row(way):
    asked = [1, a_function_of_its_own(0), 2]
    assert told(way(asked, str)) == ["1", PicklingError, "2"]
    assert told(way([1, 2], a_function_of_its_own)) == [PicklingError, PicklingError]


@pytest.mark.parametrize("way", WAYS)
def test_a_bug_is_not_an_outcome(way):
    with pytest.raises(TypeError) as raised:
        list(WAYS[way](["text"], sum))
    assert "in outcome" in "".join(traceback.format_exception(raised.value))  # where it came up


@pytest.mark.parametrize("way", ON_AN_EXECUTOR)
def test_a_bug_whose_error_cannot_travel_says_what_it_said(way):
    with pytest.raises((HardToMakeError, RuntimeError), match="said in the error"):
        list(ON_AN_EXECUTOR[way]([1], fail))


# --- processes


def test_workers_print_nothing_and_see_the_environment_as_it_is_now(capfd, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "set just now")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    names = ["HF_HUB_OFFLINE", "OMP_NUM_THREADS"]
    assert told(batch.run_in_processes(1, names, said)) == ["set just now", "1"]
    assert capfd.readouterr() == ("", "")


def run_script(text):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", text],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


SCRIPT = """
from vlm_inspect.app import batch
if {condition}:
    print(*[each.answer for each in batch.run_in_processes(2, range(3), str)])
"""


@pytest.mark.parametrize("is_guarded", [True, False])
def test_a_script_that_is_not_guarded_is_told_what_it_needs(tmp_path, is_guarded):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(condition="__name__ == '__main__'" if is_guarded else "True"))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=LONGEST, cwd=ROOT
    )
    if is_guarded:
        assert (done.returncode, done.stdout, done.stderr) == (0, "0 1 2\n", "")
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert "WorkerStartError: worker processes cannot be started" in done.stderr


def test_workers_import_nothing_from_the_folder_that_they_are_started_in(tmp_path, monkeypatch):
    for name in ("pickle", "os", "subprocess", "torch", "vlm_inspect"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert told(batch.run_in_processes(1, range(2), double)) == [0, 2]


INTERRUPTED = """
from vlm_inspect.app import batch
from tests.app.test_batch import sleep, who
outcomes = batch.run_in_processes(2, iter(int, 1), who)
print(*{next(outcomes).answer for _ in range(100)}, flush=True)
try:
    for outcome in batch.run_in_processes(2, range(10), sleep):
        pass
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_program_that_ends_amid_its_answers_ends():
    program = run_script(
        "from vlm_inspect.app import batch\n"
        "from tests.app.test_batch import who\n"
        "outcomes = batch.run_in_processes(2, iter(int, 1), who)\n"
        "print(next(outcomes).answer)\n"
    )
    worker, said = program.communicate(timeout=LONGEST)
    assert (program.returncode, said) == (0, "")
    wait_until(lambda: is_gone(int(worker)))


@pytest.mark.parametrize(("by", "then"), [(signal.SIGINT, "interrupted\n"), (signal.SIGKILL, "")])
def test_a_program_that_is_ended_leaves_no_process(by, then):
    program = run_script(INTERRUPTED)
    workers = [int(pid) for pid in program.stdout.readline().split()]
    wait_until(lambda: len(psutil.Process(program.pid).children()) == 5)  # with the resource tracker
    workers += [child.pid for child in psutil.Process(program.pid).children()]
    os.killpg(program.pid, by)  # as a terminal does: the whole group, were workers in it
    assert program.communicate(timeout=LONGEST) == (then, "")
    wait_until(lambda: all(map(is_gone, workers)))


def test_no_processes_are_refused_instead_of_waited_for():
    with pytest.raises(ValueError, match="0 worker processes"):
        list(batch.run_in_processes(0, range(3), double))


def test_an_executor_of_processes_is_one_as_any_other():
    with WorkerPool(2) as executor:
        assert list(executor.map(double, range(10))) == EXPECTED[:10]
        with pytest.raises(ConfigMissingError):
            executor.submit(double, 13).result(LONGEST)
        futures = [executor.submit(double, number) for number in range(5)]
        executor.shutdown(wait=True)
        assert [future.result(0) for future in futures] == EXPECTED[:5]
        with pytest.raises(RuntimeError):
            executor.submit(double, 1)


def test_what_was_imported_for_it_is_not_imported_without():
    script = (
        "import sys, msgspec; before = {*sys.modules}\nimport vlm_inspect.app.batch; print(*{*sys.modules} - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert "vlm_inspect.app.batch" in found
    assert not {"multiprocessing", "concurrent.futures", "subprocess", "pebble"} & found
