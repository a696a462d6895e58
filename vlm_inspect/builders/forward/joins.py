"""What a model's own code says of the sequences that it joins: read, never run.

Where the features of an image go is written in `forward` and nowhere else: no module stands for a
scatter into placeholder tokens. Only classes whose `forward` takes the text are read, and of those only
the methods and functions that `forward` reaches; most are set aside by the names in their bytecode,
before any source text is looked at.
"""

from __future__ import annotations

import ast
import dis
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from vlm_inspect.builders.forward.steps import definition_of
from vlm_inspect.core.module_tree import ForwardInfo, FusionKind, FusionOp, TokenRead, join

if TYPE_CHECKING:
    from torch import nn


_STATEMENTS_SCATTERS = frozenset({"masked_scatter", "masked_scatter_", "index_put", "index_put_"})
_CONCATENATIONS = frozenset({"cat", "concat"})
_STATEMENTS_TEXT = frozenset({"input_ids", "inputs_embeds"})
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
    if (
        name in _STATEMENTS_SCATTERS
        and len(given) >= _SCATTER_OPERANDS
        and isinstance(call.func, ast.Attribute)
    ):
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
        pending = {source for name in pending - _STATEMENTS_TEXT for source in made.get(name, ())} - seen
    return frozenset(seen)


def _written(statement: Statement) -> str:
    text = " ".join(ast.unparse(statement).split())
    return text if len(text) <= _LONGEST_STATEMENT else text[: _LONGEST_STATEMENT - 1] + "…"


_TEXT = frozenset({"input_ids", "inputs_embeds", "decoder_input_ids"})
_SCATTERS = frozenset({"masked_scatter", "masked_scatter_", "index_put", "index_put_", "where"})
_JOINING = _SCATTERS | {"cat", "concat", "get_input_embeddings", "embed_tokens"}
# sums and stores have no name; the operations' own are not the same in every Python
_OPERATIONS = frozenset(
    number
    for name, number in dis.opmap.items()
    if name in {"STORE_SUBSCR", "INPLACE_ADD", "BINARY_ADD", "BINARY_OP"}
)
_TOKEN = re.compile(r"^(?!pad_|bos_|eos_|decoder_)[a-z]\w*_token_(id|index)$")
_MODALITY = re.compile(r"image|img|vis|video|frame|audio|speech|sound|pixel|patch|input_features")
# what every model inherits: its base classes' machinery says nothing of its own sequences
_MACHINERY = ("torch.", "transformers.modeling", "transformers.generation", "transformers.utils")

Fusion = tuple[tuple[FusionOp, ...], tuple[str, ...]]


def read_forwards(model: nn.Module) -> Iterator[ForwardInfo]:
    """What the code of a model's modules says, in the order of the tree.

    Of what is numbered the first alone is looked at: a stack's layers are one class, many times.
    """
    pending: list[tuple[str, nn.Module]] = [("", model)]
    while pending:
        path, module = pending.pop(0)
        kind: Any = type(module)
        joins, names = _of_class(kind)
        if joins or names:
            yield ForwardInfo(path, joins, tuple(_token(module, name) for name in names))
        pending[:0] = [
            (join(path, name), child)
            for name, child in module._modules.items()  # noqa: SLF001 - named_children() leaves shared ones out
            if child is not None and not (name.isdigit() and name != "0")
        ]


@cache
def _of_class(kind: type) -> Fusion:
    """The statements by which a class joins sequences, and the names of the tokens that it reads."""
    forward = _own(kind, "forward")
    if forward is None or not _TEXT & set(_parameters(forward)):
        return (), ()
    reached = dict(_reached(kind, "forward", forward))
    joins = tuple(each for name, function in reached.items() for each in _joins(kind, name, function))
    codes = [code for function in reached.values() for code in _codes(function.__code__)]
    names = {name for code in codes for name in code.co_names if _TOKEN.search(name)}
    return joins, tuple(sorted(names))


def _reached(kind: type, name: str, function: FunctionType) -> Iterator[tuple[str, FunctionType]]:
    """A method, and what it calls of its own class and its own file, each once."""
    seen = {name}
    pending = [(name, function)]
    while pending:
        name, function = pending.pop(0)
        yield name, function
        for code in _codes(function.__code__):
            for called in code.co_names:
                found = None if called in seen else _own(kind, called) or _in_same_file(function, called)
                if found is not None:
                    seen.add(called)
                    pending.append((called, found))


def _own(kind: type, name: str) -> FunctionType | None:
    """A class's method of that name, without its decorators; None where it is the library's machinery."""
    return _plain(inspect.getattr_static(kind, name, None))


def _in_same_file(function: FunctionType, name: str) -> FunctionType | None:
    """The function of that name in the same file."""
    found = _plain(function.__globals__.get(name))
    return found if found is not None and found.__module__ == function.__module__ else None


def _plain(found: object) -> FunctionType | None:
    if not callable(found):
        return None
    function = inspect.unwrap(found)
    if not isinstance(function, FunctionType) or function.__module__.startswith(_MACHINERY):
        return None
    return function


def _parameters(function: FunctionType) -> tuple[str, ...]:
    code = function.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code, and that of the functions and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _joins(kind: type, name: str, function: FunctionType) -> tuple[FusionOp, ...]:
    definition = definition_of(function) if any(map(_may_join, _codes(function.__code__))) else None
    if definition is None:
        return ()
    where = f"{kind.__name__}.{name}" if _own(kind, name) is function else name
    return tuple(joins_in(definition, where))


def _may_join(code: CodeType) -> bool:
    """Whether it has an operation that may join two sequences, and a name for anything but text."""
    if not _JOINING.intersection(code.co_names) and not _OPERATIONS.intersection(code.co_code[::2]):
        return False
    return any(map(_names_a_modality, (*code.co_names, *code.co_varnames)))


@cache
def _names_a_modality(name: str) -> bool:
    return _MODALITY.search(name) is not None


def _token(module: nn.Module, name: str) -> TokenRead:
    """A token that the code reads, as the module's configuration has it, or one inside that."""
    pending = [getattr(module, "config", None)]
    key = name
    while pending:
        config = pending.pop(0)
        number = getattr(config, name, None)
        key = getattr(config, "attribute_map", {}).get(name, key)
        if isinstance(number, int) and not isinstance(number, bool):
            return TokenRead(name, key, number)
        inside = vars(config).values() if config is not None else ()
        pending += [part for part in inside if hasattr(part, "to_dict")]
    return TokenRead(name, key)
