"""What a checkpoint stores: quantized parameters and dtypes, compared with what its configuration says.

Quantizers leave modules out by a list of names, which may be those of an older layout. Only the stored tensors
show what is quantized.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from vlm_inspect.anatomy.quantization import declared_settings, quantization_of
from vlm_inspect.core.module_tree import ModuleTree, parent_path

# dtypes of quantized weights in safetensors; integers of 64 bits are indices
QUANTIZED_DTYPE = re.compile(r"^(F8_|F4|F6|[IU](8|16|32)$)")
SKIP_LISTS = (
    *("modules_to_not_convert", "llm_int8_skip_modules", "skip_modules", "ignore", "ignored_layers", "exclude"),
    *("exclude_modules", "linear_weights_not_to_quantize"),
)
"""The keys under which quantizers list the modules that stay as they are."""
# what such a list has in addition to names: classes, patterns
_PLAIN_NAME = re.compile(r"[\w.\-]+(\.\*|\*)?")
_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float": "F32", "half": "F16"}
_MAX_NAMED = 3
_MOST = 0.5


def quantized_sizes(tree: ModuleTree) -> dict[str, int]:
    """Path and size of the parameters that are stored in a quantized format."""
    stored = {path for path, sizes in tree.stored_bytes.items() if any(map(QUANTIZED_DTYPE.search, sizes))}
    return {path: math.prod(shape) for path, shape in tree.shapes_of(stored).items()}


def storage_notes(tree: ModuleTree) -> Iterator[str]:
    """Where the stored weights, the skip list and the dtype of a configuration contradict each other."""
    quantized = quantized_sizes(tree) if tree.stored_bytes else {}
    declared = quantization_of(tree.config)
    if quantized and declared is None:
        dtypes = Counter(
            dtype for path in quantized for dtype in tree.stored_bytes[path] if QUANTIZED_DTYPE.search(dtype)
        )
        yield (
            f"{len(quantized)} of its weights are stored quantized ({dtypes.most_common(1)[0][0]}), "
            "and its configuration does not say how."
        )
    if declared is not None:
        if tree.stored_bytes and not quantized:
            yield f"Its configuration says {declared.method}, and none of its weights is stored quantized."
        for key, names in _skip_lists(tree.config):
            yield from _list_notes(tree, key, names, quantized, by_segment=declared.method == "fp8")
    yield from _dtype_note(tree)


def _skip_lists(config: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The lists of modules that stay as they are. Patterns are left out: only names can be outdated for sure."""
    for path, settings in declared_settings(config):
        for key in SKIP_LISTS:
            names = settings.get(key)
            if isinstance(names, list):
                yield (
                    f"{path}.{key}",
                    [name for name in names if isinstance(name, str) and _PLAIN_NAME.fullmatch(name)],
                )


def _list_notes(
    tree: ModuleTree, key: str, names: Sequence[str], quantized: Mapping[str, int], *, by_segment: bool
) -> Iterator[str]:
    written = {name.rstrip("*").rstrip("."): name for name in names}
    modules = {path: node.class_name for path, node in tree.root.walk() if node.parameters and path}
    starts, ends = {name.partition(".")[0] for name in written}, tuple(name.rpartition(".")[2] for name in written)
    # a large model has many modules, and most of them are in no list
    candidates = (path for path in modules if by_segment or path.partition(".")[0] in starts or path.endswith(ends))
    sparing = {path: _sparing(path, written, by_segment=by_segment) for path in candidates}
    # such a list may name classes, too
    used = {*modules.values(), *(name for found in sparing.values() for name in found)}
    unused = [name for plain, name in written.items() if plain not in used]
    if unused:
        yield f"{key} names {_some(unused)}, which no module of this model is called: the list spares nothing there."
    stored = {name for path in map(parent_path, quantized) for name in sparing.get(path, ())}
    broken = [name for plain, name in written.items() if plain in stored]
    if broken:
        yield f"{key} names {_some(broken)}, and the checkpoint stores quantized weights there."


def _sparing(path: str, names: Collection[str], *, by_segment: bool) -> list[str]:
    """The names in a list that spare a module: they begin its path up to a dot, or end it.

    The FP8 quantizer renames its list to the layout that is built: there, a name may be in between.
    """
    parts = path.split(".")
    ends = range(1, len(parts) + 1)
    pieces = {".".join(parts[:end]) for end in ends} | {".".join(parts[-end:]) for end in ends}
    if by_segment:
        pieces |= {".".join(parts[start:end]) for end in ends for start in range(end)}
    pieces |= {parts[-1][start:] for start in range(len(parts[-1]))}
    return [piece for piece in pieces if piece in names]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(name[:80] for name in names[:_MAX_NAMED]) + more


def _dtype_note(tree: ModuleTree) -> Iterator[str]:
    """The dtype of most weights that are not quantized, if the configuration says another one."""
    sizes: Counter[str] = Counter()
    for stored in tree.stored_bytes.values():
        if not any(map(QUANTIZED_DTYPE.search, stored)):
            sizes.update(stored)
    names = (str(tree.config.get(key)).removeprefix("torch.") for key in ("dtype", "torch_dtype"))
    stated = {_DTYPES[name]: name for name in names if name in _DTYPES}
    plain = {dtype: size for dtype, size in sizes.items() if dtype in _DTYPES.values()}
    main = max(plain, key=plain.__getitem__, default=None)
    if main is not None and stated and main not in stated and plain[main] > _MOST * sum(plain.values()):
        yield f"Its configuration says {next(iter(stated.values()))}, and most of its weights are stored as {main}."
