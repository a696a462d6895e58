"""Processes of this machine, as a `concurrent.futures.Executor`.

The standard library's own pool is broken as a whole by one process that is killed, runs the caller's script
again in each, writes to the caller's terminal, and leaves its processes behind when the caller is killed.
loky's is broken as a whole, too; Pebble's loses one task alone, and is no `Executor`.
Here a process belongs to one thread, which waits for one answer at a time: what dies is known by its task.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import IO, Any, ParamSpec, TypeVar, cast

from vlm_inspect.errors import NoWorkerError, UnsentError, WorkerDiedError
from vlm_inspect.short_waits import join

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_Task = tuple["Future[Any]", bytes]

_READY = "ready"
_ATTEMPTS = 3
"""To start a process; one that is killed before it takes work was not killed by that work."""
# the caller's path as it is, before anything is imported: a folder full of models is none to import from
_PROGRAM = "import sys; sys.path[:] = {path!r}; from vlm_inspect.workers import serve; serve()"


class Workers(Executor):
    """As many processes as there is work for, and at most `jobs`; started when they are needed."""

    def __init__(self, jobs: int) -> None:
        if jobs < 1:
            raise ValueError(f"{jobs} processes do no work")
        self._jobs = jobs
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._threads: list[Thread] = []
        self._lock = Lock()
        self._processes: set[_Process] = set()
        self._over = False

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """The future of `fn(*args, **kwargs)` in one of the processes. All of it must survive pickling."""
        if self._over:
            raise RuntimeError("these workers were shut down")
        future: Future[Result] = Future()
        try:
            self._tasks.put((future, pickle.dumps((fn, args, kwargs))))
        except Exception as error:  # noqa: BLE001 - whatever the objects themselves raise
            future.set_exception(_unsent(error))
            return future
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._jobs:
            # a daemon: a program that ends does not wait for it, and its process ends by itself
            self._threads.append(Thread(target=self._work, name="vlm-inspect worker", daemon=True))
            self._threads[-1].start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """Take no more work. With `cancel_futures`, what is being worked on is given up, too."""
        self._over = True
        if cancel_futures:
            self._cancel()
        for _ in self._threads:
            self._tasks.put(None)
        # at the end of the program its daemons are gone without a word: Python 3.13 waits for them forever
        if wait and not sys.is_finalizing():
            for thread in self._threads:
                with suppress(RuntimeError):  # one that Ctrl-C caught being started has no process, nor will
                    join(thread)

    def __exit__(self, *_: object) -> None:
        """Whoever leaves waits for no answer any more."""
        self.shutdown(cancel_futures=True)

    def _cancel(self) -> None:
        with suppress(Empty):
            while (task := self._tasks.get_nowait()) is not None:
                task[0].cancel()
        with self._lock:
            for process in self._processes:
                process.kill()

    def _work(self) -> None:
        """What one thread does: it has a process while there is work, and another when that has died."""
        process: _Process | None = None
        while (task := self._tasks.get()) is not None:
            future, work = task
            if future.set_running_or_notify_cancel():
                try:
                    process = process or self._start()
                    result, error = process.ask(work)
                except Exception as failure:  # noqa: BLE001 - it is the future's
                    result, error = None, failure
                if isinstance(error, WorkerDiedError):
                    self._end(process)
                    process = None
                _settle(future, result, error)
            self._idle.release()
        self._end(process)

    def _start(self) -> _Process:
        """A process that is ready. Raises NoWorkerError where none comes to that."""
        for _ in range(_ATTEMPTS):
            with self._lock:
                if self._over:
                    raise _no_worker("they were shut down")
                process = _Process()
                self._processes.add(process)
            try:
                process.await_ready()
            except WorkerDiedError:
                self._end(process)
            else:
                return process
        raise _no_worker(f"each of {_ATTEMPTS} ended before it was ready: {process.how_it_ended}")

    def _end(self, process: _Process | None) -> None:
        if process is not None:
            with self._lock:
                self._processes.discard(process)
            process.end()


class _Process:
    """A process that answers one task at a time."""

    def __init__(self) -> None:
        path = [entry for entry in sys.path if isinstance(entry, str)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this very Python, with a program of ours
                [sys.executable, "-c", _PROGRAM.format(path=path)],
                # models on meta are not computed with: threads for that would only take from each other
                env={"OMP_NUM_THREADS": "1", **os.environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us, who then end it
            )
        except OSError as error:
            raise _no_worker(error.strerror or str(error)) from error
        self._to = cast("IO[bytes]", self._process.stdin)
        self._from = cast("IO[bytes]", self._process.stdout)

    def await_ready(self) -> None:
        """Return when it takes work. Raises WorkerDiedError where it never does."""
        self._hear()

    def ask(self, task: bytes) -> tuple[Any, Exception | None]:
        """What a task returns and what it raises. Raises WorkerDiedError for a process that is gone."""
        try:
            pickle.dump(task, self._to)
            self._to.flush()
        except OSError as error:
            raise self._died() from error
        answer = self._hear()
        try:
            return cast("tuple[Any, Exception | None]", pickle.loads(answer))  # noqa: S301 - of our own process
        except Exception as error:  # whatever the objects themselves raise
            raise _unsent(error) from error

    @property
    def how_it_ended(self) -> str:
        """`Killed (signal 9)`, `exit code 1`."""
        code = self._process.returncode
        return f"{signal.strsignal(-code)} (signal {-code})" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End it, whatever it does, and what it has started; whoever waits for it hears of its death."""
        if self._process.returncode is not None:
            return
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)  # it leads a group of its own
            else:
                self._process.kill()

    def end(self) -> None:
        """End it and forget it."""
        self.kill()
        self._process.wait()
        self._from.close()
        with suppress(OSError):  # what was not sent cannot be any more
            self._to.close()

    def _hear(self) -> bytes:
        try:
            return cast("bytes", pickle.load(self._from))  # noqa: S301 - as above
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise self._died() from error

    def _died(self) -> WorkerDiedError:
        self.kill()
        self._process.wait()
        return WorkerDiedError(
            f"the process that worked on it ended before its answer: {self.how_it_ended}.",
            hint="The system may have run out of memory: ask for this model alone, or with fewer --jobs.",
        )


def serve() -> None:
    """What a process does: tasks from its stdin, answers to its stdout, until the one who asks is gone."""
    tasks, answers = _streams()
    waiting: SimpleQueue[bytes] = SimpleQueue()
    _send(answers, _READY.encode())
    Thread(target=_read, args=(tasks, waiting), daemon=True).start()
    while True:
        _send(answers, _done(waiting.get()))


def _streams() -> tuple[IO[bytes], IO[bytes]]:
    """The two pipes, out of reach of whatever prints to stdout or reads from stdin."""
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    return tasks, answers


def _read(tasks: IO[bytes], waiting: SimpleQueue[bytes]) -> None:
    """Tasks as they come; at their end nobody waits for an answer, and one half made is left."""
    try:
        while True:
            waiting.put(pickle.load(tasks))  # noqa: S301 - from the process that started this one
    finally:
        os._exit(0)


def _send(answers: IO[bytes], data: bytes) -> None:
    try:
        pickle.dump(data, answers)
        answers.flush()
    except OSError:
        os._exit(0)


def _done(task: bytes) -> bytes:
    """What a task returns and what it raises, ready to be sent."""
    told: tuple[Any, Exception | None]
    try:
        work, args, kwargs = pickle.loads(task)  # noqa: S301 - as above
        told = work(*args, **kwargs), None
    except Exception as error:  # noqa: BLE001 - the future's
        told = None, error
    try:
        return pickle.dumps(told)
    except Exception as error:  # noqa: BLE001 - whatever the objects themselves raise
        return pickle.dumps((None, _unsent(error)))


def _settle(future: Future[Any], result: Any, error: Exception | None) -> None:
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _unsent(error: Exception) -> UnsentError:
    said = " ".join(str(error).split()) or type(error).__name__
    return UnsentError(
        f"it cannot be sent to another process, or its answer back: {said}",
        hint="Ask for it without --jobs, or on an executor of threads.",
    )


def _no_worker(why: str) -> NoWorkerError:
    return NoWorkerError(f"no process to work on models can be started: {why}", hint="Ask without --jobs.")
