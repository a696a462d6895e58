"""Run statements. If a condition is unknown, all branches run, and their results are merged."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from vlm_inspect.builders.source import names
from vlm_inspect.builders.source.machine import Machine
from vlm_inspect.builders.source.operators import binary_operation, items_of, truth_value
from vlm_inspect.builders.source.values import (
    CONDITIONAL,
    NOT_FOLLOWED,
    Choice,
    Flow,
    Frame,
    FunctionRef,
    Instance,
    Items,
    Table,
    Unknown,
    Value,
    is_same,
)


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
    elif isinstance(node, ast.AugAssign):
        before = machine.evaluate(node.target, frame)
        after = binary_operation(type(node.op), before, machine.evaluate(node.value, frame))
        store(machine, node.target, after, frame)
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
            owner = machine.evaluate(target.value, frame) if isinstance(target, ast.Attribute) else None
            if isinstance(target, ast.Name):
                machine.remove(frame.names, target.id)
            elif isinstance(target, ast.Attribute) and isinstance(owner, Instance):
                machine.remove(owner.attributes, target.attr)
    elif not isinstance(node, (ast.Pass, ast.Assert, ast.Global, ast.Nonlocal)):
        _invalidate(machine, node, frame, NOT_FOLLOWED)


def _for(machine: Machine, node: ast.For, frame: Frame) -> Flow | None:
    over = machine.evaluate(node.iter, frame)
    rounds = items_of(over)
    if rounds is None:  # a loop of unknown length runs once, or not at all
        example = over if isinstance(over, Unknown) else Unknown(NOT_FOLLOWED)
        example = over[0] if isinstance(over, Items) and over else example
        store(machine, node.target, example, frame)
        machine.unknown_loops += 1
        _run_branches(machine, [node.body, []], frame)
        machine.unknown_loops -= 1
        return None
    for each in rounds:
        store(machine, node.target, each, frame)
        flow = run(machine, node.body, frame)
        if flow is not None and flow.kind == "break":
            return None
        if flow is not None and flow.kind != "continue":
            return flow
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
    for key in dict.fromkeys(key for changed in changes for key in changed):
        _merge_entry(machine, [changed.get(key) for changed in changes])
    returned = [flow.value for flow in flows if flow is not None and flow.kind == "return"]
    if len(returned) == len(flows):
        return Flow("return", Choice.of(returned, CONDITIONAL))
    frame.returns += returned
    return None


def _merge_entry(machine: Machine, changes: Sequence[tuple[Any, Any, Any] | None]) -> None:
    """Merge the values of one entry after each branch; None for a branch that did not change it."""
    container, name, _ = next(each for each in changes if each is not None)
    if isinstance(container, Items):
        after = [each[2] if each else (list(container), container.exact) for each in changes]
        longest = max((content for content, _ in after), key=len)
        agree = all(
            exact and len(content) == len(longest) and all(map(is_same, content, longest)) for content, exact in after
        )
        machine.replace_items(container, longest, exact=agree)
        return
    now = container.get(name, machine.MISSING)
    values = [each[2] if each else now for each in changes]
    there = [value for value in values if value is not machine.MISSING]
    if there:
        machine.set(container, name, Choice.of(there, CONDITIONAL))


def store(machine: Machine, target: ast.expr, value: Value, frame: Frame) -> None:
    """Assign to a name, an attribute, an item, or a tuple of targets."""
    if isinstance(target, ast.Name):
        machine.set(frame.names, target.id, value)
    elif isinstance(target, ast.Attribute):
        set_attribute(machine, machine.evaluate(target.value, frame), target.attr, value)
    elif isinstance(target, ast.Subscript):
        owner, key = machine.evaluate(target.value, frame), machine.evaluate(target.slice, frame)
        _set_item(machine, owner, key, value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        known = isinstance(value, (tuple, Items)) and len(value) == len(target.elts)
        for index, inner in enumerate(target.elts):
            store(machine, inner, value[index] if known else Unknown(NOT_FOLLOWED), frame)


def set_attribute(machine: Machine, owner: Value, name: str, value: Value) -> None:
    """`owner.name = value`; an unknown owner may be any module below the instance that it belongs to."""
    if isinstance(owner, Instance):
        machine.set(owner.attributes, name, value)
    elif isinstance(owner, Unknown) and isinstance(owner.of, Instance):
        machine.set(owner.of.replaced, name, f"{name} is replaced after it is built")


def _set_item(machine: Machine, owner: Value, key: Value, value: Value) -> None:
    plain = isinstance(key, (int, str))
    if isinstance(owner, Unknown):
        owner, plain = owner.of, False
    if isinstance(owner, Items):
        known = type(key) is int and -len(owner) <= key < len(owner)
        content = list(owner)
        if known:
            content[key] = value
        machine.replace_items(owner, content, exact=owner.exact and known)
    elif isinstance(owner, Table) and plain:
        machine.set(owner, key, value)
    elif isinstance(owner, Table):
        owner.exact = False
    elif isinstance(owner, Instance) and owner.is_module and plain:
        machine.set(owner.attributes, str(key), value)
    elif isinstance(owner, Instance):
        owner.incomplete_reason = NOT_FOLLOWED


def _invalidate(machine: Machine, statement: ast.stmt, frame: Frame, reason: str) -> None:
    """Make every name and attribute that a statement may set unknown."""
    for node in ast.walk(statement):
        named = node.value if isinstance(node, ast.Attribute) else node
        if isinstance(named, ast.Name) and isinstance(getattr(node, "ctx", None), ast.Store):
            store(machine, node, Unknown(reason), frame)  # type: ignore[arg-type]
