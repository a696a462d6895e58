"""The same work for many things at once, in threads that nobody has to wait for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from queue import Empty, SimpleQueue
from threading import Event
from typing import TypeVar

from vlm_inspect.sources.deadline import start_thread

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")


def in_parallel(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int = 8
) -> dict[Item, Result]:
    """What `work` returns for each item, in their order. The first error is raised, and nothing begun after.

    The threads are daemons, unlike those of concurrent.futures: a process that gives up need not wait.
    """
    waiting: SimpleQueue[Item] = SimpleQueue()
    order = list(items)
    for item in order:
        waiting.put(item)
    results: dict[Item, Result] = {}
    errors: list[BaseException] = []
    failed = Event()

    def run() -> None:
        while not failed.is_set():
            try:
                item = waiting.get_nowait()
            except Empty:
                return
            try:
                results[item] = work(item)
            except BaseException as error:  # noqa: BLE001 - raised again below
                errors.append(error)
                failed.set()

    running = [start_thread(run) for _ in range(min(threads, len(order)))]
    for thread in running:
        thread.join()
    if errors:
        raise errors[0]
    return {item: results[item] for item in order}
