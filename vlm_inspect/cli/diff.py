"""`vlm-inspect diff`: the structural difference of two models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlm_inspect.cli import exits
from vlm_inspect.cli.options import MODEL_HELP, ONE_MODEL, option, shared_options
from vlm_inspect.cli.output import Note, Output
from vlm_inspect.cli.show import warn_if_doubtful
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.errors import InvalidReferenceError
from vlm_inspect.core.options import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.core.difference import Difference

EXAMPLES = """\
vlm-inspect diff org/name@v1 org/name@v2
vlm-inspect diff org/name ./my-finetune --only projector
vlm-inspect diff snapshots/org--name.json org/name"""

Before = Annotated[str, typer.Argument(metavar="A", help=MODEL_HELP)]
After = Annotated[str, typer.Argument(metavar="B", help="The model to compare A with.")]
Only = Annotated[
    list[Role] | None,
    option(
        "--only",
        metavar="ROLE",
        help="Show only components with this role. Can be repeated. One of: " + ", ".join(role.value for role in Role),
    ),
]
NamesOnly = Annotated[bool, option("--names-only", help="Print only the names of what differs, one per line.")]
ExitZero = Annotated[bool, option("--exit-zero", help="Exit with 0 even if the models differ.")]


@exits.handle_errors
@shared_options(ONE_MODEL, formats=("terminal", "markdown", "json", "html"))
def command(
    before: Before,
    after: After,
    *,
    only: Only = None,
    names_only: NamesOnly = False,
    exit_zero: ExitZero = False,
    output: Output,
    options: InspectOptions,
) -> int:
    """Exits with 1 if the models differ."""
    if names_only and output.is_format_given:
        raise InvalidReferenceError(
            "--names-only prints names, one per line, in no other format.",
            hint="Use --format or --names-only.",
        )
    from vlm_inspect.app import pipeline
    from vlm_inspect.compare.compare import compare, filter_roles

    names = (before, after)
    taken = [pipeline.take_snapshot(model, options=options) for model in names]
    output.notes([Note(name, note) for name, each in zip(names, taken, strict=True) for note in each.notes])
    for name, each in zip(names, taken, strict=True):
        warn_if_doubtful(name, each.snapshot.architecture, output)
    difference = compare(taken[0].snapshot, taken[1].snapshot)
    if only:
        difference = filter_roles(difference, set(only))
    text = _names(difference) if names_only else _text(difference, output)
    if text or output.file is not None:  # no names are no output, not an empty line
        output.write(text)
    return 0 if difference.empty or exit_zero else exits.DIFFERENT


def _names(difference: Difference) -> str:
    from vlm_inspect.render.json import difference_names

    return difference_names(difference)


def _text(difference: Difference, output: Output) -> str:
    if output.format == "json":
        from vlm_inspect.render.json import difference_json

        return difference_json(difference)
    from vlm_inspect.render.diff import build_report

    report = build_report(difference)
    if output.format == "terminal":
        from vlm_inspect.render.terminal.diff import difference_text

        return difference_text(report, width=output.width, colour=output.colour)
    if output.format == "markdown":
        from vlm_inspect.render.diff_markdown import difference_markdown

        return difference_markdown(report)
    from vlm_inspect.render import render
    from vlm_inspect.render.diff import difference_tables

    return render(difference_tables(report), output.format)
