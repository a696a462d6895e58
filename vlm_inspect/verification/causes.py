"""Sentences that explain many mismatches at once, and one on what the loader does with the head."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from vlm_inspect.core.architecture import Architecture
from vlm_inspect.core.load_report import LoadingInfo
from vlm_inspect.core.module_tree import ModuleTree, Shape
from vlm_inspect.verification.keys import TensorMismatch

_LONGEST_NAME = 200
_RENAME = "rename them, or save the model without its wrapper"


def checkpoint_causes(
    loading: LoadingInfo, mismatched: Collection[TensorMismatch], lost: Sequence[TensorMismatch]
) -> Iterator[str]:
    """Yield why a checkpoint does not load.

    Args:
        loading: The loader's result.
        mismatched: Tensors of another shape.
        lost: Tensors without which others cannot be merged.

    """
    yield from _wrapper(loading)
    yield from _empty([tensor.path for tensor in mismatched if tensor.is_empty])
    yield from _resized_vocabulary(loading)
    if lost:
        yield f"{lost[0].reason}{f', and {len(lost) - 1} more' if len(lost) > 1 else ''}."


def adapter_causes(
    config: Mapping[str, Any], base: Architecture, tree: ModuleTree, wrong: Sequence[TensorMismatch], count: int
) -> Iterator[str]:
    """Yield why the tensors of an adapter do not fit its base model.

    Args:
        config: The content of adapter_config.json.
        base: The base model.
        tree: Its modules.
        wrong: Tensors without a target, and those of another shape.
        count: Number of the adapter's tensors.

    """
    if not wrong:
        return
    made_for = config.get("auto_mapping")
    made_for = made_for.get("base_model_class") if isinstance(made_for, Mapping) else None
    if isinstance(made_for, str) and made_for != base.model_class:
        yield f"The adapter was made for {made_for[:_LONGEST_NAME]}, and the base model is {base.model_class}."
    named = config.get("base_model_name_or_path")
    if isinstance(named, str) and named and _last(named) != _last(base.model.id):
        yield f"adapter_config.json names {named[:_LONGEST_NAME]} as its base model, and here it is {base.model.id}."
    yield from _empty([tensor.key for tensor in wrong if tensor.stored and 0 in tensor.stored])
    # others are in modules that target_modules does not name
    unexpected = [each.path for each in wrong if each.kind == "unexpected" and not _is_in_module(each.path, "", tree)]
    if len(unexpected) == count:
        prefix = _left_over_prefix(unexpected, tree)
        if prefix:
            yield f"All {count} names fit without the leading prefix {prefix!r}: {_RENAME}."
        else:
            yield f"None of its {count} tensors is for a module of {base.model_class}: its base is of another class."
    other = next((tensor for tensor in wrong if tensor.expected and tensor.stored and 0 not in tensor.stored), None)
    if other is not None and other.expected and other.stored and len(wrong) == count != len(unexpected):
        sizes = " and ".join(_by_x(shape) for shape in (other.stored, other.expected))
        yield f"None of its shapes fits: its base is of other sizes ({sizes} at {other.path})."


def _left_over_prefix(paths: Sequence[str], tree: ModuleTree) -> str:
    """The shortest leading prefix without which all paths of tensors are in modules of the model."""
    parts = paths[0].split(".")
    prefixes = (".".join([*parts[:length], ""]) for length in range(1, len(parts) - 1))
    return next((prefix for prefix in prefixes if all(_is_in_module(path, prefix, tree) for path in paths)), "")


def _is_in_module(path: str, prefix: str, tree: ModuleTree) -> bool:
    module = path.removeprefix(prefix).rpartition(".lora_")[0]
    return path.startswith(prefix) and bool(module) and tree.find(module) is not None


def head_sentence(loading: LoadingInfo, stored: Collection[str]) -> str:
    """Return what the loader does with the output embeddings; empty if they are loaded as they are stored.

    `stored` has the paths for which the checkpoint has a tensor.
    """
    head, embedding = (_weight(loading, f"get_{which}_embeddings") for which in ("output", "input"))
    if head is None or embedding is None or head in loading.unwrapped.values():
        return ""
    pair = next(((path, source) for path, source in loading.tied.items() if head in (path, source)), None)
    if pair is None:
        name = loading.tree.root.class_name
        is_new = head not in stored and head in loading.missing
        return f"{head} is not stored, and {name} does not tie it: the loader initializes it newly." if is_new else ""
    other = pair[1] if pair[0] == head else pair[0]
    if head in stored and other in stored:
        return (
            f"{head} and {other} are both stored: the loader ties them if their values are equal; else it warns that "
            "tie_word_embeddings should be false, and leaves them untied."
        )
    if head in stored:
        return f"{other} is not stored: the loader ties it to {head}."
    if other in stored:
        return f"{head} is not stored: the loader ties it to {other}."
    return f"Neither {head} nor {other} is stored: the loader initializes them newly."


def _wrapper(loading: LoadingInfo) -> Iterator[str]:
    if loading.wrapper:
        count, of = len(loading.unwrapped), len(loading.unexpected)
        kind = "" if of == len(loading.paths) else "unexpected "
        names = f"All {of} {kind}names" if count == of else f"{count} of the {of} {kind}names"
        what = "leading prefix" if loading.wrapper.endswith(".") else "wrapper's name"
        yield f"{names} fit without the {what} {loading.wrapper!r}: {_RENAME}."


def _empty(names: Sequence[str]) -> Iterator[str]:
    if names:
        count = "1 tensor is" if len(names) == 1 else f"{len(names):,} tensors are"
        yield (
            f"{count} empty in the file ({names[0]} …): DeepSpeed ZeRO-3 leaves them so if weights are saved "
            "before they are gathered. Save again with stage3_gather_16bit_weights_on_model_save, or zero_to_fp32.py."
        )


def _resized_vocabulary(loading: LoadingInfo) -> Iterator[str]:
    accessors = ("get_input_embeddings", "get_output_embeddings")
    weights = [path for accessor in accessors if (path := _weight(loading, accessor)) in loading.mismatched and path]
    sizes = {_vocabulary(*loading.mismatched[path]) for path in weights}
    for stored, built in sizes - {(0, 0)}:
        key = next(_keys_of_vocabulary(loading.tree.config, built, ""), "vocab_size")
        yield (
            f"The checkpoint's vocabulary has {stored:,} tokens, and that of the model {built:,} "
            f"({', '.join(dict.fromkeys(weights))}): its embeddings were resized. Correct {key} in config.json."
        )


def _vocabulary(stored: Shape | None, built: Shape) -> tuple[int, int]:
    """The two sizes of a vocabulary, if the shapes differ in nothing else; else zeros."""
    if not stored or stored[1:] != built[1:] or 0 in stored:
        return 0, 0
    return stored[0], built[0]


def _keys_of_vocabulary(config: Mapping[str, Any], size: int, path: str) -> Iterator[str]:
    if config.get("vocab_size") == size:
        yield f"{path}vocab_size"
    for name, part in config.items():
        if isinstance(part, Mapping):
            yield from _keys_of_vocabulary(part, size, f"{path}{name}.")


def _weight(loading: LoadingInfo, accessor: str) -> str | None:
    """The path of the weight of the module that an accessor returns."""
    path = loading.tree.accessors.get(accessor)
    weight = None if path is None else f"{path}.weight".lstrip(".")
    return weight if weight in loading.shapes else None


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def _by_x(shape: Shape) -> str:
    return " x ".join(map(str, shape))
