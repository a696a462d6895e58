"""`diff`: a difference as what is shown of it, component by component. The formats only lay it out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.core.difference import Change, ChangeKind, ComponentPair, Difference, Incomparable
from vlm_inspect.core.module_tree import is_below
from vlm_inspect.render.cells import Cell, Table, code, concat, join, text
from vlm_inspect.render.diff_text import (
    ROLE_NAMES,
    model_name,
    move_cell,
    path_cell,
    summary,
    surplus,
    value_cell,
    versions,
    why_cell,
)
from vlm_inspect.render.text.values import NOT_ASKED, counted, exact_count, short_count

Sign = Literal["~", "+", "-", ">", "?", ""]
State = Literal["changed", "added", "removed", "moved", "unknown", "unchanged"]

SIGNS: dict[State | ChangeKind, Sign] = {
    "changed": "~",
    "added": "+",
    "removed": "-",
    "moved": ">",
    "unknown": "?",
    "unchanged": "",
}


class Line(Struct, frozen=True):
    """A fact before and after."""

    sign: Sign
    """None where it is told beside the changes, and is not counted as one."""
    title: str
    before: Cell
    after: Cell
    beside: str = ""
    """The difference of two counts."""


class Section(Struct, frozen=True):
    """A component, or the model as a whole, and what of it differs."""

    title: str
    state: State
    path: Cell
    """Where it is; where it is elsewhere, before and after."""
    about: Cell
    """Class, layers and parameters in short, for a component that is told in one line."""
    lines: tuple[Line, ...] = ()
    parameters: Line | None = None
    """Of a component whose facts differ: its parameters, before and after."""


class Signed(Struct, frozen=True):
    """A sentence with its sign."""

    sign: Sign
    cell: Cell


class Report(Struct, frozen=True):
    """A difference, ready to be shown."""

    before: str
    after: str
    summary: str
    versions: str = ""
    """The libraries that are of other versions."""
    empty: bool = False
    sections: tuple[Section, ...] = ()
    total: Line | None = None
    moves: tuple[Signed, ...] = ()
    paths: tuple[Signed, ...] = ()
    incomparable: tuple[tuple[str, Cell, Cell], ...] = ()
    """Component, facts, and why they could not be compared."""


def build_report(difference: Difference) -> Report:
    """What is shown of a difference."""
    return Report(
        before=model_name(difference.before),
        after=model_name(difference.after),
        summary=summary(difference),
        versions=versions(difference),
        empty=difference.empty,
        sections=tuple(_sections(difference)),
        total=_count("total", difference.total_before, difference.total_after),
        moves=tuple(Signed(">", move_cell(move)) for move in difference.moves),
        paths=tuple(Signed(SIGNS[change.kind], path_cell(change)) for change in difference.paths),
        incomparable=tuple(_incomparable(difference.incomparable, pair_titles(difference.pairs))),
    )


def pair_titles(pairs: Sequence[ComponentPair]) -> list[str]:
    """Each component's role by name, numbered where it is not the only one."""
    roles = [pair.role for pair in pairs]
    return [
        ROLE_NAMES[role] + (f" {roles[: index + 1].count(role)}" if roles.count(role) > 1 else "")
        for index, role in enumerate(roles)
    ]


def _sections(difference: Difference) -> Iterator[Section]:
    whole = [change for change in difference.changes if not change.pairs]
    if whole:
        yield Section("Model", "changed", (), (), tuple(map(_line, whole)))
    titles = pair_titles(difference.pairs)
    for index, (pair, title) in enumerate(zip(difference.pairs, titles, strict=True)):
        own = [change for change in difference.changes if index in change.pairs[:1]]
        shared = [change for change in difference.changes if index in change.pairs[1:]]
        lines = [_line(change) for change in own if change.field not in {"component", "parameters"}]
        lines += [_shared(change, titles[change.pairs[0]]) for change in shared]
        count = _count("parameters", pair.parameters_before, pair.parameters_after)
        if not lines and any(change.field == "parameters" for change in own) and count:
            lines, count = [count], None
        yield Section(
            title=title,
            state=_state(index, pair, difference),
            path=_path(pair),
            about=_about(pair),
            lines=tuple(lines),
            parameters=count,
        )


def _state(index: int, pair: ComponentPair, difference: Difference) -> State:
    for change in difference.changes:
        if index in change.pairs:
            return change.kind if change.field == "component" else "changed"
    if any(_touches(end, pair) for change in difference.paths for end in change.ends):
        return "changed"
    if any(_touches(end, pair) for move in difference.moves for end in (move.before, move.after)):
        return "moved"
    if pair.before and pair.after and pair.before != pair.after:
        return "moved"
    is_unknown = any(index in fact.pairs for fact in difference.incomparable)
    return "unknown" if is_unknown else "unchanged"


def _touches(path: str, pair: ComponentPair) -> bool:
    return any(is_below(path, _pattern(end)) for end in (pair.before, pair.after) if end)


def _pattern(path: str) -> str:
    """A path as changes and moves write it: `*` for a number."""
    return ".".join("*" if part.isdigit() else part for part in path.split("."))


def _line(change: Change) -> Line:
    return Line(
        SIGNS[change.kind],
        change.field,
        value_cell(change.field, change.before),
        value_cell(change.field, change.after),
    )


def _shared(change: Change, elsewhere: str) -> Line:
    """A change that is told, and counted, with another component."""
    return Line("", change.field, text(f"as of the {_lowered(elsewhere)}"), ())


def _count(title: str, before: int | None, after: int | None) -> Line | None:
    if before is None and after is None:
        return None
    return Line("", title, _number(before), _number(after), surplus(before, after))


def _number(count: int | None) -> Cell:
    return text("unknown" if count is None else exact_count(count))


def _path(pair: ComponentPair) -> Cell:
    paths = list(dict.fromkeys(path for path in (pair.before, pair.after) if path))
    return join((code(path) for path in paths), " → ")


def _about(pair: ComponentPair) -> Cell:
    """`` `LlamaModel`, 32 layers, 7.50B ``; of what came, as it is; of what went, as it was."""
    is_there = pair.after is not None
    name = pair.class_after if is_there else pair.class_before
    layers = pair.layers_after if is_there else pair.layers_before
    count = pair.parameters_after if is_there else pair.parameters_before
    told = [code(name) if name else text("class unknown")]
    told += [text(counted(layers, "layer"))] if layers else []
    told.append(text("parameters unknown" if count is None else short_count(count)))
    return join(told, ", ")


def _incomparable(facts: Sequence[Incomparable], titles: Sequence[str]) -> Iterator[tuple[str, Cell, Cell]]:
    """Facts that are unknown for one reason together, component by component."""
    groups: dict[tuple[str, Cell], list[str]] = {}
    for fact in facts:
        if fact.pairs:
            whose = titles[fact.pairs[0]]
        else:
            whose = ", ".join(ROLE_NAMES[role] for role in fact.roles) or "Model"
        groups.setdefault((whose, why_cell(fact)), []).append(_fact_name(fact))
    for (whose, why), names in groups.items():
        yield whose, text(", ".join(dict.fromkeys(names))), why


def _fact_name(fact: Incomparable) -> str:
    return "whether there is one" if fact.field == "component" else fact.field


def _lowered(title: str) -> str:
    return title if title.startswith("LM ") else title[:1].lower() + title[1:]


_WORDS = {"~": "changed", "+": "added", "-": "removed", ">": "moved", "?": "unknown", "": "unchanged"}


def difference_tables(report: Report) -> tuple[Table, ...]:
    """What differs, the components, what moved, and what could not be compared."""
    candidates = (
        _summary(report),
        changes_table(report),
        _components(report),
        _signed("Moved", "Move", report.moves),
        _signed("Modules and parameters", "Path", report.paths),
        _difference_tables_incomparable(report),
    )
    return tuple(table for table in candidates if table.rows)


def changes_table(report: Report) -> Table:
    """The facts that differ, and the parameters of their components."""
    rows = [row for section in report.sections for row in _rows(section)]
    if rows and report.total and report.total.before != report.total.after:
        rows.append(_row("Model", replace(report.total, title="parameters")))
    return Table(("Component", "Fact", "Before", "After"), tuple(rows), title="Changes")


def _summary(report: Report) -> Table:
    rows = [("Before", report.before), ("After", report.after), ("Summary", report.summary)]
    if report.versions:
        rows.insert(2, ("Libraries", report.versions))
    return Table(
        ("Difference", "Value"), tuple((text(name), text(value)) for name, value in rows), "Difference"
    )


def _rows(section: Section) -> Iterator[tuple[Cell, ...]]:
    for line in section.lines:
        yield _row(section.title, line)
    if section.lines and section.parameters:
        yield _row(section.title, section.parameters)


def _row(title: str, line: Line) -> tuple[Cell, ...]:
    after = concat(line.after, text(f" ({line.beside})")) if line.beside else line.after
    return text(title), text(line.title), line.before, after or NOT_ASKED


def _components(report: Report) -> Table:
    rows = [
        (text(section.title), section.path or NOT_ASKED, section.about, text(section.state))
        for section in report.sections
        if section.about
    ]
    return Table(("Component", "Path", "What it is", "State"), tuple(rows), title="Components")


def _signed(title: str, header: str, entries: Sequence[Signed]) -> Table:
    rows = tuple((each.cell, text(_WORDS[each.sign])) for each in entries)
    return Table((header, "State"), rows, title=title)


def _difference_tables_incomparable(report: Report) -> Table:
    rows = tuple((text(whose), names, why) for whose, names, why in report.incomparable)
    return Table(("Component", "Facts", "Why"), rows, title="Not comparable")
