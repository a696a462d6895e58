"""What the program answers in one environment, as files: `python -m tools.support.answers FOLDER`.

Everything is asked offline, in one process, through the command line: the help of each command; table, cards
and trees of the catalogue's models, and their snapshots; a snapshot of every multimodal type.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.support.survey import ROOT, config_of, mapped_types

Question = tuple[str, tuple[str, ...]]
"""The name of an answer's file, and the command line."""


def ask(folder: Path) -> None:
    """Write every answer into the folder; a type that is not answered is a line in the last of them."""
    from typer.testing import CliRunner

    from vlm_inspect.cli.main import program

    for name, words in _questions(folder):
        done = CliRunner().invoke(program(), words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        (folder / name).write_bytes(done.stdout_bytes + done.stderr_bytes + b"exit %d\n" % done.exit_code)


def _questions(folder: Path) -> Iterator[Question]:
    from vlm_inspect.cli.main import COMMANDS
    from vlm_inspect.sources import catalogue

    yield "help.txt", ("--help",)
    for command in COMMANDS:
        yield f"help-{command}.txt", (command, "--help")
    yield "table.json", ("table", "--format", "json", "--offline")
    for model in catalogue.names():
        name = model.replace("/", "--")
        yield f"show-{name}.txt", ("show", model, "--offline")
        yield f"tree-{name}.txt", ("tree", model, "--offline")
    models = folder / "models"
    yield "snapshot.txt", ("snapshot", *catalogue.names(), "--offline", "--folder", str(models))
    types, listed = folder / "types", _types(folder.with_name(f"{folder.name}-configs"))
    yield "types.txt", ("snapshot", "--offline", "--config", str(listed), "--folder", str(types))


def _types(folder: Path) -> Path:
    """A configuration that names a folder with a config.json for each multimodal type."""
    lines = []
    for model_type, class_name in mapped_types().items():
        place = folder / model_type
        place.mkdir(parents=True, exist_ok=True)
        config = config_of(model_type, class_name)
        (place / "config.json").write_text(json.dumps(config, default=str), encoding="utf-8")
        lines += ["[[models]]", f'id = "./{model_type}"']
    listed = folder / "vlm-inspect.toml"
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return listed


def main() -> None:
    """Ask the package that is installed, and no other."""
    import vlm_inspect

    if Path(vlm_inspect.__file__).parent == ROOT / "vlm_inspect":
        raise SystemExit(f"{vlm_inspect.__file__} is not the installed package")
    logging.disable(logging.CRITICAL)  # what transformers logs of a default configuration
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    ask(folder)


if __name__ == "__main__":
    main()
