"""A whole checkpoint against the model that its configuration builds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from vlm_inspect.core.architecture import Architecture, Component
from vlm_inspect.core.load_report import ComponentLoad, LoadingInfo, LoadReport, Mismatch
from vlm_inspect.core.tensors import TensorHeaders
from vlm_inspect.verification.keys import Names, Tensor, component_of, grouped


def fit_checkpoint(loading: LoadingInfo, headers: TensorHeaders, architecture: Architecture) -> LoadReport:
    """Whether a checkpoint fits, and what of it does not."""
    stored = {tensor.name: tensor.shape for tensor in headers.tensors}
    names = Names(
        {key: path for key, path in loading.paths.items() if path in loading.shapes}, loading.converted
    )
    needed = _needed(loading, stored)
    missing = list(_missing(loading, headers, names))
    absent = {tensor.path for tensor in missing}
    lost = absent | loading.mismatched.keys()
    components = architecture.components
    fitting_keys = [key for key in stored if key not in loading.unexpected]
    misfits = (
        *grouped(missing, needed - absent, components),
        *grouped(list(_mismatched(loading, stored, names)), (), components),
        *grouped(list(_unexpected(loading, stored)), fitting_keys, components),
    )
    fitting = {key for key in stored if loading.paths[key] not in lost}
    return LoadReport(
        model=architecture.model,
        model_class=architecture.model_class,
        subject="checkpoint",
        tensors=len(stored),
        loaded=len(fitting - loading.unexpected - loading.ignored),
        mismatches=_in_order(misfits, components),
        components=tuple(_components(needed, lost, components)),
        renamings=names.renamings(),
        missing_files=_missing_files(headers),
        ignored=len(loading.ignored),
        notes=(*headers.notes, *architecture.notes),
        versions=architecture.versions,
    )


def _needed(loading: LoadingInfo, stored: Mapping[str, object]) -> set[str]:
    """The paths that need a tensor of their own: a tied one only where the checkpoint gives it one."""
    reached = {loading.paths[key] for key in stored}
    return {path for path in loading.shapes if path in reached or path not in loading.tied}


def _missing(loading: LoadingInfo, headers: TensorHeaders, names: Names) -> Iterator[Tensor]:
    """What no tensor came for, and what lies in a file that ends too early for any of it to be read."""
    cut = {file.name for file in headers.files if file.is_cut}
    in_cut = [(tensor.name, tensor.file) for tensor in headers.tensors if tensor.file in cut]
    to_come = {
        loading.paths[key]: (key, f"{file} is not there")
        for file, keys in headers.missing.items()
        for key in keys
    }
    lost = {loading.paths[key]: (key, f"{file} ends too early") for key, file in in_cut}
    for path, shape in loading.shapes.items():
        if path in lost and path not in loading.mismatched:
            key, reason = lost[path]
            yield Tensor("missing", path, key, expected=shape, reason=reason)
        elif path in loading.missing:
            key, reason = to_come.get(path) or (names.key_of(path), "")
            yield Tensor("missing", path, key, expected=shape, reason=reason)


def _mismatched(
    loading: LoadingInfo, stored: Mapping[str, tuple[int, ...]], names: Names
) -> Iterator[Tensor]:
    keys: dict[str, list[str]] = {}
    for key in stored:
        keys.setdefault(loading.paths[key], []).append(key)
    for path in loading.shapes:
        if path in loading.mismatched:
            came, has = loading.mismatched[path]
            own = keys.get(path, [])
            key = own[0] if len(own) == 1 else names.key_of(path)
            reason = "" if came is not None else _apart(len(own))
            yield Tensor("mismatched", path, key, expected=has, stored=came, reason=reason)


def _apart(count: int) -> str:
    return f"its {count} tensors cannot be put together" if count > 1 else "its tensor cannot be converted"


def _unexpected(loading: LoadingInfo, stored: Mapping[str, tuple[int, ...]]) -> Iterator[Tensor]:
    for key, shape in stored.items():
        if key in loading.unexpected:
            yield Tensor("unexpected", loading.paths[key], key, stored=shape)


def _components(
    needed: set[str], lost: Collection[str], components: Sequence[Component]
) -> Iterator[ComponentLoad]:
    owners = {path: component_of(path, components) for path in needed}
    expected = Counter(id(owner) for owner in owners.values())
    short = Counter(id(owners[path]) for path in lost if path in owners)
    for component in components:
        count = expected[id(component)]
        if count:
            path = component.paths[0] if component.paths else None
            yield ComponentLoad(component.role, path, count - short[id(component)], count)


def _missing_files(headers: TensorHeaders) -> dict[str, int]:
    files = {file: len(names) for file, names in headers.missing.items()}
    cut = {file.name for file in headers.files if file.is_cut}
    counts = Counter(tensor.file for tensor in headers.tensors if tensor.file in cut)
    return dict(sorted({**files, **{file: counts[file] for file in cut}}.items()))


def _in_order(misfits: Sequence[Mismatch], components: Sequence[Component]) -> tuple[Mismatch, ...]:
    """By component, in the model's order; what is in none last."""
    order = {component.paths[:1]: index for index, component in enumerate(components)}
    last = len(order)
    return tuple(
        sorted(
            misfits,
            key=lambda each: order.get((each.component,) if each.component is not None else (), last),
        )
    )
