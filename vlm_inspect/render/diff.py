"""The report of `diff`: a difference by component, as data for all formats, and as tables for HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.core.difference import Change, ChangeKind, ComponentPair, Difference
from vlm_inspect.core.module_tree import folded_path, is_below
from vlm_inspect.render import diff_text
from vlm_inspect.render.cells import Cell, Table, code, concat, join, text
from vlm_inspect.render.text.components import ROLE_NAMES, numbered_role_names
from vlm_inspect.render.text.values import NOT_APPLICABLE, UNCERTAIN, exact_count, plural, short_count

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
    """Empty if the line is not counted as a change."""
    title: str
    before: Cell
    after: Cell
    delta: str = ""
    """The difference of two counts."""


class Section(Struct, frozen=True):
    """A component, or the model as a whole, with its changed facts."""

    title: str
    state: State
    path: Cell
    """Its path; if it differs, before and after."""
    about: Cell
    """Class, layers and parameters in short, for a component without changed facts."""
    lines: tuple[Line, ...] = ()
    parameters: Line | None = None
    """Its number of parameters, before and after."""

    @property
    def description(self) -> Cell:
        """The path, unless the component is unchanged, and then class, layers and parameters."""
        parts = (self.path, self.about) if self.state != "unchanged" else (self.about,)
        return join([part for part in parts if part], ", ")

    @property
    def shown_lines(self) -> tuple[Line, ...]:
        """The changed facts, if there are any, and then the parameters."""
        return (*self.lines, self.parameters) if self.lines and self.parameters else self.lines


class SignedCell(Struct, frozen=True):
    """A moved or changed path with its sign."""

    sign: Sign
    cell: Cell


class Report(Struct, frozen=True):
    """A difference in the order in which all formats show it."""

    before: str
    after: str
    summary: str
    versions: str = ""
    """The libraries with different versions."""
    empty: bool = False
    sections: tuple[Section, ...] = ()
    total: Line | None = None
    moves: tuple[SignedCell, ...] = ()
    paths: tuple[SignedCell, ...] = ()
    incomparable: tuple[tuple[str, Cell, Cell], ...] = ()
    """Component, names of facts, and the reason why they could not be compared."""


def build_report(difference: Difference) -> Report:
    """Prepare a difference for the output formats."""
    return Report(
        before=diff_text.model_name(difference.before),
        after=diff_text.model_name(difference.after),
        summary=diff_text.summary(difference),
        versions=diff_text.versions(difference),
        empty=difference.empty,
        sections=tuple(_sections(difference)),
        total=_total_line(difference),
        moves=tuple(SignedCell(">", diff_text.move_cell(move)) for move in difference.moves),
        paths=tuple(SignedCell(SIGNS[change.kind], diff_text.path_cell(change)) for change in difference.paths),
        incomparable=tuple(_incomparable(difference)),
    )


def _sections(difference: Difference) -> Iterator[Section]:
    of_model = [change for change in difference.changes if not change.pairs]
    if of_model:
        yield Section("Model", "changed", (), (), tuple(map(_line, of_model)))
    titles = numbered_role_names([pair.role for pair in difference.pairs])
    for index, (pair, title) in enumerate(zip(difference.pairs, titles, strict=True)):
        own = [change for change in difference.changes if index in change.pairs[:1]]
        shared = [change for change in difference.changes if index in change.pairs[1:]]
        lines = [_line(change) for change in own if change.field not in {"component", "parameters"}]
        # a shared change is shown, and counted, at the first of its components
        lines += [Line("", change.field, text(f"see {titles[change.pairs[0]]}"), ()) for change in shared]
        count = _count_line("parameters", pair.parameters_before, pair.parameters_after)
        if not lines and any(change.field == "parameters" for change in own) and count:
            lines, count = [count], None
        yield Section(
            title=title,
            state=_state(index, pair, difference),
            path=join(map(code, dict.fromkeys(filter(None, (pair.before, pair.after)))), " → "),
            about=_about_cell(pair),
            lines=tuple(lines),
            parameters=count,
        )


def _state(index: int, pair: ComponentPair, difference: Difference) -> State:
    for change in difference.changes:
        if index in change.pairs:
            return change.kind if change.field == "component" else "changed"
    if any(_is_inside(end, pair) for change in difference.paths for end in change.ends):
        return "changed"
    if any(_is_inside(end, pair) for move in difference.moves for end in (move.before, move.after)):
        return "moved"
    if pair.before and pair.after and pair.before != pair.after:
        return "moved"
    is_unknown = any(index in fact.pairs for fact in difference.incomparable)
    return "unknown" if is_unknown else "unchanged"


def _is_inside(path: str, pair: ComponentPair) -> bool:
    return any(is_below(path, folded_path(end)) for end in (pair.before, pair.after) if end)


def _line(change: Change) -> Line:
    return Line(SIGNS[change.kind], change.field, *diff_text.change_cells(change))


def _total_line(difference: Difference) -> Line | None:
    """The totals, each with a mark if it is uncertain."""
    line = _count_line("total", difference.total_before, difference.total_after)
    reasons = difference.uncertain_before, difference.uncertain_after
    if line is None or reasons == (None, None):
        return line
    before, after = (text(UNCERTAIN if reason else "") for reason in reasons)
    return replace(line, before=concat(line.before, before), after=concat(line.after, after))


def _count_line(title: str, before: int | None, after: int | None) -> Line | None:
    if before is None and after is None:
        return None
    return Line("", title, _count_cell(before), _count_cell(after), diff_text.delta(before, after))


def _count_cell(count: int | None) -> Cell:
    return text("unknown" if count is None else exact_count(count))


def _about_cell(pair: ComponentPair) -> Cell:
    """`` `LlamaModel`, 32 layers, 7.50B `` of the new component, or of the old one if more is known of it."""
    is_there = pair.after is not None and (pair.before is None or pair.class_after is not None)
    name = pair.class_after if is_there else pair.class_before
    layers = pair.layers_after if is_there else pair.layers_before
    count = pair.parameters_after if is_there else pair.parameters_before
    parts = [code(name) if name else text("class unknown")]
    parts += [text(plural(layers, "layer"))] if layers else []
    parts.append(text("parameters unknown" if count is None else short_count(count)))
    return join(parts, ", ")


def _incomparable(difference: Difference) -> Iterator[tuple[str, Cell, Cell]]:
    """Unknown facts, those of one component with the same reason together."""
    titles = numbered_role_names([pair.role for pair in difference.pairs])
    groups: dict[tuple[str, Cell], list[str]] = {}
    for fact in difference.incomparable:
        owner = titles[fact.pairs[0]] if fact.pairs else ", ".join(ROLE_NAMES[role] for role in fact.roles) or "Model"
        name = "whether it exists" if fact.field == "component" else fact.field
        groups.setdefault((owner, diff_text.reason_cell(fact)), []).append(name)
    for (owner, why), names in groups.items():
        yield owner, text(", ".join(dict.fromkeys(names))), why


_STATES: dict[Sign, State] = {sign: state for state, sign in SIGNS.items()}


def difference_tables(report: Report) -> tuple[Table, ...]:
    """The summary, changes, components, moves, changed paths, and facts that were not compared."""
    summary_rows = [("Before", report.before), ("After", report.after), ("Summary", report.summary)]
    if report.versions:
        summary_rows.insert(2, ("Libraries", report.versions))
    components = tuple(
        (text(section.title), section.path or NOT_APPLICABLE, section.about, text(section.state))
        for section in report.sections
        if section.about
    )
    incomparable = tuple((text(owner), names, why) for owner, names, why in report.incomparable)
    candidates = (
        Table(
            ("Difference", "Value"),
            tuple((text(name), text(value)) for name, value in summary_rows),
            "Difference",
        ),
        changes_table(report),
        Table(("Component", "Path", "Description", "State"), components, "Components"),
        _paths_table("Moved", "Move", report.moves),
        _paths_table("Modules and tensors", "Path", report.paths),
        Table(("Component", "Facts", "Reason"), incomparable, "Not comparable"),
    )
    return tuple(table for table in candidates if table.rows)


def changes_table(report: Report) -> Table:
    """The changed facts, and the parameters of their components."""
    rows = [_change_row(section.title, line) for section in report.sections for line in section.shown_lines]
    if rows and report.total and report.total.before != report.total.after:
        rows.append(_change_row("Model", replace(report.total, title="parameters")))
    return Table(("Component", "Fact", "Before", "After"), tuple(rows), "Changes")


def _change_row(title: str, line: Line) -> tuple[Cell, ...]:
    after = concat(line.after, text(f" ({line.delta})")) if line.delta else line.after
    return text(title), text(line.title), line.before, after or NOT_APPLICABLE


def _paths_table(title: str, header: str, paths: Sequence[SignedCell]) -> Table:
    return Table((header, "State"), tuple((each.cell, text(_STATES[each.sign])) for each in paths), title)
