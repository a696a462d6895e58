"""COLUMNS: every column that a table may have. A new one is one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from msgspec import Struct

from vlm_inspect.core.architecture import Architecture, Role
from vlm_inspect.core.errors import SettingsError
from vlm_inspect.render.cells import Cell, Row, code, text
from vlm_inspect.render.facts import COMPARED, resolve
from vlm_inspect.render.text import components
from vlm_inspect.render.text.fusion import entry_cell
from vlm_inspect.render.text.values import ABSENT, NOT_ASKED, exact_count, missing, unknown
from vlm_inspect.render.text.warnings import misread_keys, quantization_words

Kind = Literal["architectures", "comparison"]
KINDS: tuple[Kind, ...] = ("architectures", "comparison")


class Column(Struct, frozen=True):
    """What a column is called and how it reads a row."""

    id: str
    title: str
    kind: Kind | Literal["optional"]
    """The table that has it unasked; an optional one is in none."""
    cell: Callable[[Row], Cell]


def chosen(kind: Kind, ids: Sequence[str] | None = None) -> tuple[Column, ...]:
    """The columns of a table: its own, or those named, which may be of any kind.

    Raises SettingsError where a name is not a column's.
    """
    own = tuple(column for column in COLUMNS if column.kind == kind)
    if not ids:
        return own
    # two kinds have a column `model`: that of the table's own kind comes first
    known = {column.id: column for column in (*reversed(COLUMNS), *own)}
    wrong = [name for name in ids if name not in known]
    if wrong:
        raise SettingsError(
            f"there is no column {', '.join(repr(name[:100]) for name in wrong)}.",
            hint=f"Choose from: {', '.join(column_ids())}",
        )
    return tuple(known[name] for name in ids)


def column_ids() -> tuple[str, ...]:
    """Every column's id, in the order of the registry, each once."""
    return tuple(dict.fromkeys(column.id for column in COLUMNS))


def _told(read: Callable[[Architecture], Cell], row: Row) -> Cell:
    return NOT_ASKED if row.architecture is None else read(row.architecture)


def _record(key: str, title: str, read: Callable[[Architecture], Cell]) -> Column:
    return Column(key, title, "architectures", partial(_told, read))


def _part(key: str, title: str, role: Role, word: components.Word, *, counts: bool = False) -> Column:
    return _record(key, title, lambda record: components.of_role(record, role, word, counts=counts))


def _compared(key: str, title: str) -> Column:
    return Column(key, title, "comparison", lambda row: resolve(row, key).cell)


def _optional(key: str, title: str, read: Callable[[Architecture], Cell]) -> Column:
    return Column(key, title, "optional", partial(_told, read))


def _model_class(record: Architecture) -> Cell:
    return code(record.model_class) if record.model_class else missing("model_class", record.unknown)


def _total(record: Architecture) -> Cell:
    total = record.parameters.total
    return missing("total", record.parameters.unknown) if total is None else text(exact_count(total))


def _active(record: Architecture) -> Cell:
    active = record.parameters.active
    return missing("active", record.parameters.unknown) if active is None else text(exact_count(active))


def _parameters_of(*roles: Role) -> Callable[[Architecture], Cell]:
    def read(record: Architecture) -> Cell:
        parts = [part for role in roles for part in record.by_role(role)]
        if not parts:
            return _no_parts(record, roles)
        reason = next((part.unknown.get("parameters", "") for part in parts if part.parameters is None), None)
        if reason is not None:
            return unknown(reason)
        return text(exact_count(sum(part.parameters or 0 for part in parts)))

    return read


def _no_parts(record: Architecture, roles: Sequence[Role]) -> Cell:
    reasons = [record.unknown[role.value] for role in roles if role.value in record.unknown]
    if reasons:
        return unknown(reasons[0])
    # parameters that add up leave none over for a role that no component has
    return ABSENT if record.parameters.total is not None else missing("total", record.parameters.unknown)


def _quantization(record: Architecture) -> Cell:
    return text(quantization_words(record.quantization)) if record.quantization else ABSENT


def _said(value: str | None) -> Cell:
    return code(value) if value else NOT_ASKED


_VISION, _LANGUAGE = Role.VISION_ENCODER, Role.LANGUAGE_MODEL

COLUMNS: tuple[Column, ...] = (
    Column("model", "Model Name", "architectures", lambda row: code(row.name)),
    _record("model_class", "Model Class", _model_class),
    _part("vision_model", "Vision Model", _VISION, components.component_class, counts=True),
    _part("vision_layers", "Vision Layers", _VISION, components.layers, counts=True),
    _part("vision_embeddings", "Vision Embeddings", _VISION, components.embeddings, counts=True),
    _part("vision_attention", "Vision Self Attention", _VISION, components.attention),
    _part("vision_mlp", "Vision MLP", _VISION, components.mlp),
    _part("vision_norm", "Vision LayerNorm", _VISION, components.norms),
    _part("projector", "Multi-Modal Projector", Role.PROJECTOR, components.projector, counts=True),
    _part("language_model", "Language Model", _LANGUAGE, components.component_class, counts=True),
    _part("language_layers", "Language Layers", _LANGUAGE, components.layers, counts=True),
    _part("language_attention", "Language Self Attention", _LANGUAGE, components.attention),
    _part("language_mlp", "Language MLP", _LANGUAGE, components.mlp),
    _part("language_norm", "Language LayerNorm", _LANGUAGE, components.norms),
    _part("lm_head", "LM Head", Role.LM_HEAD, components.head, counts=True),
    Column("model", "Model", "comparison", lambda row: text(row.name)),
    *(_compared(key, column.title) for key, column in COMPARED.items()),
    _optional("total_parameters", "Total Parameters", _total),
    _optional("active_parameters", "Active Parameters", _active),
    _optional("vision_parameters", "Vision Parameters", _parameters_of(_VISION)),
    _optional("projector_parameters", "Projector Parameters", _parameters_of(Role.PROJECTOR)),
    _optional("language_parameters", "Language Parameters", _parameters_of(_LANGUAGE)),
    _optional("head_parameters", "LM Head Parameters", _parameters_of(Role.LM_HEAD)),
    _optional(
        "other_parameters",
        "Other Parameters",
        _parameters_of(Role.AUDIO_ENCODER, Role.GENERATOR, Role.OTHER),
    ),
    _optional("image_fusion", "Image Fusion", partial(entry_cell, modality="image")),
    _optional("audio_fusion", "Audio Fusion", partial(entry_cell, modality="audio")),
    _optional("model_type", "Model Type", lambda record: _said(record.model_type)),
    _optional("quantization", "Quantization", _quantization),
    _optional("ignored_config_keys", "Ignored Configuration Keys", misread_keys),
    _optional("builder", "Builder", lambda record: text(record.builder)),
    _optional("commit", "Commit", lambda record: _said(record.model.revision)),
)
