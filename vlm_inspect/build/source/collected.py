"""Lists, tables, texts and comprehensions, as they are written down."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from vlm_inspect.build.source.frame import Frame
from vlm_inspect.build.source.operators import LONGEST_VALUE, is_plain, truth
from vlm_inspect.build.source.rounds import items_of
from vlm_inspect.build.source.targets import store
from vlm_inspect.build.source.values import (
    Items,
    Table,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine


def list_(machine: Machine, node: ast.List | ast.Set, frame: Frame) -> Value:
    """`[a, *b]`, `{a, b}`."""
    items = Items()
    for each in node.elts:
        if isinstance(each, ast.Starred):
            spread = machine.evaluate(each.value, frame)
            known = isinstance(spread, (Items, tuple, range)) and len(spread) <= LONGEST_VALUE
            items += list(spread) if known else []
            items.exact = items.exact and known and getattr(spread, "exact", True)
        else:
            items.append(machine.evaluate(each, frame))
    return items


_NOT_TOLD = "the text does not tell it"


def tuple_(machine: Machine, node: ast.Tuple, frame: Frame) -> Value:
    """`(a, b)`."""
    if any(isinstance(each, ast.Starred) for each in node.elts):
        return Unknown(_NOT_TOLD)
    return tuple(machine.evaluate(each, frame) for each in node.elts)


def table_(machine: Machine, node: ast.Dict, frame: Frame) -> Value:
    """`{a: b, **c}`."""
    table = Table()
    for key_node, value_node in zip(node.keys, node.values, strict=True):
        value = machine.evaluate(value_node, frame)
        if key_node is None:
            table.update(value if isinstance(value, Table) else {})
            table.exact = table.exact and isinstance(value, Table) and value.exact
            continue
        key = machine.evaluate(key_node, frame)
        if is_plain(key):
            table[key] = value
        else:
            table.exact = False
    return table


def comprehension_(machine: Machine, node: ast.ListComp | ast.GeneratorExp, frame: Frame) -> Value:
    """`[f(x) for x in y]`; where `y` is unknown, one item that stands for all."""
    items = Items()
    items.exact = _each(
        machine, node.generators, 0, frame, lambda inner: items.append(machine.evaluate(node.elt, inner))
    )
    return items


def table_comprehension_(machine: Machine, node: ast.DictComp, frame: Frame) -> Value:
    """`{k: f(k) for k in y}`."""
    table = Table()

    def add(inner: Frame) -> None:
        key = machine.evaluate(node.key, inner)
        if is_plain(key):
            table[key] = machine.evaluate(node.value, inner)
        else:
            table.exact = False

    exact = _each(machine, node.generators, 0, frame, add)
    table.exact = table.exact and exact
    return table


def _each(
    machine: Machine,
    generators: Sequence[ast.comprehension],
    index: int,
    frame: Frame,
    act: Callable[[Frame], None],
) -> bool:
    """Act on every round of a comprehension, or on one for all; whether their number is known."""
    if index == len(generators):
        act(frame)
        return True
    generator = generators[index]
    over = machine.evaluate(generator.iter, frame)
    rounds = items_of(over)
    exact = rounds is not None
    for each in rounds if rounds is not None else [over if isinstance(over, Unknown) else Unknown(_NOT_TOLD)]:
        inner = Frame(frame.scope, dict(frame.names), frame.around, frame.owner, frame.first)
        store(machine, generator.target, each, inner)
        tests = [truth(machine.evaluate(test, inner)) for test in generator.ifs]
        if False in tests:
            continue
        exact = exact and None not in tests
        exact = _each(machine, generators, index + 1, inner, act) and exact
    return exact


def text_(machine: Machine, node: ast.JoinedStr, frame: Frame) -> Value:
    """An f-string of plain values."""
    return "".join(parts) if None not in (parts := list(_parts(machine, node, frame))) else Unknown(_NOT_TOLD)  # type: ignore[arg-type]


def _parts(machine: Machine, node: ast.JoinedStr, frame: Frame) -> Iterator[str | None]:
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            value = machine.evaluate(part.value, frame)
            simple = (
                part.format_spec is None and part.conversion == -1 and isinstance(value, (str, int, float))
            )
            yield str(value)[:1000] if simple else None
        else:
            yield str(getattr(part, "value", ""))
