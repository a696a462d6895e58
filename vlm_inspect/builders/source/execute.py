"""Run statements. If a condition is unknown, all branches run, and their results are merged."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from vlm_inspect.builders.source import names
from vlm_inspect.builders.source.machine import Machine
from vlm_inspect.builders.source.operators import (
    LONGEST_LOOP,
    binary_operation,
    compare,
    example_of,
    examples_of,
    items_of,
    truth_value,
)
from vlm_inspect.builders.source.values import (
    ANY_NAME,
    CONDITIONAL,
    NOT_FOLLOWED,
    UNKNOWN_INDEX,
    Choice,
    Flow,
    Frame,
    FunctionRef,
    Instance,
    Items,
    NamePattern,
    Table,
    Unknown,
    Value,
    distinct,
    is_same,
    several,
)

Changes = dict[tuple[int, object], tuple[Any, Any, Any]]
"""The entries that a branch changed: container, key, value."""


def run(machine: Machine, body: Sequence[ast.stmt], frame: Frame) -> Flow | None:
    """Run statements; None if they run to their end."""
    for statement in body:
        try:
            flow = _statement(machine, statement, frame)
        except RecursionError:
            _invalidate(machine, statement, frame, "nested too deep")
            flow = None
        if flow is not None:
            return flow
    return None


def _statement(machine: Machine, node: ast.stmt, frame: Frame) -> Flow | None:  # noqa: PLR0911, PLR0912, C901 - one line for each kind
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        if node.value is not None:
            value = machine.evaluate(node.value, frame)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                store(machine, target, value, frame)
    elif isinstance(node, ast.Expr):
        machine.evaluate(node.value, frame)
    elif isinstance(node, ast.If):
        test = truth_value(machine.evaluate(node.test, frame))
        if test is None:
            return _run_branches(machine, [node.body, node.orelse], frame)
        return run(machine, node.body if test else node.orelse, frame)
    elif isinstance(node, ast.Return):
        return Flow("return", machine.evaluate(node.value, frame) if node.value else None)
    elif isinstance(node, ast.For):
        return _for(machine, node, frame)
    elif isinstance(node, ast.While):
        return _while(machine, node, frame)
    elif isinstance(node, ast.Match):
        return _match(machine, node, frame)
    elif isinstance(node, ast.AugAssign):
        _augment(machine, node, frame)
    elif isinstance(node, ast.With):
        return run(machine, node.body, frame)
    elif isinstance(node, ast.Try):
        handlers = [handler.body for handler in node.handlers]
        flow = _run_branches(machine, [[*node.body, *node.orelse], *handlers], frame)
        return run(machine, node.finalbody, frame) or flow
    elif isinstance(node, ast.Raise):
        return Flow("raise")
    elif isinstance(node, (ast.Break, ast.Continue)):
        return Flow("break" if isinstance(node, ast.Break) else "continue")
    else:
        _declare(machine, node, frame)
    return None


def _declare(machine: Machine, node: ast.stmt, frame: Frame) -> None:
    """Declarations inside a function, and statements that are not supported."""
    if isinstance(node, ast.FunctionDef):
        machine.set(frame.names, node.name, FunctionRef(node, frame.scope, frame.names))
    elif isinstance(node, ast.ClassDef):
        machine.set(frame.names, node.name, names.class_of(machine, frame.scope, node))
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            machine.set(frame.names, name, names.imported(machine, frame.scope, node, name))
    elif isinstance(node, ast.Delete):
        for target in node.targets:
            _delete(machine, target, frame)
    elif isinstance(node, ast.Nonlocal):
        for name in node.names:  # the function may change it
            machine.set(frame.closure, name, Unknown(NOT_FOLLOWED))
    elif not isinstance(node, (ast.Pass, ast.Assert, ast.Global)):
        _invalidate(machine, node, frame, NOT_FOLLOWED)


def _delete(machine: Machine, target: ast.expr, frame: Frame) -> None:
    if isinstance(target, ast.Name):
        machine.remove(frame.names, target.id)
    elif isinstance(target, ast.Attribute):
        owner = machine.evaluate(target.value, frame)
        if isinstance(owner, Instance):
            machine.remove(owner.attributes, target.attr)
    elif isinstance(target, ast.Subscript):
        _delete_item(machine, machine.evaluate(target.value, frame), machine.evaluate(target.slice, frame))


def _delete_item(machine: Machine, owner: Value, key: Value) -> None:
    if isinstance(owner, Items):
        known = owner.exact and type(key) is int and -len(owner) <= key < len(owner)
        content = list(owner)
        if known:
            del content[key]
        machine.replace_items(owner, content, exact=known)
    elif isinstance(owner, Instance) and items_of(owner) is not None:
        for name, value in list(owner.attributes.items()):  # the later modules get other numbers
            machine.remove(owner.attributes, name)
            set_entry(machine, owner.attributes, UNKNOWN_INDEX, value)
    elif isinstance(owner, (Instance, Table)) and isinstance(key, (str, int)):
        machine.remove(owner.attributes if isinstance(owner, Instance) else owner, key)


def _augment(machine: Machine, node: ast.AugAssign, frame: Frame) -> None:
    before, value = machine.evaluate(node.target, frame), machine.evaluate(node.value, frame)
    is_module = isinstance(before, Instance) and before.is_module
    if isinstance(node.op, ast.Add) and (is_module or isinstance(before, Items)):
        machine.call(machine.attribute(before, "extend"), [value], {})  # a list stays the same object
    else:
        store(machine, node.target, binary_operation(type(node.op), before, value), frame)


def _for(machine: Machine, node: ast.For, frame: Frame) -> Flow | None:
    over = machine.evaluate(node.iter, frame)
    rounds = items_of(over)
    if rounds is None:
        return _run_any_number(machine, node, frame, example_of(over, NOT_FOLLOWED))
    for each in rounds:
        store(machine, node.target, each, frame)
        flow = run(machine, node.body, frame)
        if flow is not None and flow.kind == "break":
            return None
        if flow is not None and flow.kind != "continue":
            return flow
    return run(machine, node.orelse, frame)


def _while(machine: Machine, node: ast.While, frame: Frame) -> Flow | None:
    for _ in range(LONGEST_LOOP):
        test = truth_value(machine.evaluate(node.test, frame))
        if test is None:
            break
        if not test:
            return run(machine, node.orelse, frame)
        machine.may_break = False
        flow = run(machine, node.body, frame)
        if flow is not None and flow.kind == "break":
            return None
        if flow is not None and flow.kind != "continue":
            return flow
        if machine.may_break:
            break
    return _run_any_number(machine, node, frame)


def _match(machine: Machine, node: ast.Match, frame: Frame) -> Flow | None:
    """Run the case that matches; of patterns other than values, any may match."""
    subject = machine.evaluate(node.subject, frame)
    possible: list[Sequence[ast.stmt]] = []
    for case in node.cases:
        answer = _matches_case(machine, case, subject, frame)
        if answer is not False:
            possible.append(case.body)
        if answer is True:
            break
    else:
        possible.append([])
    return run(machine, possible[0], frame) if len(possible) == 1 else _run_branches(machine, possible, frame)


def _matches_case(machine: Machine, case: ast.match_case, subject: Value, frame: Frame) -> bool | None:
    options = case.pattern.patterns if isinstance(case.pattern, ast.MatchOr) else [case.pattern]
    answers: list[bool | None] = []
    for option in options:
        if isinstance(option, ast.MatchValue):
            answers.append(compare(ast.Eq(), subject, machine.evaluate(option.value, frame)))
        else:
            answers.append(True if isinstance(option, ast.MatchAs) and option.name is None else None)
    found = True if True in answers else None if None in answers else False
    return None if found and case.guard is not None else found


def _run_any_number(machine: Machine, node: ast.For | ast.While, frame: Frame, example: Value = None) -> Flow | None:
    """Run a loop whose number of iterations is unknown.

    It runs twice, each time or not at all: the second iteration reads what the first one changed.
    """
    for _ in range(2):
        if isinstance(node, ast.For):
            store(machine, node.target, example, frame)
        _run_branches(machine, [node.body, []], frame)
    machine.may_break = False
    return run(machine, node.orelse, frame)


def _run_branches(machine: Machine, bodies: Sequence[Sequence[ast.stmt]], frame: Frame) -> Flow | None:
    flows, changes = [], []
    for body in bodies:
        mark = machine.mark()
        flow = run(machine, body, frame)
        changed = machine.undo(mark)
        if flow is None or flow.kind != "raise":
            flows.append(flow)
            changes.append(changed)
    if not flows:
        return Flow("raise")
    # in the order of the changes: a module has its attributes before it is compared with that of another branch
    for key in dict.fromkeys(key for changed in changes for key in reversed(changed)):
        _merge_entry(machine, key, changes)
    machine.may_break = machine.may_break or any(flow is not None and flow.kind == "break" for flow in flows)
    returned = [flow.value for flow in flows if flow is not None and flow.kind == "return"]
    if len(returned) == len(flows):
        return Flow("return", Choice.of(returned, CONDITIONAL))
    frame.returns += returned
    return None


def _merge_entry(machine: Machine, key: tuple[int, object], changes: Sequence[Changes]) -> None:
    """Merge the values of one entry after each branch."""
    container, name, _ = next(changed[key] for changed in changes if key in changed)
    if name is machine.CREATED:
        return
    made = [changed for changed in changes if (key[0], machine.CREATED) in changed]
    found = [changed.get(key) for changed in made or changes]  # None for a branch that did not change it
    if isinstance(container, Items):
        lists = [Items(each[2][0], exact=each[2][1]) if each else container for each in found]
        agree = _agree(lists)
        machine.replace_items(container, lists[0] if agree else _all_of(lists), exact=agree)
        return
    now = container.get(name, machine.MISSING)
    values = [each[2] if each else now for each in found]
    there = [value for value in values if value is not machine.MISSING]
    place = NamePattern(text=name) if isinstance(name, str) and ANY_NAME in name else None
    is_index = isinstance(name, str) and name.isdecimal() and not isinstance(container, Table)
    if is_index and len(there) < len(values):  # the branches add different numbers of modules to a list
        place = UNKNOWN_INDEX
    if place is not None:
        for value in there:
            set_entry(machine, container, place, value)
    elif there and all(isinstance(value, Items) for value in there):
        machine.set(container, name, there[0] if _agree(there) else Items(_all_of(there), exact=False))
    elif there:
        machine.set(container, name, Choice.of(there, CONDITIONAL))


def _agree(lists: Sequence[Items]) -> bool:
    """Whether lists have the same items."""
    first = lists[0]
    return all(each.exact and len(each) == len(first) and all(map(is_same, each, first)) for each in lists)


def _all_of(lists: Sequence[Items]) -> list[Value]:
    return distinct(each for items in lists for each in items)


def store(machine: Machine, target: ast.expr, value: Value, frame: Frame) -> None:
    """Assign to a name, an attribute, an item, or a tuple of targets."""
    if isinstance(target, ast.Name):
        machine.set(frame.names, target.id, value)
    elif isinstance(target, ast.Attribute):
        set_attribute(machine, machine.evaluate(target.value, frame), target.attr, value)
    elif isinstance(target, ast.Subscript):
        owner, key = machine.evaluate(target.value, frame), machine.evaluate(target.slice, frame)
        if isinstance(target.slice, ast.Slice) and isinstance(owner, Items):
            machine.replace_items(owner, [*owner, *examples_of(value)], exact=False)
        else:
            _set_item(machine, owner, key, value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        known = isinstance(value, (tuple, Items)) and len(value) == len(target.elts)
        for index, inner in enumerate(target.elts):
            undecided = Unknown(NOT_FOLLOWED, of=getattr(value, "of", None))
            store(machine, inner, value[index] if known else undecided, frame)


def set_attribute(machine: Machine, owner: Value, name: str, value: Value) -> None:
    """`owner.name = value`; an unknown owner may be any module below the instance that it belongs to."""
    if isinstance(owner, Instance):
        if owner.is_example:
            value = several([owner.attributes.get(name, value), value])
        machine.set(owner.attributes, name, value)
    elif isinstance(owner, Choice):
        for option in owner.options:
            before = option.attributes.get(name, value) if isinstance(option, Instance) else value
            set_attribute(machine, option, name, Choice.of([before, value], CONDITIONAL))
    elif isinstance(owner, Unknown) and isinstance(owner.of, Instance):
        machine.set(owner.of.replaced, name, f"{name} is replaced after it is built")


def set_entry(machine: Machine, held: dict[Any, Value], name: Value, value: Value) -> None:
    """Set an entry; of an unknown name, one of the values that any name of its pattern may have."""
    if isinstance(name, Unknown):
        name = name.text if isinstance(name, NamePattern) else ANY_NAME
        value = several([held.get(name, value), value])
    machine.set(held, name, value)


def _set_item(machine: Machine, owner: Value, key: Value, value: Value) -> None:
    is_decided = isinstance(key, (int, str))
    if isinstance(owner, Unknown):
        if isinstance(owner.of, Instance):
            owner.of.incomplete_reason = NOT_FOLLOWED
            set_attribute(machine, owner, str(key), value)
    elif isinstance(owner, Items):
        is_decided = type(key) is int and -len(owner) <= key < len(owner)
        content = [*owner] if is_decided else [*owner, value]
        if is_decided:
            content[key] = value
        machine.replace_items(owner, content, exact=owner.exact and is_decided)
    elif isinstance(owner, Table):
        owner.exact = owner.exact and is_decided
        if is_decided or isinstance(key, Unknown):
            set_entry(machine, owner, key, value)
    elif isinstance(owner, Instance) and owner.is_module:
        if type(key) is int and key < 0:
            is_decided, key = not owner.has_patterns, key + len(owner.attributes)
        undecided = key if isinstance(key, Unknown) else Unknown()
        set_entry(machine, owner.attributes, str(key) if is_decided else undecided, value)
    elif isinstance(owner, Instance):
        owner.incomplete_reason = NOT_FOLLOWED


def _invalidate(machine: Machine, statement: ast.stmt, frame: Frame, reason: str) -> None:
    """Make every name and attribute that a statement may set unknown."""
    for node in ast.walk(statement):
        named = node.value if isinstance(node, ast.Attribute) else node
        if isinstance(named, ast.Name) and isinstance(getattr(node, "ctx", None), ast.Store):
            store(machine, node, Unknown(reason), frame)  # type: ignore[arg-type]
