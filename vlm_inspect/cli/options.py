"""The options that commands share, each declared once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vlm_inspect.cli.output import Output
from vlm_inspect.core.errors import InvalidReferenceError
from vlm_inspect.core.options import Builder, InspectOptions

HUB = ("token", "cache_dir", "offline")
_BUILD = ("builder", "trust_remote_code")
ONE_MODEL = (*_BUILD, *HUB, "use_cache")
MANY_MODELS = (*_BUILD, "jobs", *HUB, "use_cache")

_MODEL = "Model"
_OUTPUT = "Output"
_HUB = "Hub and cache"

MODEL_HELP = (
    "org/name, org/name@revision, the address of a model's page, a folder with a config.json, a config.json, a "
    ".safetensors file, or a snapshot file."
)


def option(
    *names: str,
    help: str,
    metavar: str | None = None,
    group: str | None = None,
    min: int | None = None,
    show_default: bool = False,
) -> Any:
    """Return an option: its help names the default, where the default says something."""
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=group, min=min, show_default=show_default)


Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL",
        help="As for `show`. Default: the models of the configuration file, or the built-in catalogue.",
        show_default=False,
    ),
]
Revision = Annotated[
    str | None,
    option("--revision", metavar="REV", help="Branch, tag or commit on the Hub.", group=_MODEL),
]
Config = Annotated[
    Path | None,
    option(
        "--config",
        metavar="FILE",
        help="pyproject.toml or vlm-inspect.toml. Default: the nearest in this folder or above it.",
        group=_MODEL,
    ),
]

# the options of the fields of InspectOptions
_INSPECT: dict[str, Any] = {
    "builder": Annotated[
        Builder | None,
        option(
            "--builder",
            metavar="BUILDER",
            help="Use only transformers (its own class), remote-code (the repository's class), header (the "
            "checkpoint's safetensors headers) or config (config.json alone). Default: the first that can "
            "build the model.",
            group=_MODEL,
        ),
    ],
    "trust_remote_code": Annotated[
        bool,
        option(
            "--trust-remote-code",
            help="Run the repository's code where transformers has no class, in a sandbox: no network, no "
            "files, limited time and memory. The sandbox is not perfect, see docs/security.md.",
            group=_MODEL,
        ),
    ],
    "jobs": Annotated[
        int,
        option(
            "--jobs",
            "-j",
            min=1,
            metavar="N",
            help="Build in N processes. Each takes seconds to start: for dozens of models.",
            group=_MODEL,
            show_default=True,
        ),
    ],
    "token": Annotated[
        str | None,
        option(
            "--token",
            metavar="TOKEN",
            help="Hub token. Default: HF_TOKEN, or the token of `hf auth login`.",
            group=_HUB,
        ),
    ],
    "cache_dir": Annotated[
        Path | None,
        option("--cache-dir", metavar="DIR", help="Hub cache. Default: HF_HUB_CACHE.", group=_HUB),
    ],
    "offline": Annotated[
        bool,
        option("--offline", help="Do not use the network; use cached files and built-in models only.", group=_HUB),
    ],
    "use_cache": Annotated[
        bool,
        option(" /--no-cache", help="Ignore the result cache and do not write to it.", group=_HUB),
    ],
}
_JSON = Annotated[bool, option("--json", help="Short for --format json.", group=_OUTPUT)]
_FILE = Annotated[
    Path | None,
    option("--output", metavar="FILE", help="Write to FILE instead of stdout.", group=_OUTPUT),
]
_QUIET = Annotated[
    bool,
    option(
        "--quiet",
        "-q",
        help="No progress bar and no notes. Warnings and errors are still printed.",
        group=_OUTPUT,
    ),
]
_DEBUG = Annotated[bool, option("--debug", help="Print the traceback of an internal error.")]

Command = Callable[..., int]


def shared_options(fields: Sequence[str], formats: Sequence[str] = ()) -> Callable[[Command], Command]:
    """Add the shared options to a command, which receives their values as two objects.

    Args:
        fields: The fields of InspectOptions that are options of the command, which gets them as `options`.
        formats: The values of --format. The command gets format, file and --quiet as `output`.

    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(*, quiet: bool, debug: bool, **values: Any) -> int:
            output = Output.choose(_format(values), values.pop("file", None), quiet=quiet)
            options = InspectOptions(**{name: values.pop(name) for name in fields})
            return command(**values, output=output, options=options)

        declared = signature(command, eval_str=True)
        own = [each for name, each in declared.parameters.items() if name not in {"output", "options"}]
        run.__annotations__ = {}  # typer reads the signature; evaluating these again takes time
        run.__signature__ = declared.replace(parameters=[*own, *_shared(fields, formats)])  # type: ignore[attr-defined]
        return run

    return decorate


def _shared(fields: Sequence[str], formats: Sequence[str]) -> Iterator[Parameter]:
    """The parameters of the shared options, in the order of their groups in the help."""
    hub = [name for name in fields if name in {*HUB, "use_cache"}]
    yield from (_field(name) for name in fields if name not in hub)
    if formats:
        yield _parameter("format", None, _format_option(formats))
        yield _parameter("json", False, _JSON)
        yield _parameter("file", None, _FILE)
    yield _parameter("quiet", False, _QUIET)
    yield from map(_field, hub)
    yield _parameter("debug", False, _DEBUG)


def _field(name: str) -> Parameter:
    return _parameter(name, InspectOptions.__dataclass_fields__[name].default, _INSPECT[name])


def _parameter(name: str, default: Any, annotation: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _format_option(formats: Sequence[str]) -> Any:
    info = option(
        "--format",
        metavar="FORMAT",
        help=f"{', '.join(formats[:-1])} or {formats[-1]}. Default: terminal in a terminal, else markdown.",
        group=_OUTPUT,
    )
    return Annotated[Literal[tuple(formats)] | None, info]


def _format(values: dict[str, Any]) -> str | None:
    """The format of --format and --json."""
    named: str | None = values.pop("format", None)
    if not values.pop("json", False):
        return named
    if named not in {None, "json"}:
        raise InvalidReferenceError(
            f"--json is short for --format json, but --format is {named}.",
            hint="Use one of the two.",
        )
    return "json"
