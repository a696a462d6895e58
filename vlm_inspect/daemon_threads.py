"""An executor whose threads nobody has to wait for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from threading import Semaphore, Thread
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class DaemonThreads(Executor):
    """A thread for each task, of which so many work at once. For tasks that wait, not for tasks that compute.

    Those of ThreadPoolExecutor are joined when the process ends: Ctrl-C would wait for the slowest server.
    """

    def __init__(self, at_once: int) -> None:
        self._turn = Semaphore(at_once)

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """The future of `fn(*args, **kwargs)`."""
        future: Future[Result] = Future()
        Thread(target=self._run, args=(future, fn, args, kwargs), daemon=True).start()
        return future

    def _run(self, future: Future[Any], fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        with self._turn:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
                future.set_exception(error)
