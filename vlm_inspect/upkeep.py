"""Keeping snapshot files: one per model, written as the models are now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from vlm_inspect import batch, inspection, snapshot_files
from vlm_inspect.answers import inspected
from vlm_inspect.documents import write_atomically
from vlm_inspect.errors import SnapshotError, VlmInspectError
from vlm_inspect.inspection import Inspection, Taken
from vlm_inspect.ref import ModelRef
from vlm_inspect.requested import Request
from vlm_inspect.settings import Settings
from vlm_inspect.snapshot_files import Stored
from vlm_inspect.sources.options import InspectOptions

_DEFAULTS = InspectOptions()
_LONGEST_SHOWN = 200


class Written(Struct, frozen=True):
    """A snapshot that was taken."""

    model: str
    file: Path
    changed: bool = False
    error: VlmInspectError | None = None
    notes: tuple[str, ...] = ()


def folder_of(settings: Settings | None) -> Path:
    """The snapshot folder: the configuration's, or `snapshots` in the working directory."""
    return settings.snapshots if settings is not None else Path("snapshots")


def snapshot(
    requests: Sequence[Request], folder: Path, options: InspectOptions = _DEFAULTS
) -> Iterator[Written]:
    """Write a file per model, one by one; what cannot be answered leaves its file as it was.

    Raises SnapshotError where two of the models would be written to one file.
    """
    _refuse_shared_files(requests)
    for outcome in inspected(requests, options, with_tree=True):
        name = named(outcome.asked)
        try:
            yield _write(outcome.asked, batch.unwrapped(outcome), folder)
        except VlmInspectError as error:
            yield Written(outcome.asked.name, folder / snapshot_files.file_name(name), error=error)


def prune(folder: Path, kept: Sequence[Path]) -> list[Path]:
    """Remove the snapshot files of a folder that are not kept; other files stay."""
    names = {path.name for path in kept}
    surplus = [path for path in snapshot_files.files_in(folder) if path.name not in names and _is_ours(path)]
    for path in surplus:
        path.unlink()
    return surplus


def _write(request: Request, answer: Inspection, folder: Path) -> Written:
    taken = taken_of(request, answer)
    name = named(request)
    path = folder / snapshot_files.file_name(name)
    return Written(name, path, changed=write(taken.stored, path), notes=taken.notes)


def write(stored: Stored, path: Path) -> bool:
    """Write a snapshot file, at once or not at all; whether that changed it. Makes its folder."""
    _make(path.parent)
    return write_atomically(path, snapshot_files.to_text(stored).encode())


def taken_of(request: Request, answer: Inspection) -> Taken:
    """An answer as it is compared and kept."""
    return inspection.taken(ModelRef.parse(request.reference, request.revision), answer)


def _refuse_shared_files(requests: Sequence[Request]) -> None:
    owners: dict[str, str] = {}
    for request in requests:
        file = snapshot_files.file_name(named(request))
        if owners.setdefault(file, request.reference) != request.reference:
            raise SnapshotError(
                f"{owners[file]} and {request.reference} would both be written to {file}.",
                hint="List folders of one name in the configuration: each path there has a file of its own.",
            )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SnapshotError(f"{folder}: {error.strerror or error}", hint="Choose another folder.") from error


def named(request: Request) -> str:
    """What a model's file is named after: its id with the branch or tag that was asked for.

    Of a folder it is what the configuration calls it, or else the folder's name: where the folder lies
    is this machine's business.
    """
    ref = ModelRef.parse(request.reference, request.revision)
    if ref.path is not None:
        return (
            request.configured
            or (ref.path.parent if ref.path.name == "config.json" else ref.path).resolve().name
        )
    return f"{ref.name}@{ref.revision}" if ref.revision else ref.name


def _is_ours(path: Path) -> bool:
    """Whether a file of the folder is a snapshot, and not another tool's JSON."""
    return model_in(path) is not None


def model_in(path: Path) -> str | None:
    """The model of a snapshot file, or the file's name where it is damaged; None of any other JSON."""
    try:
        stored = snapshot_files.read_if_snapshot(path)
    except VlmInspectError:
        return path.stem
    return stored.snapshot.architecture.model.id if stored is not None else None
