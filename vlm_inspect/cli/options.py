"""The options that several commands share, each written once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from vlm_inspect.builder import Builder
from vlm_inspect.sources.options import InspectOptions

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="org/name, org/name@revision, a folder with a config.json, or a config.json."
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL",
        help="Models; without any, those of the configuration, or else those of the built-in catalogue.",
    ),
]


class Format(str, Enum):
    """How an answer is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"
    CSV = "csv"
    LATEX = "latex"
    HTML = "html"


FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format", help="terminal where the output is one, markdown elsewhere.", show_default=False
    ),
]
Revision = Annotated[
    str | None, typer.Option("--revision", help="Branch, tag or commit on the Hub.", show_default=False)
]
Token = Annotated[
    str | None,
    typer.Option("--token", help="Hub token; without it HF_TOKEN or `hf auth login`.", show_default=False),
]
CacheDir = Annotated[
    Path | None, typer.Option("--cache-dir", help="The Hub's cache, if not HF_HUB_CACHE.", show_default=False)
]
Offline = Annotated[bool, typer.Option("--offline", help="Ask nobody: the Hub's cache, then the catalogue.")]
OutputFile = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Write there, not to stdout.", show_default=False),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes; errors still.")]
Debug = Annotated[bool, typer.Option("--debug", help="Tracebacks of bugs.")]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        metavar="N",
        help="Build in N processes. Each takes seconds to start: for dozens of models.",
    ),
]
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Build anew: give no answer that was given before, and keep none."),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="pyproject.toml or vlm-inspect.toml; without it, the nearest upward.",
        show_default=False,
    ),
]


BuilderOption = Annotated[
    Builder | None,
    typer.Option(
        "--builder",
        help="Only this one: transformers' class, the repo's own code, the checkpoint's headers, or "
        "config.json alone. Without it, the first of them that can.",
        show_default=False,
    ),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Where transformers has no class, run the repo's own code, isolated: no network, no files, "
        "limits on time and memory (docs/security.md). Not a perfect sandbox.",
    ),
]


def asking(
    token: str | None,
    cache_dir: Path | None,
    builder: Builder | None,
    *,
    offline: bool,
    trusted: bool,
    no_cache: bool,
    jobs: int = 1,
) -> InspectOptions:
    """What these options say together."""
    return InspectOptions(
        token=token,
        cache_dir=cache_dir,
        offline=offline,
        builder=builder,
        trust_remote_code=trusted,
        use_cache=not no_cache,
        jobs=jobs,
    )
