"""The report on a whole checkpoint, against the model that its configuration builds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from vlm_inspect.core.architecture import Architecture, Component
from vlm_inspect.core.checkpoint import TensorHeaders
from vlm_inspect.core.load_report import ComponentLoad, LoadingInfo, LoadReport, Mismatch
from vlm_inspect.core.module_tree import Shape
from vlm_inspect.verification.causes import checkpoint_causes, head_sentence
from vlm_inspect.verification.keys import EMPTY, KeyMap, TensorMismatch, group_mismatches, owning_component


def checkpoint_report(loading: LoadingInfo, headers: TensorHeaders, architecture: Architecture) -> LoadReport:
    """Return which tensors of a checkpoint load, and which are missing, unexpected or mismatched."""
    components = architecture.components
    shapes = {tensor.name: tensor.shape for tensor in headers.tensors}
    known_paths = {key: path for key, path in loading.paths.items() if path in loading.shapes}
    key_map = KeyMap(known_paths, loading.converted)
    stored = {loading.paths[key] for key in shapes}
    # a tied path needs a tensor only if the checkpoint has one
    required = {path for path in loading.shapes if path in stored or path not in loading.tied}
    mismatched = list(_mismatched(loading, shapes, key_map))
    lost = [tensor for tensor in mismatched if tensor.kind == "missing"]
    missing = [*_missing(loading, headers, key_map), *lost]
    mismatched = [tensor for tensor in mismatched if tensor.kind == "mismatched"]
    missing_paths = {tensor.path for tensor in missing}
    not_loaded = missing_paths | loading.mismatched.keys()
    loaded = {key for key in shapes if loading.paths[key] not in not_loaded}
    expected_keys = [key for key in shapes if key not in loading.unexpected]
    unexpected = [
        TensorMismatch("unexpected", loading.unwrapped.get(key, loading.paths[key]), key, stored=shape)
        for key, shape in shapes.items()
        if key in loading.unexpected
    ]
    mismatches = (
        *group_mismatches(missing, required - missing_paths, components),
        *group_mismatches(mismatched, required - not_loaded, components),
        *group_mismatches(unexpected, expected_keys, components),
    )
    return LoadReport(
        model=architecture.model,
        model_class=architecture.model_class,
        subject="checkpoint",
        tensors=len(shapes),
        loaded=len(loaded - loading.unexpected - loading.ignored),
        causes=tuple(checkpoint_causes(loading, mismatched, lost)),
        head=head_sentence(loading, stored),
        mismatches=_in_order(mismatches, components),
        components=tuple(_component_loads(required, not_loaded, components)),
        renamings=key_map.renamings(),
        missing_files=_missing_files(headers),
        ignored=len(loading.ignored),
        notes=(*headers.notes, *architecture.notes),
        versions=architecture.versions,
    )


def _missing(loading: LoadingInfo, headers: TensorHeaders, key_map: KeyMap) -> Iterator[TensorMismatch]:
    """Paths without a tensor, and paths whose tensor is in a truncated file."""
    truncated_files = {file.name for file in headers.files if file.is_cut}
    truncated = {
        loading.paths[tensor.name]: (tensor.name, f"{tensor.file} ends too early")
        for tensor in headers.tensors
        if tensor.file in truncated_files
    }
    in_missing_files = {
        loading.paths[key]: (key, f"{file} is not there") for file, keys in headers.missing.items() for key in keys
    }
    for path, shape in loading.shapes.items():
        if path in truncated and path not in loading.mismatched:
            key, reason = truncated[path]
        elif path in loading.missing:
            key, reason = in_missing_files.get(path) or (key_map.key_of(path), "")
        else:
            continue
        yield TensorMismatch("missing", path, key, expected=shape, reason=reason)


def _mismatched(loading: LoadingInfo, shapes: dict[str, Shape], key_map: KeyMap) -> Iterator[TensorMismatch]:
    keys_of: dict[str, list[str]] = defaultdict(list)
    for key in shapes:
        keys_of[loading.paths[key]].append(key)
    for path in loading.shapes:
        if path in loading.mismatched:
            stored, expected = loading.mismatched[path]
            keys = keys_of[path]
            if lost := key_map.lost_keys(path, keys, expected):
                for key in lost:
                    yield TensorMismatch("missing", path, key, reason=_lost_reason(key, path), is_part=True)
                continue
            key = keys[0] if len(keys) == 1 else key_map.key_of(path)
            merged = f"its {len(keys)} tensors cannot be merged"
            failure = merged if len(keys) > 1 else "its tensor cannot be converted"
            reason = failure if stored is None else ""
            if 0 not in expected and any(0 in shapes[each] for each in keys):
                reason = EMPTY
            yield TensorMismatch("mismatched", path, key, expected=expected, stored=stored, reason=reason)


def _lost_reason(key: str, path: str) -> str:
    """`experts.5.up_proj of layer 2 is missing`."""
    parts = key.removesuffix(".weight").split(".")
    layer = next((part for part in path.split(".") if part.isdigit()), None)
    first = max((index for index, part in enumerate(parts) if part.isdigit()), default=1) - 1
    if layer is not None and first == parts.index(layer) - 1:  # the only number is that of the layer
        first += 2
    return f"{'.'.join(parts[first:])}{f' of layer {layer}' if layer is not None else ''} is missing"


def _component_loads(
    required: set[str], not_loaded: set[str], components: Sequence[Component]
) -> Iterator[ComponentLoad]:
    owners = {path: owning_component(path, components) for path in required}
    expected = Counter(map(id, owners.values()))
    lost = Counter(id(owners[path]) for path in not_loaded if path in owners)
    for component in components:
        if count := expected[id(component)]:
            path = next(iter(component.paths), None)
            yield ComponentLoad(component.role, path, count - lost[id(component)], count)


def _missing_files(headers: TensorHeaders) -> dict[str, int]:
    counts = Counter(tensor.file for tensor in headers.tensors)
    files = {file: len(keys) for file, keys in headers.missing.items()}
    files |= {file.name: counts[file.name] for file in headers.files if file.is_cut}
    return dict(sorted(files.items()))


def _in_order(mismatches: Sequence[Mismatch], components: Sequence[Component]) -> tuple[Mismatch, ...]:
    """Sort by component, in the model's order; those without a component last."""
    order: dict[str | None, int] = {
        component.paths[0]: index for index, component in enumerate(components) if component.paths
    }
    return tuple(sorted(mismatches, key=lambda each: order.get(each.component, len(components))))
