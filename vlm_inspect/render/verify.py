"""The report of `verify` as tables, for Markdown, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vlm_inspect.core.codec import to_data
from vlm_inspect.core.load_report import Kind, LoadReport, Mismatch
from vlm_inspect.core.module_tree import split
from vlm_inspect.render.cells import Cell, Table, code, text
from vlm_inspect.render.diff_text import ROLE_NAMES, model_name
from vlm_inspect.render.json import json_text
from vlm_inspect.render.text.values import NOT_ASKED, counted, exact_count, short_count, square

_MOST_RUNS = 6
_KINDS: dict[Kind, str] = {"missing": "missing", "unexpected": "unexpected", "mismatched": "of another shape"}


def heading(fit: LoadReport) -> str:
    """`org/name@0123456 — LlavaForConditionalGeneration`; of an adapter what it is put on."""
    on = f" on {model_name(fit.base)}" if fit.base else ""
    built = f" — {fit.model_class}" if fit.model_class else ""
    return f"{model_name(fit.model)}{on}{built}"


def verdict(fit: LoadReport) -> str:
    """`does not fit: 1 missing, 1 of another shape`."""
    told = [f"{exact_count(count)} {_KINDS[kind]}" for kind, count in fit.counts().items() if count]
    if fit.missing_files:
        told.insert(0, f"{counted(len(fit.missing_files), 'file')} not there or not whole")
    return fit.verdict + (f": {', '.join(told)}" if told else "")


def account(fit: LoadReport) -> str:
    """How many tensors there are, and what becomes of them."""
    if fit.subject == "adapter":
        stored, fitting = exact_count(fit.tensors), exact_count(fit.loaded)
        return f"{stored} tensors in the adapter, {fitting} of them reach a module that takes them."
    left_out = (
        f", {exact_count(fit.ignored)} are left out by the class, as its authors want it"
        if fit.ignored
        else ""
    )
    stored, fitting = exact_count(fit.tensors), exact_count(fit.loaded)
    return f"{stored} tensors in the checkpoint, {fitting} of them load{left_out}."


def kinds(fit: LoadReport) -> tuple[Kind, ...]:
    """The kinds in the order in which they matter: of an adapter first what has no effect."""
    if fit.subject == "adapter":
        return ("unexpected", "mismatched", "missing")
    return ("missing", "unexpected", "mismatched")


def kind_title(fit: LoadReport, kind: Kind) -> str:
    """What all misfits of a kind have in common, as a heading."""
    if fit.subject == "adapter":
        return {
            "missing": "Missing: the adapter should have it",
            "unexpected": "Without effect: it reaches nothing in the model",
            "mismatched": "Of another shape than its module takes",
        }[kind]
    return {
        "missing": "Missing: the model has it, the checkpoint does not",
        "unexpected": "Unexpected: the checkpoint has it, the model does not",
        "mismatched": "Of another shape in the checkpoint",
    }[kind]


def component_title(misfit: Mismatch) -> str:
    """The component's role by name; what is in none is `elsewhere`."""
    return ROLE_NAMES[misfit.role] if misfit.role else "Elsewhere"


def name_cell(name: str) -> Cell:
    """A path or a key; a dash where there is none."""
    return code(name) if name else NOT_ASKED


def about(misfit: Mismatch) -> str:
    """`4096 x 4000, not 4096 x 4096`; `391 tensors, 304M parameters`; with the layers, and why."""
    return "; ".join(part for part in (_size(misfit), _which(misfit), misfit.reason) if part)


def _size(misfit: Mismatch) -> str:
    if misfit.is_module:
        total = f", {short_count(misfit.parameters)} parameters" if misfit.parameters is not None else ""
        return f"{exact_count(misfit.count)} tensors{total}"
    number = f"{exact_count(misfit.count)} tensors, each " if misfit.count > 1 else ""
    if misfit.kind != "mismatched" or misfit.stored is None:
        shape = misfit.expected if misfit.stored is None else misfit.stored
        words = _shape(shape) if shape is not None else ""
        return f"{number}{words}" if words else number.removesuffix(", each ")
    return f"{number}{_shape(misfit.stored)}, not {_shape(misfit.expected or ())}"


def _shape(shape: tuple[int, ...]) -> str:
    return square(shape) if shape else "a single number"


def _which(misfit: Mismatch) -> str:
    """`layers 0-11, 14`: what `*` stands for, where one place of the path has several numbers."""
    name = misfit.key if misfit.kind == "unexpected" else misfit.path
    pattern = split(name)[0]
    stars = [index for index, part in enumerate(name.split(".")) if part == "*"]
    numbers = [{int(each.split(".")[index]) for each in misfit.names} for index in stars]
    varied = [index for index, found in enumerate(numbers) if len(found) > 1]
    if len(varied) != 1:
        return ""
    (only,) = varied
    before = pattern[stars[only] - 1] if stars[only] else "numbers"
    return f"{before} {_runs(numbers[only])}"


def _runs(numbers: Iterable[int]) -> str:
    runs = list(_consecutive(sorted(set(numbers))))
    told = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:_MOST_RUNS]]
    return ", ".join(told) + (" …" if len(runs) > _MOST_RUNS else "")


def _consecutive(numbers: list[int]) -> Iterator[tuple[int, int]]:
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


def renaming_words(count: int, *, is_converted: bool) -> Cell:
    """How many tensors are renamed, or put together, so."""
    return text(f"{counted(count, 'tensor')}{', converted' if is_converted else ''}")


def fit_tables(fit: LoadReport) -> tuple[Table, ...]:
    """The verdict, missing files, mismatches, components and renamed keys."""
    return tuple(table for table in (_verdict(fit), *_parts(fit)) if table.rows)


def fit_json(fit: LoadReport) -> str:
    """The report as JSON: the verdict first, with the name of every mismatched tensor."""
    counts = dict(fit.counts())
    return json_text({"verdict": fit.verdict, "counts": counts, "mismatches": [], **to_data(fit)})


def _verdict(fit: LoadReport) -> Table:
    rows = [(text("CheckResult"), text(verdict(fit))), (text("Tensors"), text(account(fit)))]
    rows += [(text("Uncertain"), text(sentence)) for sentence in fit.uncertain]
    return Table(
        (f"{fit.subject.capitalize()}", heading(fit)), tuple(rows), title="CheckResult", notes=fit.notes
    )


def _parts(fit: LoadReport) -> Iterator[Table]:
    files = tuple(
        (name_cell(file), text(counted(count, "tensor") if count else "tensors unknown"))
        for file, count in fit.missing_files.items()
    )
    yield Table(("File", "With"), files, title="Files that are not there or not whole")
    yield _misfits(fit)
    rows = tuple(
        (
            text(ROLE_NAMES[part.role]),
            name_cell(part.path or ""),
            text(str(part.loaded) if part.expected is None else f"{part.loaded} of {part.expected}"),
        )
        for part in fit.components
    )
    yield Table(("Component", "Path", "Tensors"), rows, title="Components")
    renamed = tuple(
        (
            name_cell(each.key),
            name_cell(each.path),
            renaming_words(each.count, is_converted=each.is_converted),
        )
        for each in fit.renamings
    )
    yield Table(("In the checkpoint", "In the model", "Of"), renamed, title="Names")


def _misfits(fit: LoadReport) -> Table:
    rows = tuple(
        (
            text(kind_title(fit, misfit.kind).partition(":")[0]),
            text(component_title(misfit)),
            name_cell(misfit.path),
            name_cell(misfit.key),
            text(about(misfit)),
        )
        for kind in kinds(fit)
        for misfit in fit.mismatches
        if misfit.kind == kind
    )
    headers = ("What", "Component", "In the model", "In the checkpoint", "Tensors")
    return Table(headers, rows, title="What does not fit")
