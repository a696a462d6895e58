"""Evaluate expressions, as far as the source determines their values."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence

from vlm_inspect.builders.source import operators
from vlm_inspect.builders.source.execute import set_entry, store
from vlm_inspect.builders.source.machine import ITEMS_PER_STEP, Machine
from vlm_inspect.builders.source.operators import example_of, examples_of, items_of, truth_value
from vlm_inspect.builders.source.values import (
    ANY_NAME,
    CHOSEN_AT_RUN_TIME,
    CONDITIONAL,
    UNDECIDED,
    Choice,
    ClassRef,
    External,
    Frame,
    FunctionRef,
    Instance,
    Items,
    Spread,
    Super,
    Table,
    Unknown,
    Value,
    is_number,
    is_plain,
    matches_pattern,
)

_INTEGER_FORMAT = re.compile(r"0?\d?d?")
INSTANTIATING = "<instantiating>"
"""The attribute with the classes of a dict that instantiates its entries (transformers' `ACT2FN`)."""


def evaluate(machine: Machine, node: ast.expr, frame: Frame) -> Value:
    """The value of an expression; unknown if its kind is not supported."""
    if isinstance(node, ast.Constant):
        return node.value if is_plain(node.value) else Unknown()
    if isinstance(node, ast.Name):
        names = frame.names if node.id in frame.names else frame.closure
        return names[node.id] if node.id in names else machine.name(frame.scope, node.id)
    if isinstance(node, ast.Attribute):
        return machine.attribute(machine.evaluate(node.value, frame), node.attr)
    if isinstance(node, ast.Lambda):
        return FunctionRef(node, frame.scope, {**frame.closure, **frame.names}, frame.owner)
    handler = _HANDLERS.get(type(node))
    return handler(machine, node, frame) if handler else Unknown()


def _subscript(machine: Machine, node: ast.Subscript, frame: Frame) -> Value:
    owner = machine.evaluate(node.value, frame)
    if isinstance(node.slice, ast.Slice):
        parts = (node.slice.lower, node.slice.upper, node.slice.step)
        return _part(machine, owner, [None if part is None else machine.evaluate(part, frame) for part in parts])
    return item(machine, owner, machine.evaluate(node.slice, frame))


def _part(machine: Machine, owner: Value, bounds: Sequence[Value]) -> Value:
    """`owner[start:stop:step]` of a list, a string or a module list."""
    known = all(bound is None or type(bound) is int for bound in bounds) and bounds[2] != 0
    if isinstance(owner, (list, str, tuple)):
        machine.spend(len(owner) // ITEMS_PER_STEP)
    if isinstance(owner, (str, tuple, range)):
        return owner[slice(*bounds)] if known else Unknown()
    held = items_of(owner)
    exact = held is not None and known
    part = Items(held[slice(*bounds)] if held is not None and exact else examples_of(owner), exact=exact)
    if not isinstance(owner, Instance) or not exact:
        return part if isinstance(owner, Items) else Unknown()
    return machine.call(owner.made_by, [part] if owner.class_name == "ModuleList" else [*part], {})


def item(machine: Machine, owner: Value, key: Value) -> Value:
    """`owner[key]`; for an unknown key of a dict, a choice of its values."""
    if isinstance(owner, Instance):
        return _item_of_instance(machine, owner, key)
    if isinstance(owner, Table):
        return _item_of_table(owner, key)
    if isinstance(owner, Items) and not owner.exact:
        return example_of(owner, UNDECIDED)
    if isinstance(owner, (Items, tuple, str, range)) and type(key) is int:
        return owner[key] if -len(owner) <= key < len(owner) else Unknown()
    return owner if isinstance(owner, Unknown) else Unknown()


def _item_of_table(owner: Table, key: Value) -> Value:
    """The value at a key, or at a pattern that it matches; for an unknown key, a choice of all values."""
    wanted = getattr(key, "reason", UNDECIDED)
    if is_plain(key):
        patterns = [each for each in owner if isinstance(each, str) and ANY_NAME in each]
        found = [owner[key]] if key in owner else []
        found += [owner[each] for each in patterns if matches_pattern(each, str(key))]
        if found or owner.exact:
            return Choice.of(found, wanted) if found else Unknown(f"there is no {str(key)[:50]!r} in it")
    return Choice.of(owner.values(), wanted) if owner else Unknown(wanted)


def _item_of_instance(machine: Machine, owner: Instance, key: Value) -> Value:
    if (table := owner.attributes.get(INSTANTIATING)) is not None:
        found = item(machine, table, key)
        options = found.options if isinstance(found, Choice) else (found,)
        return Choice.of((_instantiate_entry(machine, option) for option in options), CHOSEN_AT_RUN_TIME)
    if owner.is_module and is_plain(key):
        place = key + len(owner.attributes) if type(key) is int and key < 0 and not owner.has_patterns else key
        found = owner.named(str(place))
        return Choice.of(found, CHOSEN_AT_RUN_TIME) if found else Unknown(of=owner)
    return Unknown(of=owner)


def _instantiate_entry(machine: Machine, entry: Value) -> Value:
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], Table):  # noqa: PLR2004 - class, arguments
        return machine.call(entry[0], [], {str(key): value for key, value in entry[1].items()})
    return machine.call(entry, [], {})


def _call(machine: Machine, node: ast.Call, frame: Frame) -> Value:
    function = machine.evaluate(node.func, frame)
    args: list[Value] = []
    for each in node.args:
        if isinstance(each, ast.Starred):
            spread = machine.evaluate(each.value, frame)
            held = spread if isinstance(spread, tuple) else items_of(spread)
            args += [Spread(examples=examples_of(spread))] if held is None else held
        else:
            args.append(machine.evaluate(each, frame))
    if isinstance(function, External) and function.path == "builtins.super":
        owner, first = args if len(args) == 2 else (frame.owner, frame.first)  # noqa: PLR2004 - class, self
        if isinstance(owner, ClassRef) and isinstance(first, Instance):
            return Super(first, owner)
        return Unknown()
    kwargs: dict[str, Value] = {}
    for keyword in node.keywords:
        value = machine.evaluate(keyword.value, frame)
        if keyword.arg is not None:
            kwargs[keyword.arg] = value
            continue
        inner = value.attributes if isinstance(value, Instance) else value if isinstance(value, Table) else {}
        kwargs.update({str(key): each for key, each in inner.items() if ANY_NAME not in str(key)})
        if not (isinstance(value, Instance) or (isinstance(value, Table) and value.exact)):
            kwargs[ANY_NAME] = Unknown(getattr(value, "reason", UNDECIDED))
    return machine.call(function, args, kwargs)


def _binary(machine: Machine, node: ast.BinOp, frame: Frame) -> Value:
    left, right = machine.evaluate(node.left, frame), machine.evaluate(node.right, frame)
    return operators.binary_operation(type(node.op), left, right)


def _unary(machine: Machine, node: ast.UnaryOp, frame: Frame) -> Value:
    value = machine.evaluate(node.operand, frame)
    if isinstance(node.op, ast.Not):
        known = truth_value(value)
        return Unknown() if known is None else not known
    if isinstance(node.op, ast.USub) and is_number(value):
        return -value
    return value if isinstance(value, Unknown) else Unknown()


def _boolean(machine: Machine, node: ast.BoolOp, frame: Frame) -> Value:
    stops_at = isinstance(node.op, ast.Or)
    value: Value = None
    open_before = False
    for each in node.values:
        value = machine.evaluate(each, frame)
        known = truth_value(value)
        if known is stops_at:
            # an unknown operand before it may be the value instead: as a condition it is the same
            return stops_at if open_before else value
        open_before = open_before or known is None
    return Unknown() if open_before else value


def _compare(machine: Machine, node: ast.Compare, frame: Frame) -> Value:
    left = machine.evaluate(node.left, frame)
    for kind, right_node in zip(node.ops, node.comparators, strict=True):
        right = machine.evaluate(right_node, frame)
        answer = operators.compare(kind, left, right)
        if answer is not True:
            return Unknown() if answer is None else False
        left = right
    return True


def _conditional(machine: Machine, node: ast.IfExp, frame: Frame) -> Value:
    test = truth_value(machine.evaluate(node.test, frame))
    if test is not None:
        return machine.evaluate(node.body if test else node.orelse, frame)
    both = (machine.evaluate(node.body, frame), machine.evaluate(node.orelse, frame))
    return Choice.of(both, CONDITIONAL)


def _list(machine: Machine, node: ast.List | ast.Set, frame: Frame) -> Value:
    items = Items()
    machine.created(items)
    for each in node.elts:
        if isinstance(each, ast.Starred):
            spread = machine.evaluate(each.value, frame)
            held = items_of(spread)
            items += [example_of(spread, UNDECIDED)] if held is None else held
            items.exact = items.exact and held is not None
        else:
            items.append(machine.evaluate(each, frame))
    return items


def _tuple(machine: Machine, node: ast.Tuple, frame: Frame) -> Value:
    if any(isinstance(each, ast.Starred) for each in node.elts):
        return Unknown()
    return tuple(machine.evaluate(each, frame) for each in node.elts)


def _dict(machine: Machine, node: ast.Dict, frame: Frame) -> Value:
    table = Table()
    for key_node, value_node in zip(node.keys, node.values, strict=True):
        value = machine.evaluate(value_node, frame)
        if key_node is None:
            table.update(value if isinstance(value, Table) else {})
            table.exact = table.exact and isinstance(value, Table) and value.exact
        else:
            _add_entry(machine, table, machine.evaluate(key_node, frame), value)
    return table


def _add_entry(machine: Machine, table: Table, key: Value, value: Value) -> None:
    table.exact = table.exact and is_plain(key)
    if is_plain(key) or isinstance(key, Unknown):
        set_entry(machine, table, key, value)


def _comprehension(machine: Machine, node: ast.ListComp | ast.GeneratorExp, frame: Frame) -> Value:
    """A list; if the iterable is unknown, with one example item."""
    items = Items()
    items.exact = _iterate(
        machine, node.generators, frame, lambda inner: items.append(machine.evaluate(node.elt, inner))
    )
    return items


def _dict_comprehension(machine: Machine, node: ast.DictComp, frame: Frame) -> Value:
    table = Table()

    def add(inner: Frame) -> None:
        _add_entry(machine, table, machine.evaluate(node.key, inner), machine.evaluate(node.value, inner))

    exact = _iterate(machine, node.generators, frame, add)
    table.exact = table.exact and exact
    return table


def _iterate(
    machine: Machine, generators: Sequence[ast.comprehension], frame: Frame, act: Callable[[Frame], None]
) -> bool:
    """Run `act` for each iteration, or once if they are unknown; return whether their number is known."""
    if not generators:
        act(frame)
        return True
    generator, *inside = generators
    over = machine.evaluate(generator.iter, frame)
    rounds = items_of(over)
    exact = rounds is not None
    for each in rounds if rounds is not None else [example_of(over, UNDECIDED)]:
        inner = Frame(frame.scope, dict(frame.names), frame.closure, frame.owner, frame.first)
        store(machine, generator.target, each, inner)
        tests = [truth_value(machine.evaluate(test, inner)) for test in generator.ifs]
        if False not in tests:
            exact = _iterate(machine, inside, inner, act) and exact and None not in tests
    return exact


def _string(machine: Machine, node: ast.JoinedStr, frame: Frame) -> Value:
    parts: list[Value] = []
    for part in node.values:
        value: Value = getattr(part, "value", "")
        if isinstance(part, ast.FormattedValue):
            value = machine.evaluate(part.value, frame) if part.conversion == -1 else Unknown()
            if part.format_spec is not None:
                spec = machine.evaluate(part.format_spec, frame)
                fits = type(value) is int and isinstance(spec, str) and _INTEGER_FORMAT.fullmatch(spec)
                value = format(value, spec) if fits else Unknown()
        parts.append(value)
    return operators.joined([part if isinstance(part, (str, int, float, Unknown)) else Unknown() for part in parts])


def _named(machine: Machine, node: ast.NamedExpr, frame: Frame) -> Value:
    value = machine.evaluate(node.value, frame)
    store(machine, node.target, value, frame)
    return value


_HANDLERS: Mapping[type[ast.expr], Callable[..., Value]] = {
    ast.Subscript: _subscript,
    ast.Call: _call,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _boolean,
    ast.Compare: _compare,
    ast.IfExp: _conditional,
    ast.List: _list,
    ast.Set: _list,
    ast.Tuple: _tuple,
    ast.Dict: _dict,
    ast.ListComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _dict_comprehension,
    ast.JoinedStr: _string,
    ast.NamedExpr: _named,
}
