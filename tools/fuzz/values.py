"""Values changed a little, as hypothesis strategies: what JSON holds, with parts of other types and sizes.

In the tests hypothesis draws and shrinks; in `make fuzz` the same strategies are fed with bytes that follow
from the seed, by hypothesis' own way for fuzzers (`fuzz_one_input`).
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools.fuzz.strange import LARGE, NUMBERS, TEXTS, VALUES

_MOST_EDITS = 4
_BYTES = 2_048
_STRANGE = st.one_of(
    st.sampled_from(VALUES).map(copy.deepcopy),
    st.sampled_from(VALUES).map(copy.deepcopy),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(LARGE).map(copy.deepcopy),
)
_OF_TYPES: dict[type, st.SearchStrategy[Any]] = {
    str: st.one_of(st.sampled_from(TEXTS), st.text(max_size=20)),
    int: st.one_of(st.sampled_from([value for value in NUMBERS if type(value) is int]), st.integers(0, 100)),
    float: st.floats(),
    bool: st.booleans(),
}
_KEYS = st.one_of(st.sampled_from(TEXTS), st.text(max_size=10))
Place = tuple[Any, Any]
"""A list or an object, and where in it."""


@st.composite
def edited(draw: st.DrawFn, seeds: Sequence[Any]) -> Any:
    """One of the values, changed in a few places."""
    value = copy.deepcopy(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, _MOST_EDITS))):
        places = list(_places(value))
        if not places:
            return draw(_STRANGE)
        container, key = draw(st.sampled_from(places))
        draw(st.sampled_from(_EDITS))(draw, container, key, places)
    return value


class Fed:
    """A strategy whose examples follow from a random number generator."""

    def __init__(self, strategy: st.SearchStrategy[Any]) -> None:
        self._drawn: list[Any] = []

        @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(strategy)
        def hold(value: Any) -> None:
            self._drawn.append(value)

        self._feed: Callable[[bytes], bytes | None] = hold.hypothesis.fuzz_one_input

    def example(self, rng: random.Random) -> Any:
        """An example; bytes that are too few for one are followed by others."""
        self._drawn.clear()
        while not self._drawn:
            self._feed(rng.randbytes(_BYTES))
        return self._drawn.pop()


def written(value: Any) -> bytes:
    """As JSON, with the NaN and the half characters that Python's writer lets through."""
    return json.dumps(value, default=str).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Iterator[Place]:
    """Every place in a value, from the outside in."""
    level = [value]
    while level:
        below = []
        for parent in level:
            keys = parent.keys() if isinstance(parent, dict) else range(len(parent))
            for key in list(keys)[:400]:
                yield parent, key
                if isinstance(parent[key], (dict, list)) and parent[key]:
                    below.append(parent[key])
        level = below if len(below) < 2_000 else []  # noqa: PLR2004 - a large value was put in


def _replace(draw: st.DrawFn, container: Any, key: Any, _: list[Place]) -> None:
    container[key] = draw(_STRANGE)


def _of_its_type(draw: st.DrawFn, container: Any, key: Any, _: list[Place]) -> None:
    """A strange value that no check of types refuses."""
    if _has(container, key):
        kind = type(container[key])
        container[key] = draw(_OF_TYPES.get(kind, _STRANGE))


def _remove(_: st.DrawFn, container: Any, key: Any, __: list[Place]) -> None:
    if isinstance(container, dict):
        container.pop(key, None)
    elif key < len(container):
        del container[key]


def _rename(draw: st.DrawFn, container: Any, key: Any, _: list[Place]) -> None:
    if isinstance(container, dict) and key in container:
        container[draw(_KEYS)] = container.pop(key)


def _add(draw: st.DrawFn, container: Any, _: Any, __: list[Place]) -> None:
    if isinstance(container, dict):
        container[draw(_KEYS)] = draw(_STRANGE)
    else:
        container.append(draw(_STRANGE))


def _swap(draw: st.DrawFn, container: Any, key: Any, places: list[Place]) -> None:
    """A value also where another stood: a sub-configuration in the place of a number."""
    other, place = draw(st.sampled_from(places))
    if _has(container, key) and _has(other, place):
        one, two = copy.deepcopy(container[key]), copy.deepcopy(other[place])
        container[key] = two
        if draw(st.booleans()) and _has(other, place):
            other[place] = one


def _repeat(draw: st.DrawFn, container: Any, key: Any, _: list[Place]) -> None:
    if isinstance(container, list) and _has(container, key):
        container.extend(copy.deepcopy(container[key]) for _ in range(draw(st.sampled_from((1, 3, 100)))))
    elif _has(container, key):
        container[f"{key}_"] = copy.deepcopy(container[key])


def _wrap(draw: st.DrawFn, container: Any, key: Any, _: list[Place]) -> None:
    if _has(container, key):
        container[key] = draw(
            st.sampled_from(([container[key]], {str(key): container[key]}, str(container[key])[:99]))
        )


def _has(container: Any, key: Any) -> bool:
    return key in container if isinstance(container, dict) else key < len(container)


_EDITS = (_replace, _replace, *[_of_its_type] * 4, _remove, _rename, _add, _swap, _repeat, _wrap)
