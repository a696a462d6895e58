"""`vlm-inspect diff`: what is not the same in two models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlm_inspect.architecture import Role
from vlm_inspect.cli import exits, options
from vlm_inspect.cli.folded_notes import Note
from vlm_inspect.cli.one_model import warn_if_misread
from vlm_inspect.cli.output import Output
from vlm_inspect.errors import InvalidReferenceError

if TYPE_CHECKING:
    from vlm_inspect.difference import Difference

_HELP = "org/name, org/name@revision, a folder with a config.json, a config.json, or a snapshot file."

Before = Annotated[str, typer.Argument(metavar="A", help=_HELP)]
After = Annotated[str, typer.Argument(metavar="B", help="The same, to compare A with.")]
Only = Annotated[
    list[Role] | None,
    typer.Option(
        "--only",
        metavar="ROLE",
        help="Only components of this role; again for more: " + ", ".join(role.value for role in Role),
        show_default=False,
    ),
]
NamesOnly = Annotated[
    bool, typer.Option("--names-only", help="Only the names of what differs, one per line.")
]
ExitZero = Annotated[bool, typer.Option("--exit-zero", help="Exit 0 where they differ, too.")]


@exits.handle_errors
def command(
    before: Before,
    after: After,
    only: Only = None,
    names_only: NamesOnly = False,
    exit_zero: ExitZero = False,
    format: options.FormatOption = None,
    output: options.OutputFile = None,
    token: options.Token = None,
    cache_dir: options.CacheDir = None,
    offline: options.Offline = False,
    builder: options.BuilderOption = None,
    trust_remote_code: options.TrustRemoteCode = False,
    no_cache: options.NoCache = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """What is not the same in two models: components, facts, and module paths that moved.

    Exits 1 where they differ.
    """
    if names_only and format is not None:
        raise InvalidReferenceError(
            "--names-only writes lines of names, whatever the format.",
            hint="Leave --format or --names-only out.",
        )
    from vlm_inspect import inspection
    from vlm_inspect.compare import compare, of_roles

    out = Output.choose(format, output, quiet=quiet)
    asking = options.asking(
        token, cache_dir, builder, offline=offline, trusted=trust_remote_code, no_cache=no_cache
    )
    taken = [inspection.take(model, options=asking) for model in (before, after)]
    names = (before, after)
    out.notes([Note(name, note) for name, each in zip(names, taken, strict=True) for note in each.notes])
    for name, each in zip(names, taken, strict=True):
        warn_if_misread(name, each.snapshot.architecture, out)
    difference = compare(taken[0].snapshot, taken[1].snapshot)
    if only:
        difference = of_roles(difference, set(only))
    answer = _names(difference) if names_only else _text(difference, out)
    if answer or out.file is not None:  # nothing to name is no line, and not an empty one
        out.write(answer)
    return 0 if difference.empty or exit_zero else exits.DIFFERENT


def _names(difference: Difference) -> str:
    from vlm_inspect.render.difference_record import difference_names

    return difference_names(difference)


def _text(difference: Difference, out: Output) -> str:
    if out.format is options.Format.JSON:
        from vlm_inspect.render.difference_record import difference_json

        return difference_json(difference)
    from vlm_inspect.render.difference import build_report

    report = build_report(difference)
    if out.format is options.Format.TERMINAL:
        from vlm_inspect.render.terminal_difference import difference_text

        return difference_text(report, width=out.width, colour=out.colour)
    if out.format is options.Format.MARKDOWN:
        from vlm_inspect.render.difference_markdown import difference_markdown

        return difference_markdown(report)
    from vlm_inspect.render import render
    from vlm_inspect.render.difference_tables import difference_tables

    return render(difference_tables(report), out.format.value)
