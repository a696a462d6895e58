"""Write snapshot files, one per model, and check models against them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.app import batch, pipeline
from vlm_inspect.app.pipeline import Inspection, SnapshotResult
from vlm_inspect.app.requests import Request, inspect_requests
from vlm_inspect.compare.compare import compare
from vlm_inspect.core.architecture import Architecture
from vlm_inspect.core.difference import Difference
from vlm_inspect.core.errors import SnapshotError, VlmInspectError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef, is_hub_id
from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.core.options import Builder, InspectOptions
from vlm_inspect.core.snapshot import Cause, CheckResult, Snapshot
from vlm_inspect.settings import Settings
from vlm_inspect.storage import snapshots
from vlm_inspect.storage.atomic import write_file
from vlm_inspect.storage.snapshots import SnapshotFile

_DEFAULTS = InspectOptions()
_LONGEST_SHOWN = 200
_BUILT: Collection[Builder] = ("transformers", "remote-code")
_EVIDENCE_NOTE = (
    "{}: the checkpoint decided whether the head is tied in the snapshot file or now, not in both; "
    "the two were compared with the head as in the file."
)


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


def snapshot(requests: Sequence[Request], folder: Path, options: InspectOptions = _DEFAULTS) -> Iterator[Written]:
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


def prune(folder: Path, current: Sequence[Path]) -> list[Path]:
    """Remove the snapshot files of a folder except those of `current` models."""
    names = {path.name for path in current}
    orphaned = [path for path in snapshots.files_in(folder) if path.name not in names and _is_snapshot(path)]
    for path in orphaned:
        path.unlink()
    return orphaned


def _write(request: Request, answer: Inspection, folder: Path) -> Written:
    """Write a file, unless it holds more than the answer: it is then unchanged, or SnapshotError is raised."""
    result = to_snapshot(request, answer)
    name = snapshot_name(request)
    path = folder / snapshots.file_name(name)
    existing = _read_existing(path)
    if existing is not None:
        _refuse_poorer(existing.architecture, answer, path)
        before, after = existing.architecture, answer.architecture
        is_same_class = before.model_class == after.model_class  # else it is another model now
        if is_same_class and before.parameters.uncertain is None and after.parameters.uncertain:
            same = _with_evidence_of(existing, answer)
            if same is None or not compare(existing, Snapshot.of(*same)).empty:
                raise SnapshotError(
                    f"{path.name} holds ties that the checkpoint decided, and its tensors are not at hand now.",
                    hint="Run it with access to the Hub or the weights, or remove the file first.",
                    model=name,
                )
            return Written(name, path, notes=(*result.notes, _EVIDENCE_NOTE.format(name)))
    return Written(name, path, changed=write(result.stored, path), notes=result.notes)


def _read_existing(path: Path) -> Snapshot | None:
    """The snapshot of a file that is overwritten; None if there is none, or it is damaged."""
    try:
        return snapshots.read(path).snapshot if path.is_file() else None
    except VlmInspectError:
        return None


def _refuse_poorer(existing: Architecture, answer: Inspection, path: Path) -> None:
    """Raise SnapshotError if the file holds a class that was built, and now nothing was built."""
    now = answer.architecture
    if existing.builder in _BUILT and now.builder not in _BUILT:
        raise SnapshotError(
            f"{path.name} holds {existing.model_class}, which was built; now the class is not built: "
            f"{answer.no_tree or 'only the headers of the checkpoint were read.'}",
            hint="Install what the class needs (vlm-inspect doctor), or remove the file first.",
            model=now.model.id,
        )


def _with_evidence_of(before: Snapshot, answer: Inspection) -> tuple[Architecture, ModuleTree] | None:
    """An answer with the head tied as in a snapshot, if a checkpoint decided only one of the two."""
    if answer.tree is None:
        return None
    from vlm_inspect.app.ties import with_evidence_of  # describing a model again takes packages

    return with_evidence_of(before.architecture, answer.architecture, answer.tree)


def write(stored: SnapshotFile, path: Path) -> bool:
    """Write a snapshot file atomically, and its folder. Returns whether the file changed."""
    _make(path.parent)
    return write_file(path, snapshots.to_text(stored).encode())


def to_snapshot(request: Request, answer: Inspection) -> SnapshotResult:
    """A result as a snapshot."""
    return pipeline.snapshot_result(ModelRef.parse(request.reference, request.revision), answer)


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
        folder = ref.path.parent if ref.path.name == "config.json" else ref.path
        try:
            return request.configured_id or folder.resolve().name
        except ValueError:  # no file can have this name; inspecting it raises the error
            return folder.name
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


class CheckOutcome(Struct, frozen=True):
    """The result for one model, and the snapshot that its file should hold; None where that is unknown."""

    verdict: CheckResult
    now: SnapshotFile | None = None
    notes: tuple[str, ...] = ()


def check(
    requests: Sequence[Request] | None,
    folder: Path,
    options: InspectOptions = _DEFAULTS,
    *,
    latest: bool = False,
) -> Iterator[CheckOutcome]:
    """Compare each model with its file, one by one.

    `requests` are the configured models. If it is None, every snapshot file of the folder is checked. With
    `latest`, pinned commits are also compared with the newest of their branch: a model that changed with
    the library and with its repository has a result for each.
    """
    cases = [_case(request, folder) for request in requests or ()]
    if requests is None:
        cases = [_case_of_file(path) for path in snapshots.files_in(folder)]
    to_inspect = [case.request for case in cases if case.error is None]
    outcomes = inspect_requests(to_inspect, options, with_tree=True)
    for case in cases:
        outcome = next(outcomes) if case.error is None else batch.Failed(case.request, case.error)
        try:
            yield from _checked(case, batch.unwrap(outcome), options, latest=latest)
        except VlmInspectError as error:
            message, hint = error.message, error.hint
            yield CheckOutcome(CheckResult(case.model, case.path.name, "failed", message=message, hint=hint))
    yield from _orphaned(folder, {case.path.name for case in cases})


def count(requests: Sequence[Request] | None, folder: Path) -> int:
    """The number of models to check."""
    return len(snapshots.files_in(folder) if requests is None else requests)


def update(checked: Sequence[CheckOutcome], folder: Path) -> list[Path]:
    """Write the files that differ or are missing, and return their paths."""
    written = []
    for each in checked:
        if each.now is not None and each.verdict.status in {"different", "missing"}:
            path = folder / each.verdict.file
            write(each.now, path)
            written.append(path)
    return written


class _Case(Struct, frozen=True):
    """A model and its file. The request is for the pinned commit of the file."""

    model: str
    path: Path
    request: Request
    revision: str | None = None
    """The branch, tag or commit that the model follows."""
    error: VlmInspectError | None = None
    """Why the file cannot be checked."""


def _case(request: Request, folder: Path) -> _Case:
    """A configured model and its file."""
    name = snapshot_name(request)
    path = folder / snapshots.file_name(name)
    try:
        pinned = _pinned(snapshots.read(path)) if path.is_file() else None
    except VlmInspectError as error:
        return _Case(name, path, request, error=error)
    return _Case(name, path, replace(request, revision=pinned or request.revision), request.revision)


def _case_of_file(path: Path) -> _Case:
    """A file without a configured model: the model is looked up by the id in it."""
    try:
        stored = snapshots.read(path)
        identity = _on_the_hub(stored, path)
    except VlmInspectError as error:
        return _Case(path.stem, path, Request(path.stem), error=error)
    request = Request(identity.id, _pinned(stored) or stored.follows)
    return _Case(path.stem, path, request, stored.follows)


def _on_the_hub(stored: SnapshotFile, path: Path) -> ModelIdentity:
    """The model of a snapshot. Raises SnapshotError if it is not a model on the Hub."""
    identity = stored.snapshot.architecture.model
    if identity.source == "local":
        raise SnapshotError(
            f"{path.name}: {identity.id} was a folder, and a snapshot holds no paths.",
            hint="Name the folder as a model in the configuration.",
            model=identity.id,
        )
    if not is_hub_id(identity.id):  # a snapshot file must not choose a path that is read on this machine
        raise SnapshotError(
            f"{path.name}: {identity.id[:_LONGEST_SHOWN]!r} is no model on the Hub.",
            hint="Write it again: vlm-inspect snapshot MODEL",
        )
    return identity


def _pinned(stored: SnapshotFile) -> str | None:
    return stored.snapshot.architecture.model.revision


def _checked(case: _Case, answer: Inspection, options: InspectOptions, *, latest: bool) -> Iterator[CheckOutcome]:
    """Compare the file with the model at the pinned commit; with `latest`, then with the newest one."""
    taken = to_snapshot(case.request, answer)
    if not case.path.is_file():
        yield CheckOutcome(CheckResult(case.model, case.path.name, "missing"), taken.stored, taken.notes)
        return
    stored = snapshots.read(case.path)
    _refuse_poorer(stored.snapshot.architecture, answer, case.path)
    now = SnapshotFile(taken.snapshot, stored.follows)
    same = _with_evidence_of(stored.snapshot, answer)
    if same is None:
        yield _compare(case.path, stored, now, taken.notes)
    else:
        like_stored = SnapshotFile(Snapshot.of(*same), stored.follows)
        outcome = _compare(case.path, stored, like_stored, (*taken.notes, _EVIDENCE_NOTE.format(case.model)))
        is_certain = answer.architecture.parameters.uncertain is None
        yield replace(outcome, now=now if is_certain and outcome.now else outcome.now)
    if latest and _pinned(stored) is not None:
        newest = pipeline.take_snapshot(case.request.reference, revision=case.revision, options=options)
        newer = _compare(case.path, now, newest.stored, newest.notes, cause="repository")
        if newer.verdict.status == "different":
            yield newer


def _orphaned(folder: Path, seen: Collection[str]) -> Iterator[CheckOutcome]:
    """Files whose models are no longer configured."""
    for path in snapshots.files_in(folder):
        model = snapshot_model_id(path) if path.name not in seen else None
        if model is not None:
            yield CheckOutcome(CheckResult(model, path.name, "orphaned"))


def _compare(
    path: Path, before: SnapshotFile, after: SnapshotFile, notes: tuple[str, ...], cause: Cause | None = None
) -> CheckOutcome:
    model = after.snapshot.architecture.model.id
    missing = after.snapshot.architecture.missing_modules
    # a value in the file must not be compared with, or replaced by, an unknown one
    if missing and not before.snapshot.architecture.missing_modules:
        modules = ", ".join(f"{part} {why}" for part, why in missing.items())
        return CheckOutcome(CheckResult(model, path.name, "failed", message=f"not everything was built: {modules}"))
    difference = compare(before.snapshot, after.snapshot)
    if difference.empty:
        return CheckOutcome(CheckResult(model, path.name, "same", difference=difference), after, notes)
    verdict = CheckResult(model, path.name, "different", cause or _cause(difference), difference)
    return CheckOutcome(verdict, after, notes)


def _cause(difference: Difference) -> Cause:
    before, after = difference.versions_before, difference.versions_after
    return "library" if before.get("transformers") != after.get("transformers") else "unknown"
