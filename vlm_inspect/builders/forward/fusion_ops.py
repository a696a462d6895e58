"""Operations that combine sequences in a model's own code, read from its source and never run.

Only `forward` shows where the features of an image go: a scatter into placeholder tokens is not a module.
Classes whose `forward` takes text are read, with the methods and functions that `forward` reaches. The names
in their bytecode exclude most of them before any source is parsed.
"""

from __future__ import annotations

import ast
import dis
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from vlm_inspect.builders.forward.call_order import function_definition, undecorated
from vlm_inspect.core.module_tree import ForwardInfo, FusionKind, FusionOp, TokenRead, join

if TYPE_CHECKING:
    from torch import nn

_TEXT = frozenset({"input_ids", "inputs_embeds"})
TEXT_PARAMETERS = _TEXT | {"decoder_input_ids"}
"""The inputs of a `forward` that takes text."""
_SCATTERS = frozenset({"masked_scatter", "masked_scatter_", "index_put", "index_put_"})
# with a dimension before the index
_INDEXED_SCATTERS = frozenset({"scatter", "scatter_", "index_copy", "index_copy_"})
_CONCATENATIONS = frozenset({"cat", "concat"})
_CALLS = _SCATTERS | _INDEXED_SCATTERS | _CONCATENATIONS | {"where", "get_input_embeddings", "embed_tokens"}
# sums and stores have no name; their opcodes differ between versions of Python
_COMBINING = ("STORE_SUBSCR", "INPLACE_ADD", "BINARY_ADD", "BINARY_OP")
_OPCODES = {dis.opmap[name] for name in _COMBINING if name in dis.opmap}
TOKEN = re.compile(r"^(?!pad_|bos_|eos_|decoder_)[a-z]\w*_token_(id|index)$")
"""The names of special tokens."""
_MODALITY = re.compile(r"image|img|vis|video|frame|audio|speech|sound|pixel|patch|input_features")
# base classes of every model
_MACHINERY = ("torch.", "transformers.modeling", "transformers.generation", "transformers.utils")
_LONGEST_STATEMENT = 160
_SCATTER_OPERANDS, _WHERE_OPERANDS, _INDEXED_OPERANDS = 2, 3, 3
_STATEMENTS = (ast.Assign, ast.AugAssign, ast.Return, ast.Expr)

Statement = ast.Assign | ast.AugAssign | ast.Return | ast.Expr
Operation = tuple[FusionKind, ast.expr, ast.expr, "ast.expr | None"]  # kind, sequence, value, mask
Sources = Mapping[str, frozenset[str]]


def read_forward_info(model: nn.Module) -> Iterator[ForwardInfo]:
    """The sequence operations of a model's modules, in the order of the tree.

    Of numbered modules only the first is read: a stack has many layers of one class.
    """
    pending: list[tuple[str, nn.Module]] = [("", model)]
    while pending:
        path, module = pending.pop(0)
        kind: Any = type(module)
        joins, names = _class_operations(kind)
        if joins or names:
            yield ForwardInfo(path, joins, tuple(_token(module, name) for name in names))
        pending[:0] = [
            (join(path, name), child)
            for name, child in module._modules.items()  # noqa: SLF001 - named_children() leaves shared ones out
            if child is not None and not (name.isdigit() and name != "0")
        ]


@cache
def _class_operations(kind: type) -> tuple[tuple[FusionOp, ...], tuple[str, ...]]:
    """The operations of a class, and the names of the token ids that it reads."""
    forward = _own_method(kind, "forward")
    if forward is None:
        return (), ()
    code = forward.__code__
    takes_text = TEXT_PARAMETERS.intersection(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    if not takes_text and not hasattr(kind, "config_class"):
        return (), ()
    reached = dict(_reached(kind, "forward", forward))
    codes = [code for function in reached.values() for code in _codes(function.__code__)]
    if not takes_text and not any(TEXT_PARAMETERS.intersection(_texts(code)) for code in codes):
        return (), ()
    joins = tuple(each for name, function in reached.items() for each in _joins(kind, name, function))
    names = {name for code in codes for name in code.co_names if TOKEN.search(name)}
    return joins, tuple(sorted(names))


def _reached(kind: type, name: str, function: FunctionType) -> Iterator[tuple[str, FunctionType]]:
    """A method, and the methods of its class and functions of its file that it calls, each once."""
    seen = {name}
    pending = [(name, function)]
    while pending:
        name, function = pending.pop(0)
        yield name, function
        for code in _codes(function.__code__):
            for called in code.co_names:
                if called in seen:
                    continue
                found = _own_method(kind, called) or _in_same_file(function, called)
                if found is not None:
                    seen.add(called)
                    pending.append((called, found))


def _own_method(kind: type, name: str) -> FunctionType | None:
    return undecorated(inspect.getattr_static(kind, name, None), _MACHINERY)


def _in_same_file(function: FunctionType, name: str) -> FunctionType | None:
    found = undecorated(function.__globals__.get(name), _MACHINERY)
    return found if found is not None and found.__module__ == function.__module__ else None


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function, and of the functions and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _texts(code: CodeType) -> Iterator[str]:
    """The keys of a model that takes all its inputs in one dict: `data["input_ids"]`."""
    return (constant for constant in code.co_consts if isinstance(constant, str))


def _joins(kind: type, name: str, function: FunctionType) -> tuple[FusionOp, ...]:
    definition = function_definition(function) if _may_join(tuple(_codes(function.__code__))) else None
    if definition is None:
        return ()
    where = f"{kind.__name__}.{name}" if _own_method(kind, name) is function else name
    return tuple(joins_in(definition, where))


def _may_join(codes: Sequence[CodeType]) -> bool:
    """Whether they have an operation that may combine sequences, and a name of another modality than text."""
    combines = any(_CALLS.intersection(code.co_names) or _OPCODES.intersection(code.co_code[::2]) for code in codes)
    return combines and any(_is_modality_name(name) for code in codes for name in (*code.co_names, *code.co_varnames))


@cache
def _is_modality_name(name: str) -> bool:
    return _MODALITY.search(name) is not None


def _token(module: nn.Module, name: str) -> TokenRead:
    """A token id that the code reads, with its value in the module's configuration or a sub-configuration."""
    pending = [getattr(module, "config", None)]
    key = name
    while pending:
        config = pending.pop(0)
        number = getattr(config, name, None)
        key = getattr(config, "attribute_map", {}).get(name, key)
        if isinstance(number, int) and not isinstance(number, bool):
            return TokenRead(name, key, number)
        values = vars(config).values() if config is not None else ()
        pending += [part for part in values if hasattr(part, "to_dict")]
    return TokenRead(name, key)


def joins_in(function: ast.FunctionDef, where: str) -> Iterator[FusionOp]:
    """The statements of a function that write into, add to, or extend a sequence."""
    statements = [node for node in ast.walk(function) if isinstance(node, _STATEMENTS)]
    found = [(each, *operation) for each in statements for operation in _operations(each)]
    found += _list_operations(function, statements)
    stores, assigned = (_stores(statements), _assignments(ast.walk(function))) if found else ({}, {})
    for statement, operation, sequence, value, mask in found:
        target, values = _base(sequence), _names(value)
        if isinstance(target, ast.Name) and values:
            text = " ".join(ast.unparse(statement).split())
            yield FusionOp(
                operation=operation,
                target=target.id,
                values=tuple(sorted(values)),
                mask=tuple(sorted(_names(mask))) if mask is not None else (),
                sources=tuple(sorted(_sources(values, assigned))),
                target_sources=tuple(sorted(_target_sources(target.id, statement, stores, assigned))),
                where=where,
                statement=text if len(text) <= _LONGEST_STATEMENT else f"{text[: _LONGEST_STATEMENT - 1]}…",
            )


def _list_operations(
    function: ast.FunctionDef, statements: Sequence[Statement]
) -> Iterator[tuple[Statement, FusionKind, ast.expr, ast.expr, None]]:
    """The items of lists that are concatenated: `parts.append(features)`, then `torch.cat(parts)`.

    Items that a loop appends by turns with others stand between them; the first of a list comes before the rest.
    """
    joined = {name for each in statements for name in _concatenated_lists(each)}
    loops = [node for node in ast.walk(function) if isinstance(node, (ast.For, ast.While))] if joined else []
    for name in sorted(joined):
        appends = [each for each in statements if _appended(each, name) is not None]
        between = {each for loop in loops for each in _by_turns(loop, name, appends)}
        for index, each in enumerate(appends if len(appends) > 1 else ()):
            kind: FusionKind = "scatter" if each in between else "append" if index else "prepend"
            value = _appended(each, name)
            if value is not None:
                yield each, kind, ast.Name(name), value, None


def _by_turns(loop: ast.stmt, name: str, appends: Sequence[Statement]) -> Sequence[Statement]:
    """The statements that append to one list in each turn of a loop; none if each turn begins a list."""
    inside = list(ast.walk(loop))
    begins = any(isinstance(each, ast.Assign) and name in _target_names(each.targets[0]) for each in inside)
    found = [] if begins else [each for each in appends if each in inside]
    return found if len(found) > 1 else []


def _concatenated_lists(statement: Statement) -> Iterator[str]:
    for part in ast.walk(statement):
        if not (isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.args):
            continue
        if part.func.attr in _CONCATENATIONS and isinstance(part.args[0], ast.Name):
            yield part.args[0].id


def _appended(statement: Statement, name: str) -> ast.expr | None:
    """The value that a statement appends to the list of a name."""
    call = statement.value
    if not (isinstance(statement, ast.Expr) and isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
        return None
    holder = call.func.value
    is_append = call.func.attr == "append" and isinstance(holder, ast.Name) and holder.id == name
    return call.args[0] if is_append and call.args else None


def _operations(statement: Statement) -> Iterator[Operation]:
    if isinstance(statement, ast.AugAssign):
        if isinstance(statement.op, ast.Add):
            yield "add", statement.target, statement.value, None
            if isinstance(statement.target, ast.Subscript):
                yield "scatter", statement.target, statement.value, statement.target.slice
        return
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
        index = target.slice if isinstance(target, ast.Subscript) else None
        is_key = isinstance(index, ast.Constant) and isinstance(index.value, str)  # of a dictionary
        if index is not None and not is_key:
            yield "scatter", target, statement.value, index
    for part in ast.walk(statement.value) if statement.value is not None else ():
        if isinstance(part, ast.Call):
            yield from _call_operations(part)
        elif isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
            yield "add", part.left, part.right, None
            yield "add", part.right, part.left, None


def _call_operations(call: ast.Call) -> Iterator[Operation]:
    """`inputs_embeds.masked_scatter(mask, features)`, `torch.cat([features, inputs_embeds])` and the like."""
    table = _embedding_table(call.func)
    if table is not None and call.args:
        yield "embed", table, call.args[0], None
    if not isinstance(call.func, ast.Attribute):
        return
    name, args = call.func.attr, [*call.args, *(keyword.value for keyword in call.keywords)]
    if name in _SCATTERS and len(args) >= _SCATTER_OPERANDS:
        yield "scatter", call.func.value, args[1], args[0]
    elif name in _INDEXED_SCATTERS and len(args) >= _INDEXED_OPERANDS:
        yield "scatter", call.func.value, args[2], args[1]
    elif name == "where" and len(args) == _WHERE_OPERANDS:
        yield "scatter", args[2], args[1], args[0]
    elif name in _CONCATENATIONS and args and isinstance(args[0], (ast.List, ast.Tuple)):
        for before, after in pairwise(args[0].elts):
            yield "prepend", after, before, None
            yield "append", before, after, None


def _embedding_table(function: ast.expr) -> ast.expr | None:
    """The text embedding, if it is what is called: `self.get_input_embeddings()(tokens)`."""
    callee = function.func if isinstance(function, ast.Call) else function
    name = getattr(callee, "attr", "")
    is_called = name == "get_input_embeddings" and isinstance(function, ast.Call)
    return ast.Name("embed_tokens") if is_called or name == "embed_tokens" else None


def _base(expression: ast.expr) -> ast.expr:
    """The sequence: `inputs_embeds` of `inputs_embeds.to(device)[mask]`."""
    while True:
        if isinstance(expression, ast.Subscript):
            expression = expression.value
        elif isinstance(expression, ast.Call) and isinstance(expression.func, ast.Attribute):
            expression = expression.func.value
        else:
            return expression


def _names(expression: ast.AST) -> frozenset[str]:
    found = set()
    for node in ast.walk(expression):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            found.add(str(node.slice.value))
    return frozenset(found)


def _assignments(nodes: Iterable[ast.AST]) -> Sources:
    """For each variable, the names in all expressions that are assigned to it, or that it runs over in a loop."""
    assigned: dict[str, frozenset[str]] = {}
    for node in nodes:
        if not isinstance(node, ast.Assign | ast.comprehension):
            continue
        targets, value = (node.targets, node.value) if isinstance(node, ast.Assign) else ([node.target], node.iter)
        for name in (name for target in targets for name in _target_names(target)):
            assigned[name] = assigned.get(name, frozenset()) | _names(value)
    return assigned


Stores = Mapping[str, Sequence[tuple[Statement, frozenset[str]]]]
"""For each variable, the statements that assign it and the names in what they assign."""


def _stores(statements: Sequence[Statement]) -> Stores:
    found: dict[str, list[tuple[Statement, frozenset[str]]]] = {}
    for each in statements:
        if isinstance(each, ast.Assign) and not isinstance(each.targets[0], ast.Subscript):
            for name in _target_names(each.targets[0]):
                found.setdefault(name, []).append((each, _names(each.value)))
    return found


def _target_sources(name: str, statement: Statement, stores: Stores, assigned: Sources) -> set[str]:
    """The names that a variable is computed from before a statement changes it."""
    before = (names for each, names in stores.get(name, ()) if each is not statement)
    return {name, *_sources(frozenset().union(*before), assigned)}


def _target_names(target: ast.expr) -> Iterator[str]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            yield from _target_names(element)
    base = _base(target)
    if isinstance(base, ast.Name):
        yield base.id


def _sources(names: frozenset[str], assigned: Sources) -> frozenset[str]:
    """These names and, step by step, the names that they are computed from; text is not traced further."""
    seen: set[str] = set()
    pending = set(names)
    while pending:
        seen |= pending
        pending = {source for name in pending - _TEXT for source in assigned.get(name, ())} - seen
    return frozenset(seen)
