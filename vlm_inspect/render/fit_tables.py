"""The report of `verify` as tables, for Markdown, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from vlm_inspect.codec import to_data
from vlm_inspect.fit import LoadReport
from vlm_inspect.render.cells import Table, text
from vlm_inspect.render.difference_wording import ROLE_NAMES
from vlm_inspect.render.figures import counted
from vlm_inspect.render.fit_wording import (
    about,
    account,
    component_title,
    heading,
    kind_title,
    kinds,
    name_cell,
    renaming_words,
    verdict,
)
from vlm_inspect.render.records import json_text


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
