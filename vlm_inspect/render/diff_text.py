"""The words of a difference: values, names of facts, counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vlm_inspect.core.architecture import Role
from vlm_inspect.core.difference import Change, Difference, Incomparable, Move, PathChange, Value
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render.cells import Cell, code, concat, join, text
from vlm_inspect.render.text.values import ABSENT, counted, exact_count, runs, shortest_period, square

ROLE_NAMES: Mapping[Role, str] = {
    Role.VISION_ENCODER: "Vision encoder",
    Role.AUDIO_ENCODER: "Audio encoder",
    Role.PROJECTOR: "Projector",
    Role.LANGUAGE_MODEL: "Language model",
    Role.LM_HEAD: "LM head",
    Role.TASK_HEAD: "Task head",
    Role.GENERATOR: "Generator",
    Role.OTHER: "Other",
}
# texts that are no names of classes, types or paths
_PROSE = ("attention kind", "norm eps", "further tables", "quantization")
_SIZES = ("patch size", "image size")
_SHORT_COMMIT = 7
_COMMIT_LENGTH = 40
_MOST_RUNS = 12


def value_cell(field: str, value: Value | None) -> Cell:
    """A fact's value: `14 x 14`, `yes`, a class in code, `none` where there was none."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return text("yes" if value else "no")
    if isinstance(value, tuple):
        return _several(field, value)
    if isinstance(value, str):
        return text(value) if field.endswith(_PROSE) else code(value)
    return text(exact_count(value) if field == "parameters" and isinstance(value, int) else str(value))


def _several(field: str, values: Sequence[int | str]) -> Cell:
    if not values:
        return ABSENT
    if field.endswith(_SIZES):
        return text(square(tuple(int(value) for value in values)))
    if field.endswith("layer order"):
        return text(_order(values))
    named = (text(str(value)) if field.endswith(_PROSE) else _name(value) for value in values)
    return join(named, " + " if field.endswith("steps") else ", ")


def _name(value: int | str) -> Cell:
    return code(value) if isinstance(value, str) else text(str(value))


def _order(kinds: Sequence[int | str]) -> str:
    """`8 x (4 of kind 1, 1 of kind 2)`; of an order without a rule the beginning, and how long it is."""
    period = shortest_period(kinds)
    told = [f"{count} of kind {kind}" for kind, count in runs(kinds[:period])]
    if len(told) > _MOST_RUNS:
        told = [*told[:_MOST_RUNS], f"… ({counted(len(kinds), 'layer')})"]
    words = ", ".join(told)
    return words if period == len(kinds) else f"{len(kinds) // period} x ({words})"


def model_name(model: ModelIdentity) -> str:
    """`org/name@0123456`."""
    if model.revision is None:
        return model.id
    is_commit = len(model.revision) == _COMMIT_LENGTH
    return f"{model.id}@{model.revision[:_SHORT_COMMIT] if is_commit else model.revision}"


def versions(difference: Difference) -> str:
    """`transformers 5.5.4 → 5.6.0`: the libraries that are of other versions, where both are known."""
    before, after = difference.versions_before, difference.versions_after
    return ", ".join(
        f"{package} {before[package]} → {after[package]}"
        for package in before
        if package in after and before[package] != after[package]
    )


def summary(difference: Difference) -> str:
    """`3 changed, 1 moved, 0 added, 0 removed`.

    Of no difference, between which libraries there is none, and how much could not be compared.
    """
    if difference.empty:
        libraries = f" ({versions(difference)})" if versions(difference) else ""
        return f"No difference{libraries}." + (f" {untold(difference)}" if difference.incomparable else "")
    return ", ".join(f"{count} {kind}" for kind, count in difference.counts().items())


def untold(difference: Difference) -> str:
    """How many facts could not be compared, and why."""
    facts = counted(len(difference.incomparable), "fact")
    reasons = dict.fromkeys(
        why for fact in difference.incomparable for why in (fact.before, fact.after) if why
    )
    return f"{facts} could not be compared ({', '.join(reasons)})."


def surplus(before: int | None, after: int | None) -> str:
    """`+124,718,144`; nothing where the two are equal, or not both known."""
    if before is None or after is None or before == after:
        return ""
    return f"{after - before:+,}"


def move_cell(move: Move) -> Cell:
    """`` `a.b.*` → `a.*`, 391 parameters ``."""
    moved = text(f", {exact_count(move.parameters)} {'parameter' if move.parameters == 1 else 'parameters'}")
    before, after = move_ends(move)
    return concat(code(before), text(" → "), code(after), moved)


def move_ends(move: Move) -> tuple[str, str]:
    """`a.b.*` for all that is below a path; the root's is `*`, and a parameter is itself."""
    if move.what == "parameter":
        return move.before, move.after
    before, after = (f"{end}.*" if end else "*" for end in (move.before, move.after))
    return before, after


def path_cell(change: PathChange) -> Cell:
    """`` 33 modules `a.*.b`: `Rotary` → none ``."""
    count = "" if change.count == 1 else f"{exact_count(change.count)} "
    noun = change.what if change.count == 1 else f"{change.what}s"
    place = concat(text(f"{count}{noun} "), code(change.path or "(the model itself)"), text(": "))
    value = _class_or_shape(change, change.before), _class_or_shape(change, change.after)
    if change.kind == "changed":
        return concat(place, value[0], text(" → "), value[1])
    return concat(place, value[1] if change.kind == "added" else value[0])


def _class_or_shape(change: PathChange, value: str | None) -> Cell:
    if value is None:
        return ABSENT
    return code(value) if change.what == "module" else text(value or "a single number")


def why_cell(fact: Incomparable) -> Cell:
    """Why a fact could not be compared: `unknown before: remote code`."""
    if fact.before == fact.after:
        return text(f"unknown in both: {fact.before}")
    told = [f"unknown {side}: {why}" for side, why in (("before", fact.before), ("after", fact.after)) if why]
    return text("; ".join(told))


def change_name(change: Change) -> str:
    """`vision_encoder.layers`; `language_model+lm_head.vocabulary` of what two share; `model class`."""
    roles = "+".join(role.value for role in change.roles)
    return f"{roles}.{change.field}" if roles else change.field
