"""`vlm-inspect verify`: whether a checkpoint's tensors are those of the model that its config builds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlm_inspect.cli import exits, options
from vlm_inspect.cli.folded_notes import Note
from vlm_inspect.cli.output import Output
from vlm_inspect.sources import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.fit import Fit, Verdict

Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="org/name, org/name@revision, or a folder; a PEFT adapter's too."),
]
Base = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="MODEL",
        help="Of an adapter: the model that it is put on, if not the one that it names.",
        show_default=False,
    ),
]

_CODES: dict[Verdict, int] = {
    "fits": 0,
    "does not fit": exits.DIFFERENT,
    "cannot be said": exits.NOT_ANSWERED,
}


@exits.guarded
def command(
    model: Model,
    base: Base = None,
    format: options.FormatOption = None,
    output: options.OutputFile = None,
    config: options.Config = None,
    revision: options.Revision = None,
    token: options.Token = None,
    cache_dir: options.CacheDir = None,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Whether a checkpoint will load: its tensors against the model that its config builds.

    Exits 1 where it does not fit, 3 where that cannot be said.
    """
    from vlm_inspect import requested, verification

    out = Output.choose(format, output, quiet=quiet)
    asking = InspectOptions(token=token, cache_dir=cache_dir, offline=offline)
    (request,) = requested.requests_for([model], requested.settings_for(config), revision)
    verified = verification.examine_fit(
        request.reference, base=base, revision=request.revision, options=asking
    )
    out.notes([Note(model, note) for note in verified.notes])
    out.write(_text(verified.fit, out))
    return _CODES[verified.fit.verdict]


def _text(fit: Fit, out: Output) -> str:
    from vlm_inspect.render import render
    from vlm_inspect.render.fit_tables import fit_json, fit_tables

    if out.format is options.Format.JSON:
        return fit_json(fit)
    if out.format is options.Format.TERMINAL:
        from vlm_inspect.render.terminal_fit import fit_text

        return fit_text(fit, width=out.width, colour=out.colour)
    return render(fit_tables(fit), out.format.value)
