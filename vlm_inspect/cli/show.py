"""`vlm-inspect show`: one model in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlm_inspect.cli import exits, options
from vlm_inspect.cli.one_model import look_up, warn_if_misread
from vlm_inspect.cli.output import Output

if TYPE_CHECKING:
    from vlm_inspect.render.card import Card

Explain = Annotated[bool, typer.Option("--explain", help="Say of each finding how it was found.")]


@exits.handle_errors
def command(
    model: options.Model,
    explain: Explain = False,
    format: options.FormatOption = None,
    output: options.OutputFile = None,
    config: options.Config = None,
    revision: options.Revision = None,
    token: options.Token = None,
    cache_dir: options.CacheDir = None,
    offline: options.Offline = False,
    builder: options.BuilderOption = None,
    trust_remote_code: options.TrustRemoteCode = False,
    no_cache: options.NoCache = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """One model in full: its parts, their parameters, their layers."""
    out = Output.choose(format, output, quiet=quiet)
    asking = options.asking(
        token, cache_dir, builder, offline=offline, trusted=trust_remote_code, no_cache=no_cache
    )
    request, inspection = look_up(model, out, asking, config, revision)
    if out.format is not options.Format.TERMINAL:  # there the card says it in the same place
        warn_if_misread(request.name, inspection.architecture, out)
    if out.format is options.Format.JSON:
        from vlm_inspect.render.records import record_json

        out.write(record_json(inspection.architecture))
    else:
        from vlm_inspect.render.card import build_card

        card = build_card(inspection.architecture, name=request.alias, explain=explain)
        out.write(_text(card, out))
    return 0


def _text(card: Card, out: Output) -> str:
    if out.format is options.Format.TERMINAL:
        from vlm_inspect.render.terminal_card import card_text

        return card_text(card, width=out.width, colour=out.colour)
    from vlm_inspect.render import render
    from vlm_inspect.render.card_tables import card_tables

    return render(card_tables(card), out.format.value)
