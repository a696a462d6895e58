"""Text of a difference: model names, values, counts, moves, and reasons for unknown facts."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_inspect.core.difference import Change, Difference, Incomparable, KindValue, Move, PathChange, Value
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.text.layers import order_cell
from vlm_inspect.render.text.values import ABSENT, dimensions, exact_count, number_text, plural

# facts whose text is not the name of a class, type or path
_PLAIN_TEXT = ("attention kind", "norm eps", "other embeddings", "quantization")
_SIZES = ("patch size", "image size")
# elsewhere, "parameters" are numbers, and not tensors
_NOUNS = {"module": "module", "parameter": "tensor"}
_MOST_KINDS = 6
_SHORT_COMMIT = 7
_COMMIT_LENGTH = 40


def model_name(model: ModelIdentity) -> str:
    """`org/name@0123456`."""
    if model.revision is None:
        return model.id
    is_commit = len(model.revision) == _COMMIT_LENGTH
    return f"{model.id}@{model.revision[:_SHORT_COMMIT] if is_commit else model.revision}"


def versions(difference: Difference) -> str:
    """`transformers 5.5.4 → 5.6.0`: libraries with different versions, if both are known."""
    before, after = difference.versions_before, difference.versions_after
    return ", ".join(
        f"{package} {before[package]} → {after[package]}"
        for package in before
        if package in after and before[package] != after[package]
    )


def summary(difference: Difference) -> str:
    """`3 changed, 1 moved, 0 added, 0 removed`, or `No difference.` with the libraries and unknown facts."""
    if not difference.empty:
        return ", ".join(f"{count} {kind}" for kind, count in difference.counts().items())
    libraries = f" ({versions(difference)})" if versions(difference) else ""
    sentence = f"No difference{libraries}."
    facts = difference.incomparable
    if not facts:
        return sentence
    reasons = dict.fromkeys(why for fact in facts for why in (fact.before, fact.after) if why)
    return f"{sentence} {plural(len(facts), 'fact')} could not be compared ({', '.join(reasons)})."


def delta(before: int | None, after: int | None) -> str:
    """`+124,718,144`; empty if the counts are equal or one is unknown."""
    if before is None or after is None or before == after:
        return ""
    return f"{after - before:+,}"


def change_cells(change: Change) -> tuple[Cell, Cell]:
    """The values before and after; `all layers: 8` where the other model has the same value in some layers only."""
    before, after = value_cell(change.field, change.before), value_cell(change.field, change.after)
    if _is_of_some_layers(change.before, change.after):
        after = concat(text("all layers: "), after)
    elif _is_of_some_layers(change.after, change.before):
        before = concat(text("all layers: "), before)
    return before, after


def _is_of_some_layers(some: Value | None, every: Value | None) -> bool:
    return (
        isinstance(some, tuple)
        and bool(some)
        and all(isinstance(each, KindValue) and each.value == every for each in some)
    )


def value_cell(field: str, value: Value | None) -> Cell:
    """The value of a fact: `14 x 14`, `yes`, a class name as code, `none`."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return text("yes" if value else "no")
    if isinstance(value, tuple):
        return _tuple_cell(field, value)
    if isinstance(value, str):
        return text(value) if field.endswith(_PLAIN_TEXT) else code(value)
    return text(exact_count(value) if field == "parameters" and isinstance(value, int) else number_text(value))


def _tuple_cell(field: str, values: Sequence[int | str | KindValue]) -> Cell:
    if not values:
        return ABSENT
    by_kind = [each for each in values if isinstance(each, KindValue)]
    if by_kind:
        return _kinds_cell(field, by_kind)
    if field.endswith(_SIZES):
        return text(dimensions([value for value in values if isinstance(value, int)]))
    if field.endswith("layer order"):
        return order_cell([text(str(value)) for value in values])
    is_plain = field.endswith(_PLAIN_TEXT)
    cells = (code(value) if isinstance(value, str) and not is_plain else text(str(value)) for value in values)
    return join(cells, " + " if field.endswith("steps") else ", ")


def _kinds_cell(field: str, values: Sequence[KindValue]) -> Cell:
    """`dense: 6400; mixture of experts: 768`: kinds with the same value together."""
    kinds: dict[Cell, list[str]] = {}
    for each in values:
        kinds.setdefault(value_cell(field, each.value), []).append(each.kind)
    cells = [concat(text(f"{_enumerated(names)}: "), cell) for cell, names in kinds.items()]
    more = len(cells) - _MOST_KINDS
    return join([*cells[:_MOST_KINDS], *([text(f"… ({len(values)} kinds)")] if more > 0 else [])], "; ")


def _enumerated(names: Sequence[str]) -> str:
    """`a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def move_cell(move: Move) -> Cell:
    """`` `a.b.*` → `a.*`, 391 tensors ``."""
    noun = "tensor" if move.tensors == 1 else "tensors"
    before, after = move_ends(move)
    return concat(code(before), text(" → "), code(after), text(f", {exact_count(move.tensors)} {noun}"))


def move_ends(move: Move) -> tuple[str, str]:
    """The old and the new path of a move: `a.b.*` for a module, `*` for the root, `a.b` for a parameter."""
    if move.what == "parameter":
        return move.before, move.after
    before, after = (f"{end}.*" if end else "*" for end in (move.before, move.after))
    return before, after


def path_cell(change: PathChange) -> Cell:
    """`` 33 modules `a.*.b`: `Rotary` → `Embedding` ``; of an added or removed path its only value."""
    count = "" if change.count == 1 else f"{exact_count(change.count)} "
    noun = _NOUNS[change.what] + ("" if change.count == 1 else "s")
    label = concat(text(f"{count}{noun} "), code(change.path or "(the model itself)"), text(": "))
    before, after = _class_or_shape(change, change.before), _class_or_shape(change, change.after)
    if change.kind == "changed":
        return concat(label, before, text(" → "), after)
    return concat(label, after if change.kind == "added" else before)


def _class_or_shape(change: PathChange, value: str | None) -> Cell:
    if value is None:
        return ABSENT
    return code(value) if change.what == "module" else text(value or "scalar")


def reason_cell(fact: Incomparable) -> Cell:
    """The reason why a fact was not compared: `unknown before: remote code`."""
    if fact.before == fact.after:
        return text(f"unknown in both: {fact.before}")
    sides = (("before", fact.before), ("after", fact.after))
    return text("; ".join(f"unknown {side}: {why}" for side, why in sides if why))
