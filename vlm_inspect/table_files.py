"""Tables in the marked blocks of files: which there are, and what belongs into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from vlm_inspect.errors import DocumentError
from vlm_inspect.render import render
from vlm_inspect.render.columns import KINDS
from vlm_inspect.render.rows import Row
from vlm_inspect.render.table import build_table
from vlm_inspect.requested import Key, Request, request_for, requests_for
from vlm_inspect.settings import Settings, TableEntry
from vlm_inspect.storage.blocks import Document, block_names


class Block(Struct, frozen=True):
    """A marked block of a file: its name, and the table that belongs into it."""

    name: str
    kind: str
    requests: tuple[Request, ...]
    columns: tuple[str, ...] = ()
    root: Path | None = None
    """The configuration's folder."""


def blocks_of(documents: Sequence[Document], settings: Settings | None) -> dict[str, Block]:
    """The configured tables that the documents ask for; without any configured, one of each kind."""
    known = {name: _block(entry, settings) for name, entry in _tables(settings).items()}
    wanted = {name for each in documents for name in block_names(each.text, name=str(each.path))}
    for document in documents:  # an unknown or missing marker is told before a model is built
        document.updated(dict.fromkeys(known, ""))
    return {name: block for name, block in known.items() if name in wanted}


def requests_of(blocks: Mapping[str, Block]) -> list[Request]:
    """The models of all blocks, each once."""
    return list({request.key: request for block in blocks.values() for request in block.requests}.values())


def updated(document: Document, blocks: Mapping[str, Block], rows: Mapping[Key, Row]) -> str:
    """The document's text with its blocks regenerated; `rows` by the keys of the blocks' requests."""
    wanted = block_names(document.text, name=str(document.path))
    added = [name for name in wanted if name not in blocks]
    if added:
        raise DocumentError(
            f"{document.path} got the block {added[0]!r} meanwhile; nothing was changed.",
            hint="Run the same command again.",
        )
    texts = {
        name: _generated(document, block, [rows[request.key] for request in block.requests])
        for name, block in blocks.items()
        if name in wanted
    }
    return document.updated(texts)


def configured_files(settings: Settings | None) -> list[Path]:
    """The files whose blocks the configuration says to regenerate."""
    return [_as_seen_from_here(path) for path in settings.files] if settings is not None else []


def _as_seen_from_here(path: Path) -> Path:
    """Relative where it lies below the working directory, as a user would write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _tables(settings: Settings | None) -> Mapping[str, TableEntry]:
    if settings is not None and settings.tables:
        return settings.tables
    return {kind: TableEntry(kind, kind) for kind in KINDS}


def _block(entry: TableEntry, settings: Settings | None) -> Block:
    if settings is None or not (settings.models or entry.models):
        requests = requests_for((), None)
    else:
        requests = [request_for(model, settings) for model in settings.models_of(entry)]
    root = settings.root if settings is not None else None
    return Block(entry.name, entry.kind, tuple(requests), entry.columns, root)


def _from_root(path: Path, root: Path | None) -> str:
    """The file as it is named from the configuration's folder, whoever regenerates it from where."""
    resolved, folder = path.resolve(), root.resolve() if root is not None else None
    inside = folder is not None and resolved.is_relative_to(folder)
    name = resolved.relative_to(folder).as_posix() if folder and inside else path.name
    return "FILE" if "--" in name or not name.isprintable() else name  # `--` would end the comment


def _generated(document: Document, block: Block, rows: Sequence[Row]) -> str:
    kind = next(kind for kind in KINDS if kind == block.kind)
    table = build_table(kind, rows, block.columns or None)
    file = _from_root(document.path, block.root)
    remark = f"<!-- Generated; to regenerate: vlm-inspect table --write {file} -->"
    return f"{remark}\n\n{render(table, 'markdown')}"
