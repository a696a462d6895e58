"""The report of `verify`: its text, tables for Markdown, and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from vlm_inspect.core.codec import to_data
from vlm_inspect.core.load_report import Kind, LoadReport, Mismatch, Subject
from vlm_inspect.core.module_tree import split
from vlm_inspect.render.cells import Cell, Table, code, text
from vlm_inspect.render.diff_text import model_name
from vlm_inspect.render.json import to_json
from vlm_inspect.render.text.components import ROLE_NAMES
from vlm_inspect.render.text.values import NOT_APPLICABLE, dimensions, exact_count, plural, short_count

MISSING_FILES = "Missing or incomplete files"
_MOST_RANGES = 6
_KIND_TITLES: Mapping[Subject, Mapping[Kind, str]] = {
    "adapter": {
        "unexpected": "Without effect: no such target in the model",
        "mismatched": "Mismatched: the shape does not match the target",
        "missing": "Missing: expected, but not in the adapter",
    },
    "checkpoint": {
        "missing": "Missing: in the model, but not in the checkpoint",
        "unexpected": "Unexpected: in the checkpoint, but not in the model",
        "mismatched": "Mismatched: the shapes differ",
    },
}
"""By importance: for an adapter, tensors without effect come first."""


def load_report_json(report: LoadReport) -> str:
    """The report as JSON: the verdict first, with the name of every mismatched tensor."""
    counts = dict(report.counts())
    return to_json({"verdict": report.verdict, "counts": counts, "mismatches": [], **to_data(report)})


def load_report_tables(report: LoadReport) -> tuple[Table, ...]:
    """The verdict, missing files, mismatches, components and renamed keys."""
    verdict_rows = [("Verdict", verdict(report)), *(("Cause", cause) for cause in report.causes)]
    verdict_rows.append(("Tensors", tensor_counts(report)))
    verdict_rows += [("Head", report.head)] if report.head else []
    verdict_rows += [("Uncertain", sentence) for sentence in report.uncertain]
    mismatches = tuple(
        (
            text(title.partition(":")[0]),
            text(component_title(mismatch)),
            name_cell(mismatch.path),
            name_cell(mismatch.key),
            text(about(mismatch)),
        )
        for title, members in mismatches_by_kind(report)
        for mismatch in members
    )
    components = tuple((role, path, text(count)) for role, path, count in component_rows(report))
    candidates = (
        Table(
            (report.subject.capitalize(), heading(report)),
            tuple((text(label), text(value)) for label, value in verdict_rows),
            "Verdict",
            report.notes,
        ),
        Table(("File", "Tensors"), tuple(missing_file_rows(report)), MISSING_FILES),
        Table(("Problem", "Component", "In the model", "In the checkpoint", "Tensors"), mismatches, "Mismatches"),
        Table(("Component", "Path", "Tensors"), components, "Components"),
        Table(("In the checkpoint", "In the model", "Tensors"), tuple(renaming_rows(report)), "Renamed keys"),
    )
    return tuple(table for table in candidates if table.rows)


def heading(report: LoadReport) -> str:
    """`org/name@0123456 — LlavaForConditionalGeneration`; `org/lora on org/name — …` for an adapter."""
    base = f" on {model_name(report.base)}" if report.base else ""
    model_class = f" — {report.model_class}" if report.model_class else ""
    return f"{model_name(report.model)}{base}{model_class}"


def verdict(report: LoadReport) -> str:
    """`mismatch: 1 missing, 1 mismatched`."""
    parts = [f"{exact_count(count)} {kind}" for kind, count in report.counts().items() if count]
    if report.missing_files:
        parts.insert(0, f"{plural(len(report.missing_files), 'file')} missing or incomplete")
    return report.verdict + (f": {', '.join(parts)}" if parts else "")


def tensor_counts(report: LoadReport) -> str:
    """How many tensors there are, and how many of them load."""
    tensors, loaded = exact_count(report.tensors), exact_count(report.loaded)
    if report.subject == "adapter":
        return f"{tensors} tensors in the adapter, {loaded} match a module of the model."
    ignored = f", {exact_count(report.ignored)} are ignored by the model class" if report.ignored else ""
    return f"{tensors} tensors in the checkpoint, {loaded} load{ignored}."


def mismatches_by_kind(report: LoadReport) -> Iterator[tuple[str, list[Mismatch]]]:
    """The mismatches of each kind, the most important first, after its name, a colon and its meaning."""
    for kind, title in _KIND_TITLES[report.subject].items():
        yield title, [mismatch for mismatch in report.mismatches if mismatch.kind == kind]


def component_title(mismatch: Mismatch) -> str:
    """The name of the component's role."""
    return ROLE_NAMES[mismatch.role] if mismatch.role else "No component"


def name_cell(name: str) -> Cell:
    """A path or a key; a dash if it is empty."""
    return code(name) if name else NOT_APPLICABLE


def about(mismatch: Mismatch) -> str:
    """`391 tensors, 304M parameters`; `4096 x 4000, expected 4096 x 4096`; with layers and reason."""
    return "; ".join(part for part in (_size(mismatch), _numbers(mismatch), mismatch.reason) if part)


def _size(mismatch: Mismatch) -> str:
    if mismatch.is_module:
        total = f", {short_count(mismatch.parameters)} parameters" if mismatch.parameters is not None else ""
        return f"{exact_count(mismatch.count)} tensors{total}"
    number = f"{exact_count(mismatch.count)} tensors, each " if mismatch.count > 1 else ""
    if mismatch.kind != "mismatched" or mismatch.stored is None:
        shape = mismatch.expected if mismatch.stored is None else mismatch.stored
        return f"{number}{_shape(shape)}" if shape is not None else number.removesuffix(", each ")
    return f"{number}{_shape(mismatch.stored)}, expected {_shape(mismatch.expected or ())}"


def _shape(shape: tuple[int, ...]) -> str:
    return dimensions(shape) if shape else "scalar"


def _numbers(mismatch: Mismatch) -> str:
    """`layers 0-11, 14`: the numbers for `*`, if only one `*` of the path stands for several."""
    name = mismatch.key if mismatch.kind == "unexpected" else mismatch.path
    pattern = split(name)[0]
    stars = [index for index, part in enumerate(name.split(".")) if part == "*"]
    numbers = [{int(each.split(".")[index]) for each in mismatch.names} for index in stars]
    varied = [index for index, found in enumerate(numbers) if len(found) > 1]
    if len(varied) != 1:
        return ""
    (only,) = varied
    before = pattern[stars[only] - 1] if stars[only] else "numbers"
    return f"{before} {_ranges(numbers[only])}"


def _ranges(numbers: Iterable[int]) -> str:
    groups = groupby(enumerate(sorted(numbers)), key=lambda item: item[1] - item[0])
    ranges = [[number for _, number in group] for _, group in groups]
    parts = [str(each[0]) if len(each) == 1 else f"{each[0]}-{each[-1]}" for each in ranges[:_MOST_RANGES]]
    return ", ".join(parts) + (" …" if len(ranges) > _MOST_RANGES else "")


def missing_file_rows(report: LoadReport) -> Iterator[tuple[Cell, Cell]]:
    """Each missing file with its number of tensors."""
    for file, count in report.missing_files.items():
        yield name_cell(file), text(plural(count, "tensor") if count else "tensors unknown")


def component_rows(report: LoadReport) -> Iterator[tuple[Cell, Cell, str]]:
    """Each component with its path and its number of tensors."""
    for each in report.components:
        count = str(each.loaded) if each.expected is None else f"{each.loaded} of {each.expected}"
        yield text(ROLE_NAMES[each.role]), name_cell(each.path or ""), count


def renaming_rows(report: LoadReport) -> Iterator[tuple[Cell, Cell, Cell]]:
    """Each renamed prefix with its path in the model and its number of tensors."""
    for each in report.renamings:
        converted = ", converted" if each.is_converted else ""
        yield name_cell(each.key), name_cell(each.path), text(f"{plural(each.count, 'tensor')}{converted}")
