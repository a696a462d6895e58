"""What is kept of an answer, as bytes: the record whole, with its evidence, and the module tree.

MessagePack, because it keeps every float as it is.
"""

from __future__ import annotations

from types import ModuleType

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.architecture import Architecture
from vlm_inspect.errors import NotNativeError
from vlm_inspect.ref import ModelIdentity
from vlm_inspect.tree import ModuleTree


class Answer(Struct, frozen=True):
    """What was made of a configuration."""

    architecture: Architecture
    tree: ModuleTree | None = None
    """None where it was not asked for."""
    notes: tuple[str, ...] = ()


class _Kept(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """As it lies in the file. The tree is read only for those who ask for it."""

    record: msgspec.Raw
    tree: bytes
    notes: tuple[str, ...]


class _Refused(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """That transformers has no class for it, which takes importing transformers to say."""

    message: str
    hint: str
    short: str


class _Entry(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    answer: _Kept | None = None
    refusal: _Refused | None = None


def encoded(made: Answer | NotNativeError) -> bytes:
    """An answer, or the word that there is no class, as bytes."""
    if isinstance(made, NotNativeError):
        entry = _Entry(refusal=_Refused(made.message, made.hint, made.short))
    else:
        tree = b"" if made.tree is None else _tree_codec().to_bytes(made.tree)
        entry = _Entry(_Kept(msgspec.Raw(msgspec.msgpack.encode(made.architecture)), tree, made.notes))
    return msgspec.msgpack.encode(entry)


def decoded(data: bytes, model: ModelIdentity, *, with_tree: bool) -> Answer | NotNativeError:
    """What `encoded` wrote, as the answer for this model. Raises ValueError where it is not that."""
    try:
        entry = msgspec.msgpack.decode(data, type=_Entry)
        if entry.answer is not None:
            return _answer(entry.answer, model, with_tree=with_tree)
    except msgspec.MsgspecError as error:
        raise ValueError("it holds something else") from error
    if entry.refusal is None:
        raise ValueError("there is nothing in it")
    said = entry.refusal
    return NotNativeError(said.message, hint=said.hint, model=model.id, short=said.short)


def _answer(kept: _Kept, model: ModelIdentity, *, with_tree: bool) -> Answer:
    record = msgspec.msgpack.decode(kept.record, type=Architecture)
    tree = _tree_codec().from_bytes(kept.tree) if with_tree and kept.tree else None
    return Answer(replace(record, model=model), tree, kept.notes)


def _tree_codec() -> ModuleType:
    """Imported where there is a tree to write or to read: a table has no use for one."""
    from vlm_inspect import tree_codec

    return tree_codec
