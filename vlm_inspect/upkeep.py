"""Write and prune snapshot files, one per model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from vlm_inspect import batch, inspection
from vlm_inspect.answers import inspect_requests
from vlm_inspect.errors import SnapshotError, VlmInspectError
from vlm_inspect.inspection import Inspection, Taken
from vlm_inspect.ref import ModelRef
from vlm_inspect.requested import Request
from vlm_inspect.settings import Settings
from vlm_inspect.sources.options import InspectOptions
from vlm_inspect.storage import snapshots
from vlm_inspect.storage.atomic import write_file
from vlm_inspect.storage.snapshots import Stored

_DEFAULTS = InspectOptions()


class Written(Struct, frozen=True):
    """The outcome of one snapshot."""

    model: str
    file: Path
    changed: bool = False
    error: VlmInspectError | None = None
    notes: tuple[str, ...] = ()


def snapshots_dir(settings: Settings | None) -> Path:
    """The snapshot folder: the configuration's, or `snapshots` in the working directory."""
    return settings.snapshots if settings is not None else Path("snapshots")


def snapshot(
    requests: Sequence[Request], folder: Path, options: InspectOptions = _DEFAULTS
) -> Iterator[Written]:
    """Write a file per model, one by one; a model that fails leaves its file as it was.

    Raises SnapshotError if two of the models would be written to one file.
    """
    _refuse_shared_files(requests)
    for outcome in inspect_requests(requests, options, with_tree=True):
        name = snapshot_name(outcome.model)
        try:
            yield _write(outcome.model, batch.unwrap(outcome), folder)
        except VlmInspectError as error:
            yield Written(outcome.model.name, folder / snapshots.file_name(name), error=error)


def prune(folder: Path, kept: Sequence[Path]) -> list[Path]:
    """Remove the snapshot files of a folder except `kept`; other files stay."""
    names = {path.name for path in kept}
    surplus = [path for path in snapshots.files_in(folder) if path.name not in names and _is_snapshot(path)]
    for path in surplus:
        path.unlink()
    return surplus


def _write(request: Request, answer: Inspection, folder: Path) -> Written:
    taken = to_snapshot(request, answer)
    name = snapshot_name(request)
    path = folder / snapshots.file_name(name)
    return Written(name, path, changed=write(taken.stored, path), notes=taken.notes)


def write(stored: Stored, path: Path) -> bool:
    """Write a snapshot file atomically, and its folder. Returns whether the file changed."""
    _make(path.parent)
    return write_file(path, snapshots.to_text(stored).encode())


def to_snapshot(request: Request, answer: Inspection) -> Taken:
    """A result as a snapshot."""
    return inspection.taken(ModelRef.parse(request.reference, request.revision), answer)


def _refuse_shared_files(requests: Sequence[Request]) -> None:
    owners: dict[str, str] = {}
    for request in requests:
        file = snapshots.file_name(snapshot_name(request))
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


def snapshot_name(request: Request) -> str:
    """The name of a model's file: its id, with the branch or tag of the request.

    For a folder it is the id in the configuration, or the folder's name, never a path of this machine.
    """
    ref = ModelRef.parse(request.reference, request.revision)
    if ref.path is not None:
        return (
            request.configured_id
            or (ref.path.parent if ref.path.name == "config.json" else ref.path).resolve().name
        )
    return f"{ref.name}@{ref.revision}" if ref.revision else ref.name


def _is_snapshot(path: Path) -> bool:
    return snapshot_model_id(path) is not None


def snapshot_model_id(path: Path) -> str | None:
    """The model of a snapshot file, or the file's name if it is damaged; None for any other JSON."""
    try:
        stored = snapshots.read_if_snapshot(path)
    except VlmInspectError:
        return path.stem
    return stored.snapshot.architecture.model.id if stored is not None else None
