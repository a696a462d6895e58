"""What a model's own code says of the sequences that it joins: read, never run.

Where the features of an image go is written in `forward` and nowhere else: no module stands for a
scatter into placeholder tokens. Only classes whose `forward` takes the text are read, and of those only
the methods and functions that `forward` reaches; most are set aside by the names in their bytecode,
before any source text is looked at.
"""

from __future__ import annotations

import dis
import inspect
import re
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from vlm_inspect.build.code.method_source import definition_of
from vlm_inspect.build.code.statements import joins_in
from vlm_inspect.tree import ForwardInfo, FusionOp, TokenRead, join

if TYPE_CHECKING:
    from torch import nn

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
