"""Statements, followed one by one. Where a condition cannot be told, both ways are gone and joined."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlm_inspect.build.source import names
from vlm_inspect.build.source.branches import Flow, fork
from vlm_inspect.build.source.frame import Frame
from vlm_inspect.build.source.operators import binary, truth
from vlm_inspect.build.source.rounds import items_of
from vlm_inspect.build.source.targets import NOT_FOLLOWED, delete, forget, store
from vlm_inspect.build.source.values import (
    FunctionRef,
    Items,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from vlm_inspect.build.source.machine import Machine


def run(machine: Machine, body: Sequence[ast.stmt], frame: Frame) -> Flow | None:
    """Follow statements; None where they come to their end."""
    for statement in body:
        try:
            flow = _statement(machine, statement, frame)
        except RecursionError:
            forget(machine, [statement], frame, "nested too deep")
            flow = None
        if flow is not None:
            return flow
    return None


def _statement(machine: Machine, node: ast.stmt, frame: Frame) -> Flow | None:  # noqa: PLR0911, C901 - one line for each kind
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        _assign(machine, node, frame)
    elif isinstance(node, ast.Expr):
        machine.evaluate(node.value, frame)
    elif isinstance(node, ast.If):
        return _if(machine, node, frame)
    elif isinstance(node, ast.Return):
        return Flow("return", machine.evaluate(node.value, frame) if node.value else None)
    elif isinstance(node, ast.For):
        return _for(machine, node, frame)
    elif isinstance(node, ast.AugAssign):
        before = machine.evaluate(node.target, frame)
        value = binary(type(node.op), before, machine.evaluate(node.value, frame))
        store(machine, node.target, value, frame)
    elif isinstance(node, ast.With):
        return machine.run(node.body, frame)
    elif isinstance(node, ast.Try):
        return _try(machine, node, frame)
    elif isinstance(node, ast.Raise):
        return Flow("raise")
    elif isinstance(node, (ast.Break, ast.Continue)):
        return Flow("break" if isinstance(node, ast.Break) else "continue")
    else:
        _declare(machine, node, frame)
    return None


def _declare(machine: Machine, node: ast.stmt, frame: Frame) -> None:
    """Declarations inside a function, and what is only forgotten."""
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
            delete(machine, target, frame)
    elif not isinstance(node, (ast.Pass, ast.Assert, ast.Global, ast.Nonlocal)):
        forget(machine, [node], frame, NOT_FOLLOWED)


def _assign(machine: Machine, node: ast.Assign | ast.AnnAssign, frame: Frame) -> None:
    if node.value is None:
        return
    value = machine.evaluate(node.value, frame)
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        store(machine, target, value, frame)


# --- branches ----------------------------------------------------------------------------------------


def _if(machine: Machine, node: ast.If, frame: Frame) -> Flow | None:
    test = truth(machine.evaluate(node.test, frame))
    if test is None:
        return fork(machine, [node.body, node.orelse], frame)
    return machine.run(node.body if test else node.orelse, frame)


def _try(machine: Machine, node: ast.Try, frame: Frame) -> Flow | None:
    handlers = [handler.body for handler in node.handlers]
    flow = fork(machine, [[*node.body, *node.orelse], *handlers], frame)
    return machine.run(node.finalbody, frame) or flow


# --- loops -------------------------------------------------------------------------------------------


def _for(machine: Machine, node: ast.For, frame: Frame) -> Flow | None:
    over = machine.evaluate(node.iter, frame)
    rounds = items_of(over)
    if rounds is None:
        _perhaps(machine, node, over, frame)
        return None
    for item in rounds:
        store(machine, node.target, item, frame)
        flow = machine.run(node.body, frame)
        if flow is not None and flow.kind == "break":
            return None
        if flow is not None and flow.kind != "continue":
            return flow
    return machine.run(node.orelse, frame)


def _perhaps(machine: Machine, node: ast.For, over: Value, frame: Frame) -> None:
    """A loop of unknown length: gone through once, and perhaps not at all."""
    example = (
        over[0]
        if isinstance(over, Items) and over
        else over
        if isinstance(over, Unknown)
        else Unknown(NOT_FOLLOWED)
    )
    store(machine, node.target, example, frame)
    fork(machine, [node.body, []], frame)
