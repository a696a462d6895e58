"""The kinds of hostile input, and how many of 100,000 inputs are of each."""

from __future__ import annotations

from collections.abc import Mapping

from tools.fuzz.case import Kind
from tools.fuzz.kinds import (
    adapters,
    checkpoints,
    children,
    code,
    configs,
    documents,
    names,
    settings,
    snapshots,
)

KINDS: Mapping[str, Kind] = {
    "config-bytes": Kind(configs.of_bytes, 12_000, "config.json, its bytes"),
    "config-values": Kind(configs.of_values, 13_000, "config.json, its values"),
    "index": Kind(checkpoints.of_index, 14_000, "model.safetensors.index.json"),
    "header": Kind(checkpoints.of_header, 20_000, "headers of safetensors files"),
    "snapshot": Kind(snapshots.of_file, 15_000, "snapshot files"),
    "settings": Kind(settings.of_file, 12_000, "vlm-inspect.toml, pyproject.toml"),
    "document": Kind(documents.of_file, 10_000, "README files with marked blocks"),
    "name": Kind(names.of_model, 6_000, "names of models"),
    "child": Kind(children.of_answer, 5_000, "answers of the isolated child"),
    "code": Kind(code.of_files, 2_000, "a repo's Python files, read as text"),
    "adapter": Kind(adapters.of_files, 1_000, "adapter_config.json and adapters' headers"),
}
