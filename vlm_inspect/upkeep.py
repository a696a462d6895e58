"""Keeping snapshot files: writing them, and telling whether the models are still what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vlm_inspect import batch, inspection, snapshot_files
from vlm_inspect.answers import Request
from vlm_inspect.asking import Asking
from vlm_inspect.compare import compare
from vlm_inspect.difference import Difference
from vlm_inspect.documents import write_atomically
from vlm_inspect.errors import SnapshotError, VlmInspectError
from vlm_inspect.ref import ModelRef, is_hub_id
from vlm_inspect.settings import Settings
from vlm_inspect.snapshot_files import Stored
from vlm_inspect.verdict import Cause, Verdict

_DEFAULTS = Asking()
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Written:
    """A snapshot that was taken."""

    model: str
    file: Path
    changed: bool = False
    error: VlmInspectError | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """A verdict, and what the file should say; None where that could not be told."""

    verdict: Verdict
    now: Stored | None = None
    notes: tuple[str, ...] = ()


def folder_of(settings: Settings | None) -> Path:
    """The snapshot folder: the configuration's, or `snapshots` in the working directory."""
    return settings.snapshots if settings is not None else Path("snapshots")


def snapshot(requests: Sequence[Request], folder: Path, options: Asking = _DEFAULTS) -> Iterator[Written]:
    """Write a file per model, one by one; what cannot be answered leaves its file as it was.

    Raises SnapshotError where two of the models would be written to one file.
    """
    _refuse_shared_files(requests)
    for outcome in batch.run(requests, partial(_write, folder=folder, options=options)):
        if isinstance(outcome, batch.Inspected):
            yield outcome.answer
        else:
            name = outcome.asked.name
            yield Written(name, folder / snapshot_files.file_name(name), error=outcome.error)


def prune(folder: Path, kept: Sequence[Path]) -> list[Path]:
    """Remove the snapshot files of a folder that are not kept; other files stay."""
    names = {path.name for path in kept}
    surplus = [path for path in snapshot_files.files_in(folder) if path.name not in names and _is_ours(path)]
    for path in surplus:
        path.unlink()
    return surplus


def check(
    requests: Sequence[Request] | None,
    folder: Path,
    options: Asking = _DEFAULTS,
    *,
    latest: bool = False,
) -> Iterator[Checked]:
    """Compare each model with its file, one by one.

    `requests` are the configured models; None where nothing is configured, and every file is checked as
    it names its model. With `latest` the pinned commit is also compared with the newest of its branch: a
    model that the library and its repo changed has a verdict for each.
    """
    if requests is None:
        for path in snapshot_files.files_in(folder):
            yield from _guarded(partial(_check_file, path, options, latest=latest), path.stem, path)
        return
    seen = set()
    for request in requests:
        name = _named(request)
        path = folder / snapshot_files.file_name(name)
        seen.add(path.name)
        yield from _guarded(partial(_check_request, request, folder, options, latest=latest), name, path)
    for path in snapshot_files.files_in(folder):
        model = _model_in(path) if path.name not in seen else None
        if model is not None:
            yield Checked(Verdict(model, path.name, "unused"))


def count(requests: Sequence[Request] | None, folder: Path) -> int:
    """How many models a check is about."""
    return len(snapshot_files.files_in(folder) if requests is None else requests)


def update(checked: Sequence[Checked], folder: Path) -> list[Path]:
    """Write the files that differ or are missing as they should be."""
    written = []
    for each in checked:
        if each.now is not None and each.verdict.status in {"different", "missing"}:
            path = folder / each.verdict.file
            _make(folder)
            write_atomically(path, snapshot_files.to_text(each.now).encode())
            written.append(path)
    return written


def _write(request: Request, folder: Path, options: Asking) -> Written:
    taken = inspection.take(request.reference, revision=request.revision, options=options)
    name = _named(request)
    path = folder / snapshot_files.file_name(name)
    _make(folder)
    changed = write_atomically(path, snapshot_files.to_text(taken.stored).encode())
    return Written(name, path, changed=changed, notes=taken.notes)


def _refuse_shared_files(requests: Sequence[Request]) -> None:
    owners: dict[str, str] = {}
    for request in requests:
        file = snapshot_files.file_name(_named(request))
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


def _guarded(checked: Callable[[], Iterator[Checked]], model: str, path: Path) -> Iterator[Checked]:
    """What is checked, or why it could not be."""
    try:
        yield from checked()
    except VlmInspectError as error:
        yield Checked(Verdict(model, path.name, "failed", message=error.message, hint=error.hint))


def _check_request(request: Request, folder: Path, options: Asking, *, latest: bool) -> Iterator[Checked]:
    """A configured model, and the file that is named after it."""
    name = _named(request)
    path = folder / snapshot_files.file_name(name)
    if path.is_file():
        yield from _compared(path, request, options, latest=latest)
        return
    taken = inspection.take(request.reference, revision=request.revision, options=options)
    yield Checked(Verdict(name, path.name, "missing"), taken.stored, taken.notes)


def _check_file(path: Path, options: Asking, *, latest: bool) -> Iterator[Checked]:
    """A file that no configuration knows: its model is looked up by the id in it."""
    stored = snapshot_files.read(path)
    identity = stored.snapshot.architecture.model
    if identity.source == "local":
        raise SnapshotError(
            f"{path.name}: {identity.id} was a folder, and a snapshot holds no paths.",
            hint="Name the folder as a model in the configuration.",
            model=identity.id,
        )
    if not is_hub_id(identity.id):  # whoever wrote the file does not choose what is read on this machine
        raise SnapshotError(
            f"{path.name}: {identity.id[:_LONGEST_SHOWN]!r} is no model on the Hub.",
            hint="Write it again: vlm-inspect snapshot MODEL",
        )
    yield from _compared(path, Request(identity.id, stored.follows), options, latest=latest)


def _compared(path: Path, request: Request, options: Asking, *, latest: bool) -> Iterator[Checked]:
    """The file with the model as it builds now, at its commit; then, if asked, that with the newest."""
    stored = snapshot_files.read(path)
    pinned = stored.snapshot.architecture.model.revision
    taken = inspection.take(request.reference, revision=pinned or request.revision, options=options)
    now = Stored(taken.snapshot, stored.follows)
    yield _judged(path, stored, now, taken.notes)
    if latest and pinned is not None:
        newest = inspection.take(request.reference, revision=request.revision, options=options)
        judged = _judged(path, now, newest.stored, newest.notes, cause="repository")
        if judged.verdict.status == "different":
            yield judged


def _judged(
    path: Path, before: Stored, after: Stored, notes: tuple[str, ...], cause: Cause | None = None
) -> Checked:
    model = after.snapshot.architecture.model.id
    lost = after.snapshot.architecture.unbuilt
    if lost and not before.snapshot.architecture.unbuilt:  # the file knows what is unknown here
        told = ", ".join(f"{part} {why}" for part, why in lost.items())
        return Checked(Verdict(model, path.name, "failed", message=f"not everything was built: {told}"))
    difference = compare(before.snapshot, after.snapshot)
    if difference.empty:
        return Checked(Verdict(model, path.name, "same", difference=difference), after, notes)
    verdict = Verdict(model, path.name, "different", cause or _cause(difference), difference)
    return Checked(verdict, after, notes)


def _cause(difference: Difference) -> Cause:
    before, after = difference.versions_before, difference.versions_after
    return "library" if before.get("transformers") != after.get("transformers") else "unknown"


def _named(request: Request) -> str:
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
    return _model_in(path) is not None


def _model_in(path: Path) -> str | None:
    try:
        stored = snapshot_files.read_if_snapshot(path)
    except VlmInspectError:
        return path.stem
    return stored.snapshot.architecture.model.id if stored is not None else None
