"""Worker processes of this machine as a `concurrent.futures.Executor`.

They are pebble's: its pool loses one task to a worker that is killed. The pools of the standard library and
of loky are then broken as a whole.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing import resource_tracker
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessPool

from vlm_inspect.core.errors import WorkerDiedError, WorkerStartError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_TIMEOUT = 1800
"""Seconds for one task, which takes a few: the end of a worker that hangs, or whose death was missed."""
_SAFE_PATH = "PYTHONSAFEPATH"
"""With it (from Python 3.11 on) a Python that starts imports nothing from the working directory."""


class WorkerPool(Executor):
    """`jobs` processes, started with the first task. Leaving the context ends them, whatever they do."""

    def __init__(self, jobs: int) -> None:
        if jobs < 1:
            raise ValueError(f"{jobs} worker processes")
        self._pool = ProcessPool(jobs, initializer=_initialize, context=multiprocessing.get_context("spawn"))
        self._is_path_safe = _SAFE_PATH in os.environ
        self._starter = Thread(target=self._start, daemon=True)
        self._pending: set[Future[Any]] = set()
        self._is_started = self._is_shut_down = False

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """The future of `fn(*args, **kwargs)`. Raises WorkerStartError where no process starts."""
        if self._is_shut_down:
            raise RuntimeError("the pool is shut down")
        future: Future[Result] = Future()
        try:
            task = pickle.dumps(partial(fn, *args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whatever the objects themselves raise
            future.set_exception(error)
            return future
        if not self._is_started:
            self._is_started = True
            self._starter.start()
            self._starter.join()
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        try:
            running = self._pool.schedule(_run, (task,), timeout=_TIMEOUT)
        except RuntimeError as error:  # BrokenProcessPool is one
            raise _start_error(error) from error
        running.add_done_callback(partial(_settle, future))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """Accept no more tasks. With `cancel_futures`, those that run are ended, too."""
        self._is_shut_down = True
        if sys.is_finalizing():  # pebble has ended its processes, and daemon threads are never joined again
            return
        with suppress(RuntimeError):  # it was not started
            self._starter.join()
        if cancel_futures:
            self._pool.stop()
            self._kill()
        else:
            self._pool.close()
        if wait:
            self._pool.join()
        if not self._is_path_safe:
            os.environ.pop(_SAFE_PATH, None)

    def __exit__(self, *_: object) -> None:
        """Nobody waits for a result any more."""
        self.shutdown(cancel_futures=True)

    def _start(self) -> None:
        """Start the processes, in a thread: Ctrl-C neither breaks off a start nor reaches what is started."""
        os.environ.setdefault(_SAFE_PATH, "1")
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # it lets signals through again
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        with suppress(RuntimeError, OSError):  # raised again by `schedule`
            self._pool.active  # noqa: B018 - a property that starts it
            Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        """Fail what is pending when the pool breaks: pebble forgets tasks that it has not read."""
        if self._pool._pool_manager_loop is not None:  # noqa: SLF001 - it ends with the pool
            self._pool._pool_manager_loop.join()  # noqa: SLF001
        for future in list(self._pending) if not self._is_shut_down else ():
            _finish(future, error=_start_error(RuntimeError("they ended before they took work")))

    def _kill(self) -> None:
        """End the processes at once. pebble waits for each, and one that just starts prints a traceback."""
        if self._pool._pool_manager_loop is not None:  # noqa: SLF001 - it starts processes in place of dead ones
            self._pool._pool_manager_loop.join()  # noqa: SLF001
        for process in list(self._pool._pool_manager.worker_manager.workers.values()):  # noqa: SLF001
            process.kill()


def _initialize() -> None:
    """Prepare a worker: it prints nothing, and ends with the program."""
    # models on meta are not computed with: threads for that would only take from each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(task: bytes) -> bytes:
    """Pickling is done here, on both sides: pebble's pool is broken by what it cannot read."""
    return pickle.dumps(pickle.loads(task)())  # noqa: S301 - from the process that started this one


def _settle(future: Future[Any], done: Future[bytes]) -> None:
    """Hand over a result or an error, in the words of `errors`."""
    try:
        result = pickle.loads(done.result())  # noqa: S301 - from a process of our own
    except BrokenProcessPool as error:
        _finish(future, error=_start_error(error))
    except ProcessExpired as error:
        _finish(future, error=_died(error.exitcode))
    except Exception as error:  # noqa: BLE001 - it is the future's
        _finish(future, error=error)
    else:
        _finish(future, result)


def _finish(future: Future[Any], result: object = None, error: Exception | None = None) -> None:
    with suppress(InvalidStateError):  # it was cancelled, or the pool was broken
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


def _died(code: int) -> WorkerDiedError:
    how = f"{signal.strsignal(-code)} (signal {-code})" if code < 0 else f"exit code {code}"
    return WorkerDiedError(
        f"its worker process ended before it had a result: {how}.",
        hint="The system may have run out of memory: inspect this model alone, or with fewer --jobs.",
    )


def _start_error(error: Exception) -> WorkerStartError:
    reason = str(error.__cause__ or error)
    return WorkerStartError(
        f"worker processes cannot be started: {reason}",
        hint='Run without --jobs. A script that uses `jobs` needs: if __name__ == "__main__":',
    )
