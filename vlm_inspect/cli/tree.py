"""`vlm-inspect tree`: the module tree of one model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vlm_inspect.cli import exits, options
from vlm_inspect.cli.one_model import look_up, warn_if_misread
from vlm_inspect.cli.output import Output
from vlm_inspect.errors import NotNativeError

if TYPE_CHECKING:
    from vlm_inspect.tree import ModuleTree

Depth = Annotated[
    int | None, typer.Option("--depth", min=0, help="Levels to show below the root.", show_default=False)
]
Focus = Annotated[
    str,
    typer.Option("--focus", metavar="PATH", help="Only this module and what is below.", show_default=False),
]


@exits.handle_errors
def command(
    model: options.Model,
    depth: Depth = None,
    focus: Focus = "",
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
    """The module tree, repeated layers folded, with the parameters of each node."""
    out = Output.choose(format, output, quiet=quiet)
    asking = options.asking(
        token, cache_dir, builder, offline=offline, trusted=trust_remote_code, no_cache=no_cache
    )
    request, inspection = look_up(model, out, asking, config, revision, with_tree=True)
    warn_if_misread(request.name, inspection.architecture, out)
    if inspection.tree is None:
        raise NotNativeError(
            f"there is no module tree: {inspection.no_tree}",
            hint=f"See what the configuration says: vlm-inspect show {model}",
            model=model,
        )
    out.write(_text(inspection.tree, focus, depth, out))
    return 0


def _text(tree: ModuleTree, focus: str, depth: int | None, out: Output) -> str:
    from vlm_inspect.render import render
    from vlm_inspect.render.module_tree import tree_data, tree_table, tree_text

    if out.format is options.Format.JSON:
        from vlm_inspect.render.records import json_text

        return json_text(tree_data(tree, focus=focus, depth=depth))
    if out.format is options.Format.TERMINAL:
        from vlm_inspect.render.terminal_tree import terminal_tree

        return terminal_tree(tree, focus=focus, depth=depth, width=out.width, colour=out.colour)
    if out.format is options.Format.MARKDOWN:
        from vlm_inspect.render.markdown import fenced

        return fenced(tree_text(tree, focus=focus, depth=depth))
    return render(tree_table(tree, focus=focus, depth=depth), out.format.value)
