"""Tables in the marked blocks of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from vlm_inspect.app.requests import Key, Request, configured_request, resolve_requests
from vlm_inspect.core.errors import DocumentError
from vlm_inspect.render import render
from vlm_inspect.render.cells import Row
from vlm_inspect.render.columns import KINDS
from vlm_inspect.render.table import build_table
from vlm_inspect.settings import Settings, TableEntry
from vlm_inspect.storage.markdown_blocks import Document, block_names, read_document, update_document

FileState = Literal["regenerated", "up to date", "stale"]


class Block(Struct, frozen=True):
    """A marked block of a file: its name, and the table that belongs into it."""

    name: str
    kind: str
    requests: tuple[Request, ...]
    columns: tuple[str, ...] = ()
    root: Path | None = None
    """The configuration's folder."""


class FilePlan(Struct, frozen=True):
    """The files to write or check, and the blocks of each."""

    blocks: Mapping[Path, tuple[Block, ...]]
    to_write: frozenset[Path]

    @property
    def requests(self) -> list[Request]:
        """The models of all blocks, each once."""
        requests = (each for blocks in self.blocks.values() for block in blocks for each in block.requests)
        return list({request.key: request for request in requests}.values())


def plan_files(to_write: Sequence[Path], to_check: Sequence[Path], settings: Settings | None) -> FilePlan:
    """Read the files and find the configured table of each block; without any configured, one of each kind.

    Raises DocumentError for an unknown or missing marker, before a model is built.
    """
    tables = {name: _block(entry, settings) for name, entry in _tables(settings).items()}
    paths = dict.fromkeys([*to_write, *to_check])
    documents = [read_document(path) for path in paths]
    names = [block_names(each.text, name=str(each.path)) for each in documents]
    for document in documents:
        document.updated(dict.fromkeys(tables, ""))
    blocks = (tuple(tables[name] for name in each) for each in names)
    return FilePlan(dict(zip(paths, blocks, strict=True)), frozenset(to_write))


def update_file(path: Path, plan: FilePlan, rows: Sequence[Row]) -> FileState:
    """Write or check one file of a plan; `rows` are those of the plan's requests, in their order.

    The file is read again: inspecting models takes time, and it may have been edited since.
    """
    by_key = {request.key: row for request, row in zip(plan.requests, rows, strict=True)}

    def text(document: Document) -> str:
        return _updated(document, plan.blocks[path], by_key)

    if path in plan.to_write:
        return "regenerated" if update_document(path, text) else "up to date"
    document = read_document(path)
    return "up to date" if text(document) == document.text else "stale"


def _updated(document: Document, blocks: Sequence[Block], rows: Mapping[Key, Row]) -> str:
    """The document's text with its blocks regenerated."""
    known = {block.name: block for block in blocks}
    names = block_names(document.text, name=str(document.path))
    added = [name for name in names if name not in known]
    if added:
        raise DocumentError(
            f"{document.path} got the block {added[0]!r} while models were inspected; it is unchanged.",
            hint="Run the same command again.",
        )
    texts = {
        name: _generated(document, known[name], [rows[request.key] for request in known[name].requests])
        for name in names
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
        requests = resolve_requests((), None)
    else:
        requests = [configured_request(model, settings) for model in settings.models_of(entry)]
    root = settings.root if settings is not None else None
    return Block(entry.name, entry.kind, tuple(requests), entry.columns, root)


def _from_root(path: Path, root: Path | None) -> str:
    """The path of the file relative to the folder of the configuration."""
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
