"""Compare models with their snapshot files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect import batch, inspection
from vlm_inspect.answers import inspect_requests
from vlm_inspect.compare import compare
from vlm_inspect.difference import Difference
from vlm_inspect.errors import SnapshotError, VlmInspectError
from vlm_inspect.inspection import Taken
from vlm_inspect.ref import ModelIdentity, is_hub_id
from vlm_inspect.requested import Request
from vlm_inspect.sources.options import InspectOptions
from vlm_inspect.storage import snapshots
from vlm_inspect.storage.snapshots import Stored
from vlm_inspect.upkeep import snapshot_model_id, snapshot_name, to_snapshot, write
from vlm_inspect.verdict import Cause, CheckResult

_DEFAULTS = InspectOptions()
_LONGEST_SHOWN = 200


class CheckOutcome(Struct, frozen=True):
    """The result for one model, and the snapshot that its file should hold; None where that is unknown."""

    verdict: CheckResult
    now: Stored | None = None
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
            taken = to_snapshot(case.request, batch.unwrap(outcome))
            yield from _checked(case, taken, options, latest=latest)
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


def _on_the_hub(stored: Stored, path: Path) -> ModelIdentity:
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


def _pinned(stored: Stored) -> str | None:
    return stored.snapshot.architecture.model.revision


def _checked(case: _Case, taken: Taken, options: InspectOptions, *, latest: bool) -> Iterator[CheckOutcome]:
    """Compare the file with the model at the pinned commit; with `latest`, then with the newest one."""
    if not case.path.is_file():
        yield CheckOutcome(CheckResult(case.model, case.path.name, "missing"), taken.stored, taken.notes)
        return
    stored = snapshots.read(case.path)
    now = Stored(taken.snapshot, stored.follows)
    yield _compare(case.path, stored, now, taken.notes)
    if latest and _pinned(stored) is not None:
        newest = inspection.take(case.request.reference, revision=case.revision, options=options)
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
    path: Path, before: Stored, after: Stored, notes: tuple[str, ...], cause: Cause | None = None
) -> CheckOutcome:
    model = after.snapshot.architecture.model.id
    missing = after.snapshot.architecture.missing_modules
    if (
        missing and not before.snapshot.architecture.missing_modules
    ):  # do not replace what the file knows by unknowns
        modules = ", ".join(f"{part} {why}" for part, why in missing.items())
        return CheckOutcome(
            CheckResult(model, path.name, "failed", message=f"not everything was built: {modules}")
        )
    difference = compare(before.snapshot, after.snapshot)
    if difference.empty:
        return CheckOutcome(CheckResult(model, path.name, "same", difference=difference), after, notes)
    verdict = CheckResult(model, path.name, "different", cause or _cause(difference), difference)
    return CheckOutcome(verdict, after, notes)


def _cause(difference: Difference) -> Cause:
    before, after = difference.versions_before, difference.versions_after
    return "library" if before.get("transformers") != after.get("transformers") else "unknown"
