"""`vlm-inspect tree`: the module tree of one model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from vlm_inspect.cli import exits
from vlm_inspect.cli.options import ONE_MODEL, Config, Model, Revision, option, shared_options
from vlm_inspect.cli.output import Output
from vlm_inspect.cli.show import inspect_one, warn_if_doubtful
from vlm_inspect.core.errors import NotNativeError
from vlm_inspect.core.options import InspectOptions

if TYPE_CHECKING:
    from vlm_inspect.core.module_tree import ModuleTree

EXAMPLES = """\
vlm-inspect tree llava-hf/llava-1.5-7b-hf
vlm-inspect tree llava-hf/llava-1.5-7b-hf --depth 2
vlm-inspect tree ./my-model --focus model.vision_tower"""

Depth = Annotated[
    int | None,
    option("--depth", min=0, metavar="N", help="Levels below the root to show."),
]
Focus = Annotated[
    str,
    option("--focus", metavar="PATH", help="Show only this module and its children."),
]


@exits.handle_errors
@shared_options(ONE_MODEL, formats=("terminal", "markdown", "json"))
def command(
    model: Model,
    *,
    depth: Depth = None,
    focus: Focus = "",
    config: Config = None,
    revision: Revision = None,
    output: Output,
    options: InspectOptions,
) -> int:
    """The tree is as PyTorch prints it, with the number of parameters of each module."""
    request, inspection = inspect_one(model, revision, config, options, output, with_tree=True)
    warn_if_doubtful(request.name, inspection.architecture, output)
    if inspection.tree is None:
        raise NotNativeError(
            f"there is no module tree: {inspection.no_tree}",
            hint=f"See what the configuration says: vlm-inspect show {model}",
            model=model,
        )
    output.write(_text(inspection.tree, focus, depth, output))
    return 0


def _text(tree: ModuleTree, focus: str, depth: int | None, output: Output) -> str:
    from vlm_inspect.render.tree import tree_data, tree_text

    if output.format == "json":
        from vlm_inspect.render.json import to_json

        return to_json(tree_data(tree, focus=focus, depth=depth))
    if output.format == "terminal":
        from vlm_inspect.render.terminal.tree import tree_terminal_text

        return tree_terminal_text(tree, focus=focus, depth=depth, width=output.width, colour=output.colour)
    from vlm_inspect.render.markdown import code_block

    return code_block(tree_text(tree, focus=focus, depth=depth))
