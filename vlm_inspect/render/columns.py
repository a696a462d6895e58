"""COLUMNS: every column that a table can have. A new column is one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from msgspec import Struct

from vlm_inspect.core.architecture import Architecture, Role
from vlm_inspect.core.errors import SettingsError
from vlm_inspect.render.cells import Cell, Row, code, concat, text
from vlm_inspect.render.facts import COMPARISON, mark, resolve_fact
from vlm_inspect.render.text import components
from vlm_inspect.render.text.fusion import fusion_cell
from vlm_inspect.render.text.values import ABSENT, NOT_APPLICABLE, count_cell, exact_count, missing, unknown
from vlm_inspect.render.text.warnings import ignored_keys_cell, quantization_text

Kind = Literal["architectures", "comparison"]
KINDS: tuple[Kind, ...] = ("architectures", "comparison")


class Column(Struct, frozen=True):
    """A column: its title, and how it makes a cell of a row."""

    id: str
    title: str
    kind: Kind | Literal["optional"]
    """The table that has it by default; an optional column has to be named."""
    cell: Callable[[Row], Cell]


def select_columns(kind: Kind, ids: Sequence[str] | None = None) -> tuple[Column, ...]:
    """The default columns of a kind of table, or the named columns, which may be of any kind.

    Raises SettingsError if there is no column of that name.
    """
    default = tuple(column for column in COLUMNS if column.kind == kind)
    if not ids:
        return default
    # both kinds have a column `model`: the one of this kind wins
    by_id = {column.id: column for column in (*reversed(COLUMNS), *default)}
    invalid = [name for name in ids if name not in by_id]
    if invalid:
        raise SettingsError(
            f"there is no column {', '.join(repr(name[:100]) for name in invalid)}.",
            hint=f"Choose from: {', '.join(column_ids())}",
        )
    return tuple(by_id[name] for name in ids)


def column_ids() -> tuple[str, ...]:
    """The ID of every column, without duplicates."""
    return tuple(dict.fromkeys(column.id for column in COLUMNS))


def _record_cell(describe: Callable[[Architecture], Cell], row: Row) -> Cell:
    return NOT_APPLICABLE if row.architecture is None else describe(row.architecture)


def _role(key: str, title: str, role: Role, describe: components.Describe, *, show_counts: bool = False) -> Column:
    def cell(record: Architecture) -> Cell:
        return components.of_role(record, role, describe, show_counts=show_counts)

    return Column(key, title, "architectures", partial(_record_cell, cell))


def _comparison(key: str, title: str) -> Column:
    return Column(key, title, "comparison", lambda row: resolve_fact(row, key).cell)


def _optional(key: str, title: str, describe: Callable[[Architecture], Cell]) -> Column:
    return Column(key, title, "optional", partial(_record_cell, describe))


def _model_class(record: Architecture) -> Cell:
    return code(record.model_class) if record.model_class else missing("model_class", record.unknown)


def _projectors(record: Architecture) -> Cell:
    return components.of_projectors(record, components.projector)


def _count(record: Architecture, field: Literal["total", "active"]) -> Cell:
    count = getattr(record.parameters, field)
    cell = count_cell(count, field, record.parameters.unknown)
    return cell if count is None else concat(cell, text(mark(record)))


def _parameters_of(*roles: Role) -> Callable[[Architecture], Cell]:
    def cell(record: Architecture) -> Cell:
        parts = [part for role in roles for part in record.by_role(role)]
        reasons = [part.unknown.get("parameters", "") for part in parts if part.parameters is None]
        if not parts:
            reasons = [record.unknown[role.value] for role in roles if role.value in record.unknown]
        if reasons:
            return unknown(reasons[0])
        if parts:
            count = exact_count(sum(part.parameters or 0 for part in parts))
            return text(count + (mark(record) if Role.LM_HEAD in roles else ""))
        # with a known total, the components hold all parameters, so this role has none
        return ABSENT if record.parameters.total is not None else missing("total", record.parameters.unknown)

    return cell


def _quantization(record: Architecture) -> Cell:
    return text(quantization_text(record.quantization)) if record.quantization else ABSENT


def _code_or_dash(value: str | None) -> Cell:
    return code(value) if value else NOT_APPLICABLE


_VISION, _LANGUAGE = Role.VISION_ENCODER, Role.LANGUAGE_MODEL
_OTHER_ROLES = (Role.AUDIO_ENCODER, Role.TASK_HEAD, Role.GENERATOR, Role.OTHER)

COLUMNS: tuple[Column, ...] = (
    Column("model", "Model Name", "architectures", lambda row: code(row.name)),
    Column("model_class", "Model Class", "architectures", partial(_record_cell, _model_class)),
    _role("vision_model", "Vision Model", _VISION, components.component_class, show_counts=True),
    _role("vision_layers", "Vision Layers", _VISION, components.layers, show_counts=True),
    _role("vision_embeddings", "Vision Embeddings", _VISION, components.embeddings, show_counts=True),
    _role("vision_attention", "Vision Self Attention", _VISION, components.attention),
    _role("vision_mlp", "Vision MLP", _VISION, components.mlp),
    _role("vision_norm", "Vision LayerNorm", _VISION, components.norms),
    Column("projector", "Multi-Modal Projector", "architectures", partial(_record_cell, _projectors)),
    _role("language_model", "Language Model", _LANGUAGE, components.component_class, show_counts=True),
    _role("language_layers", "Language Layers", _LANGUAGE, components.layers, show_counts=True),
    _role("language_attention", "Language Self Attention", _LANGUAGE, components.attention),
    _role("language_mlp", "Language MLP", _LANGUAGE, components.mlp),
    _role("language_norm", "Language LayerNorm", _LANGUAGE, components.norms),
    _role("lm_head", "LM Head", Role.LM_HEAD, components.head, show_counts=True),
    Column("model", "Model", "comparison", lambda row: text(row.name)),
    *(_comparison(key, column.title) for key, column in COMPARISON.items()),
    _optional("total_parameters", "Total Parameters", partial(_count, field="total")),
    _optional("active_parameters", "Active Parameters", partial(_count, field="active")),
    _optional("vision_parameters", "Vision Parameters", _parameters_of(_VISION)),
    _optional("projector_parameters", "Projector Parameters", _parameters_of(Role.PROJECTOR)),
    _optional("language_parameters", "Language Parameters", _parameters_of(_LANGUAGE)),
    _optional("head_parameters", "LM Head Parameters", _parameters_of(Role.LM_HEAD)),
    _optional("other_parameters", "Other Parameters", _parameters_of(*_OTHER_ROLES)),
    _optional("image_fusion", "Image Fusion", partial(fusion_cell, modality="image")),
    _optional("audio_fusion", "Audio Fusion", partial(fusion_cell, modality="audio")),
    _optional("model_type", "Model Type", lambda record: _code_or_dash(record.model_type)),
    _optional("quantization", "Quantization", _quantization),
    _optional("ignored_config_keys", "Ignored Configuration Keys", ignored_keys_cell),
    _optional("builder", "Builder", lambda record: text(record.builder)),
    _optional("commit", "Commit", lambda record: _code_or_dash(record.model.revision)),
)
