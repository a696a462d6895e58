"""Statements that join two sequences, found in the source of one function."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from vlm_inspect.tree import FusionKind, FusionOp

_SCATTERS = frozenset({"masked_scatter", "masked_scatter_", "index_put", "index_put_"})
_CONCATENATIONS = frozenset({"cat", "concat"})
_TEXT = frozenset({"input_ids", "inputs_embeds"})
_LONGEST_STATEMENT = 160
_SCATTER_OPERANDS, _WHERE_OPERANDS = 2, 3

_STATEMENTS = (ast.Assign, ast.AugAssign, ast.Return, ast.Expr)
Statement = ast.Assign | ast.AugAssign | ast.Return | ast.Expr
Sources = Mapping[str, frozenset[str]]


def joins_in(function: ast.FunctionDef, where: str) -> Iterator[FusionOp]:
    """The statements of a function that write into, add to, or lengthen a sequence."""
    statements = [node for node in ast.walk(function) if isinstance(node, _STATEMENTS)]
    found = [(each, *operation) for each in statements for operation in _operations(each)]
    made = _made_from(statements) if found else {}
    for statement, operation, sequence, value, mask in found:
        target, values = _base(sequence), _names(value)
        if isinstance(target, ast.Name) and values:
            yield FusionOp(
                operation=operation,
                target=target.id,
                values=tuple(sorted(values)),
                mask=tuple(sorted(_names(mask))) if mask is not None else (),
                sources=tuple(sorted(_traced(values, made))),
                where=where,
                statement=_written(statement),
            )


Operation = tuple[FusionKind, ast.expr, ast.expr, "ast.expr | None"]


def _operations(statement: Statement) -> Iterator[Operation]:
    """What a statement joins: the sequence, what is put there, and where."""
    if isinstance(statement, ast.AugAssign):
        if isinstance(statement.op, ast.Add):
            yield "add", statement.target, statement.value, None
        return
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
        if isinstance(target, ast.Subscript) and not _is_name(target.slice):
            yield "scatter", target, statement.value, target.slice
    for part in ast.walk(statement.value) if statement.value is not None else ():
        if isinstance(part, ast.Call):
            yield from _called(part)
        elif isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
            yield "add", part.left, part.right, None
            yield "add", part.right, part.left, None


def _is_name(place: ast.expr) -> bool:
    """Whether it is one in a dictionary, and no place in a sequence."""
    return isinstance(place, ast.Constant) and isinstance(place.value, str)


def _called(call: ast.Call) -> Iterator[Operation]:
    """`inputs_embeds.masked_scatter(mask, features)`, `torch.cat([features, inputs_embeds])` and the like."""
    table = _table(call.func)
    if table is not None and call.args:
        yield "embed", table, call.args[0], None
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if name in _SCATTERS and len(given) >= _SCATTER_OPERANDS and isinstance(call.func, ast.Attribute):
        yield "scatter", call.func.value, given[1], given[0]
    elif name == "where" and len(given) == _WHERE_OPERANDS:
        yield "scatter", given[2], given[1], given[0]
    elif name in _CONCATENATIONS and given and isinstance(given[0], (ast.List, ast.Tuple)):
        parts = given[0].elts
        for before, after in pairwise(parts):
            yield "prepend", after, before, None
            yield "append", before, after, None


def _table(function: ast.expr) -> ast.expr | None:
    """The text's embeddings, where they are what is called: `self.get_input_embeddings()(tokens)`."""
    callee = function.func if isinstance(function, ast.Call) else function
    name = callee.attr if isinstance(callee, ast.Attribute) else ""
    is_called = name == "get_input_embeddings" and isinstance(function, ast.Call)
    return ast.Name("embed_tokens") if is_called or name == "embed_tokens" else None


def _base(expression: ast.expr) -> ast.expr:
    """The sequence itself: `inputs_embeds` of `inputs_embeds.to(device)[mask]`."""
    while True:
        if isinstance(expression, ast.Subscript):
            expression = expression.value
        elif isinstance(expression, ast.Call) and isinstance(expression.func, ast.Attribute):
            expression = expression.func.value
        else:
            return expression


def _names(expression: ast.AST) -> frozenset[str]:
    """Every name in an expression, those of attributes, methods and keys included."""
    found = set()
    for node in ast.walk(expression):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            found.add(str(node.slice.value))
    return frozenset(found)


def _made_from(statements: Sequence[Statement]) -> Sources:
    """For each variable the names in whatever is assigned to it, anywhere in the function."""
    made: dict[str, frozenset[str]] = {}
    for statement in statements:
        if not isinstance(statement, ast.Assign):
            continue
        for name in (name for target in statement.targets for name in _assigned(target)):
            made[name] = made.get(name, frozenset()) | _names(statement.value)
    return made


def _assigned(target: ast.expr) -> Iterator[str]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            yield from _assigned(element)
    base = _base(target)
    if isinstance(base, ast.Name):
        yield base.id


def _traced(names: frozenset[str], made: Sources) -> frozenset[str]:
    """These names and all that they were made from, step by step, but not what the text was made from."""
    seen: set[str] = set()
    pending = set(names)
    while pending:
        seen |= pending
        pending = {source for name in pending - _TEXT for source in made.get(name, ())} - seen
    return frozenset(seen)


def _written(statement: Statement) -> str:
    text = " ".join(ast.unparse(statement).split())
    return text if len(text) <= _LONGEST_STATEMENT else text[: _LONGEST_STATEMENT - 1] + "…"
