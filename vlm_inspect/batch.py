"""Many models, one after another: each ends as an answer or as the reason why there is none.

Knows nothing of how an answer is made, nor of progress bars: it yields, and the caller draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from vlm_inspect.errors import VlmInspectError

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Inspected(Generic[Asked, Answer]):
    """A model that was answered."""

    asked: Asked
    answer: Answer


@dataclass(frozen=True, slots=True)
class Failed(Generic[Asked]):
    """A model that was not, and why."""

    asked: Asked
    error: VlmInspectError


def run(
    asked: Iterable[Asked], answer: Callable[[Asked], Answer]
) -> Iterator[Inspected[Asked, Answer] | Failed[Asked]]:
    """Outcomes in the order asked. An error of a model's own is its outcome; a bug ends the run."""
    for one in asked:
        try:
            outcome: Inspected[Asked, Answer] | Failed[Asked] = Inspected(one, answer(one))
        except VlmInspectError as error:
            outcome = Failed(one, error)
        yield outcome
