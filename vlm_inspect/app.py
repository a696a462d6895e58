"""What vlm-inspect does, as straight pipelines: source → tree → anatomy → table → text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_inspect import batch, sources
from vlm_inspect.architecture import Architecture
from vlm_inspect.asking import Asking
from vlm_inspect.builder import Builder
from vlm_inspect.errors import InvalidReferenceError
from vlm_inspect.ref import ModelIdentity, ModelRef
from vlm_inspect.render.rows import Failure, Row
from vlm_inspect.settings import (
    FactValue,
    ModelEntry,
    Settings,
    TableEntry,
    Vocabulary,
    find_settings,
    load_settings,
)
from vlm_inspect.sources import catalogue

if TYPE_CHECKING:  # what only some of the pipelines use is imported where they use it
    from vlm_inspect.difference import Difference
    from vlm_inspect.documents import Document
    from vlm_inspect.snapshot import Snapshot
    from vlm_inspect.snapshot_files import Stored
    from vlm_inspect.tree import ModuleTree

Key = tuple[str, str | None, str | None]
"""Reference, revision and alias: what tells one row of a table from another."""

_DEFAULTS = Asking()


# --- one model -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inspection:
    """One model's answer: its record, and the tree where one was built."""

    architecture: Architecture
    tree: ModuleTree | None = None
    notes: tuple[str, ...] = ()
    """What the source had to say: the Hub was not reached …"""
    no_tree: str = ""
    """Why there is none."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A model as it would be kept, and what its source had to say."""

    stored: Stored
    notes: tuple[str, ...] = ()

    @property
    def snapshot(self) -> Snapshot:
        """What of it is compared."""
        return self.stored.snapshot


def inspect(  # noqa: PLR0913 - the options of the command, by name
    model: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    builder: Builder | None = None,
    trust_remote_code: bool = False,
) -> Architecture:
    """What a model is made of. `model` is `org/name`, `org/name@revision`, a folder or a config.json.

    `token`, `cache_dir` and `offline` are as on the command line: without them, as huggingface_hub's
    environment says. `builder` and `trust_remote_code` are as there, too. Raises VlmInspectError: its
    message says what happened, its hint what to do.
    """
    options = Asking(token, cache_dir, offline, builder=builder, trust_remote_code=trust_remote_code)
    return examine(model, revision=revision, options=options).architecture


def diff(
    before: str,
    after: str,
    *,
    token: str | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
) -> Difference:
    """What is not the same in two models, revisions (`org/name@a`), folders or snapshot files.

    Raises VlmInspectError where one of them cannot be answered.
    """
    from vlm_inspect.compare import compare

    options = Asking(token=token, cache_dir=cache_dir, offline=offline)
    return compare(take(before, options=options).snapshot, take(after, options=options).snapshot)


def examine(model: str, *, revision: str | None = None, options: Asking = _DEFAULTS) -> Inspection:
    """As `inspect`, with the module tree beside the record. A snapshot file is answered as it is."""
    ref = ModelRef.parse(model, revision)
    stored = _read_if_snapshot(ref.path) if ref.path is not None else None
    if stored is not None:
        return _from_snapshot(stored.snapshot)
    from vlm_inspect import builders
    from vlm_inspect.anatomy import describe, describe_config
    from vlm_inspect.build.missing_packages import note

    checkpoint = sources.load(ref, options)
    built = builders.build(checkpoint, ref, options)
    notes = (*checkpoint.notes, *built.notes)
    if isinstance(built, builders.NotBuilt):
        return Inspection(describe_config(checkpoint, built.why), None, notes, built.why.message)
    unbuilt = tuple(note(path, why) for path, why in built.tree.unbuilt.items())
    architecture = describe(built.tree, checkpoint.identity, built.builder)
    return Inspection(architecture, built.tree, (*notes, *unbuilt))


def take(model: str, *, revision: str | None = None, options: Asking = _DEFAULTS) -> Taken:
    """A model as it is compared and kept."""
    from vlm_inspect.snapshot import Snapshot
    from vlm_inspect.snapshot_files import Stored

    inspection = examine(model, revision=revision, options=options)
    ref = ModelRef.parse(model, revision)
    follows = None if ref.is_commit else ref.revision
    snapshot = Snapshot.of(inspection.architecture, inspection.tree)
    return Taken(Stored(snapshot, follows), inspection.notes)


def _read_if_snapshot(path: Path) -> Stored | None:
    from vlm_inspect.snapshot_files import read_if_snapshot

    return read_if_snapshot(path)


def _from_snapshot(snapshot: Snapshot) -> Inspection:
    from vlm_inspect.tree import ModuleTree

    record = snapshot.architecture
    architecture = replace(record, model=replace(record.model, source="snapshot"))
    if snapshot.modules is None:
        return Inspection(architecture, no_tree="the snapshot file holds none.")
    tree = ModuleTree(
        snapshot.modules,
        record.parameters.ties,
        notes=record.notes,
        unbuilt=record.unbuilt,
        versions=record.versions,
    )
    return Inspection(architecture, tree)


# --- many models, as the rows of tables ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """One model of a table: what to look up, what the user calls it, and what the user says of it."""

    reference: str
    revision: str | None = None
    alias: str | None = None
    facts: Mapping[str, FactValue] = field(default_factory=dict)
    configured: str | None = None
    """The id under which the configuration lists it; a path there is relative to the configuration."""

    @property
    def name(self) -> str:
        """What it is called before it is read: never more of a path than the user wrote."""
        return self.alias or self.configured or self.reference.partition("@")[0]

    @property
    def key(self) -> Key:
        """Two requests with one key have one answer."""
        return self.reference, self.revision, self.alias


@dataclass(frozen=True, slots=True)
class Answered:
    """A row of a table, and what the source of its model had to say."""

    row: Row
    notes: tuple[str, ...] = ()


def settings_for(config: Path | None) -> Settings | None:
    """The configuration at a path, or the nearest one upward; None where there is none."""
    return load_settings(config, _vocabulary) if config else find_settings(Path(), _vocabulary)


def _vocabulary() -> Vocabulary:
    from vlm_inspect.render.columns import KINDS, column_ids
    from vlm_inspect.render.facts import FACT_KEYS

    return Vocabulary(FACT_KEYS, dict.fromkeys(KINDS, column_ids()))


def requests_for(
    models: Sequence[str], settings: Settings | None, revision: str | None = None
) -> list[Request]:
    """The models named, as the configuration knows them; without any, all of it, or of the catalogue.

    Raises InvalidReferenceError for a name that can be none, before any model is looked up.
    """
    if models:
        return [_request(name, settings, revision) for name in models]
    if revision is not None:
        raise InvalidReferenceError(
            "a revision is one model's, and no model is named.",
            hint=f"Name the model: org/name@{revision}",
        )
    configured = configured_models(settings)
    if settings is not None and configured:
        return [_configured(entry, settings) for entry in configured]
    return [_request(name, None, revision) for name in catalogue.names()]


def configured_models(settings: Settings | None) -> list[ModelEntry]:
    """The models of the configuration; where it lists none, those that its tables name, each once."""
    if settings is None:
        return []
    if settings.models:
        return list(settings.models)
    named = [entry for table in settings.tables.values() for entry in settings.models_of(table)]
    return list({entry.pinned: entry for entry in named}.values())


def answers(requests: Iterable[Request], options: Asking = _DEFAULTS) -> Iterator[Answered]:
    """The rows of a table, one by one; a model that cannot be answered says why in its row."""
    for outcome in batch.run(requests, partial(_answer, options=options)):
        yield outcome.answer if isinstance(outcome, batch.Inspected) else _failed(outcome)


def _answer(request: Request, options: Asking) -> Answered:
    inspection = examine(request.reference, revision=request.revision, options=options)
    known = inspection.architecture.model.id
    row = Row(
        name=request.alias or known,
        architecture=inspection.architecture,
        facts={**catalogue.facts(known), **request.facts},
    )
    return Answered(row, inspection.notes)


def _failed(outcome: batch.Failed[Request]) -> Answered:
    request = outcome.asked
    model = ModelIdentity(request.configured or request.reference.partition("@")[0])
    return Answered(Row(request.name, error=_failure(outcome), facts=request.facts, model=model))


def _failure(outcome: batch.Failed[Request]) -> Failure:
    """Why, with the model as the user wrote it: where a configuration lies is this machine's business."""
    told, request = Failure.of(outcome.error), outcome.asked
    written = request.configured or request.reference
    return replace(told, message=told.message.replace(request.reference, written))


def _request(name: str, settings: Settings | None, revision: str | None) -> Request:
    entry = settings.model(name) if settings is not None else None
    if entry is None or settings is None:
        ModelRef.parse(name, revision)
        return Request(name, revision)
    configured = _configured(entry, settings)
    return replace(configured, revision=revision or entry.revision)


def _configured(entry: ModelEntry, settings: Settings) -> Request:
    return Request(entry.reference(settings.root), entry.revision, entry.alias, entry.facts, entry.id)


# --- tables in files -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """A marked block of a file: its name, and the table that belongs into it."""

    name: str
    kind: str
    requests: tuple[Request, ...]
    columns: tuple[str, ...] = ()
    root: Path | None = None
    """The configuration's folder."""


def blocks_of(documents: Sequence[Document], settings: Settings | None) -> dict[str, Block]:
    """The configured tables that the documents ask for; without any configured, one of each kind."""
    from vlm_inspect.documents import block_names

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
    from vlm_inspect.documents import block_names

    wanted = block_names(document.text, name=str(document.path))
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
    from vlm_inspect.render.columns import KINDS

    return {kind: TableEntry(kind, kind) for kind in KINDS}


def _block(entry: TableEntry, settings: Settings | None) -> Block:
    if settings is None or not (settings.models or entry.models):
        requests = requests_for((), None)
    else:
        requests = [_configured(model, settings) for model in settings.models_of(entry)]
    root = settings.root if settings is not None else None
    return Block(entry.name, entry.kind, tuple(requests), entry.columns, root)


def _from_root(path: Path, root: Path | None) -> str:
    """The file as it is named from the configuration's folder, whoever regenerates it from where."""
    resolved, folder = path.resolve(), root.resolve() if root is not None else None
    inside = folder is not None and resolved.is_relative_to(folder)
    name = resolved.relative_to(folder).as_posix() if folder and inside else path.name
    return "FILE" if "--" in name or not name.isprintable() else name  # `--` would end the comment


def _generated(document: Document, block: Block, rows: Sequence[Row]) -> str:
    from vlm_inspect.render import render
    from vlm_inspect.render.columns import KINDS
    from vlm_inspect.render.table import build_table

    kind = next(kind for kind in KINDS if kind == block.kind)
    table = build_table(kind, rows, block.columns or None)
    file = _from_root(document.path, block.root)
    remark = f"<!-- Generated; to regenerate: vlm-inspect table --write {file} -->"
    return f"{remark}\n\n{render(table, 'markdown')}"


__all__ = [
    "Answered",
    "Block",
    "Inspection",
    "Key",
    "Request",
    "Taken",
    "answers",
    "blocks_of",
    "configured_files",
    "configured_models",
    "diff",
    "examine",
    "inspect",
    "requests_for",
    "requests_of",
    "settings_for",
    "take",
    "updated",
]
