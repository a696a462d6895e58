"""Snapshot files: one per model, in a fixed order, one fact per line.

A file has the JSON record of the model, the folded module tree, and the branch that the snapshot follows. It
has no time and no path, so that it is the same on every machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from vlm_inspect.core.codec import CheckedNodes, TensorShape, architecture_from_data, to_data
from vlm_inspect.core.errors import InvalidConfigError, SnapshotError
from vlm_inspect.core.module_tree import INFERRED, ModuleNode
from vlm_inspect.core.snapshot import Snapshot

LARGEST_FILE = 64 * 1024 * 1024
"""Bytes of a snapshot file; that of 100,000 modules is far smaller."""
MOST_MODULES = 200_000
"""Modules of a tree, unfolded: a few lines can fold more than fits in memory."""
_LONGEST_NUMBER = 40
_LONGEST_SLUG = 100
_PLAIN_NAME = re.compile(r"(?!.*--)[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?(?<!\.)")
_RANGE = re.compile(r"([0-9]+)-([0-9]+)")
_MERGE_MARKER = re.compile(rb"^(<{7} |={7}$|>{7} )", re.MULTILINE)
_NUMBERS = re.compile(r"\[\s+((?:-?\d+,\s+)*-?\d+)\s+\]")
_REWRITE = "Write it again: vlm-inspect snapshot"


class SnapshotFile(Struct, frozen=True, eq=False):
    """The content of a snapshot file."""

    snapshot: Snapshot
    follows: str | None = None
    """The branch or tag of the snapshot."""


class _Node(Struct):
    """A module in the file; a child named `0-31` stands for 32 equal ones."""

    class_: str | None = field(name="class")
    """None if the class is not known; the record has the reason."""
    parameters: dict[str, TensorShape] = {}
    children: dict[str, _Node] = {}


def file_name(model: str) -> str:
    """Return the name of a model's file, unique to the model and without a path.

    `llava-hf/llava-1.5-7b-hf` becomes `llava-hf--llava-1.5-7b-hf.json`. Other names get a digest: file
    systems ignore case, and a path may look like another model's id.
    """
    if len(model) <= _LONGEST_SLUG and _PLAIN_NAME.fullmatch(model):
        return f"{model.replace('/', '--')}.json"
    import hashlib  # loads OpenSSL, which takes time

    slug = re.sub(r"[^A-Za-z0-9._-]+", "--", model).strip(".-")[:_LONGEST_SLUG]
    digest = hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{slug}~{digest}.json"


def files_in(folder: Path) -> list[Path]:
    """Return the JSON files of a folder, sorted; none if there is no folder."""
    return sorted(path for path in folder.glob("*.json") if path.is_file()) if folder.is_dir() else []


def is_snapshot(data: Any) -> bool:
    """Whether the content of a JSON file is a record of vlm-inspect."""
    return isinstance(data, Mapping) and "schema_version" in data and "components" in data


def to_text(stored: SnapshotFile) -> str:
    """Return the content of a snapshot file."""
    modules = stored.snapshot.modules
    data = {
        **_sorted(to_data(stored.snapshot.architecture)),
        "follows": stored.follows,
        "modules": _node_data(modules) if modules is not None else None,
    }
    text = json.dumps(data, indent=2, ensure_ascii=True)
    # a shape is one fact, and belongs on one line
    return _NUMBERS.sub(lambda match: "[" + re.sub(r"\s+", " ", match[1]) + "]", text) + "\n"


def from_text(content: bytes, name: str) -> SnapshotFile:
    """Parse the content of a snapshot file called `name`. Raises SnapshotError."""
    try:
        data = _parse(content)
        modules, follows = data.pop("modules", None), data.pop("follows", None)
        architecture = architecture_from_data(data)
        nodes = CheckedNodes(MOST_MODULES)
        root = _to_node(msgspec.convert(modules, _Node), nodes) if modules is not None else None
    except (InvalidConfigError, ValueError, RecursionError) as error:
        hint = getattr(error, "hint", "") or _REWRITE
        raise SnapshotError(f"{name}: {str(error)[:300]}", hint=hint) from error
    return SnapshotFile(Snapshot(architecture, root), follows if isinstance(follows, str) else None)


def read(path: Path) -> SnapshotFile:
    """Read a snapshot file. Raises SnapshotError."""
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST_FILE else b""
    except OSError as error:
        raise SnapshotError(f"{path.name}: {error.strerror or error}", hint="Check the file.") from error
    if size > LARGEST_FILE:
        raise SnapshotError(f"{path.name}: {size:,} bytes, and the limit is {LARGEST_FILE:,}.", hint=_REWRITE)
    return from_text(content, path.name)


def read_if_snapshot(path: Path) -> SnapshotFile | None:
    """Read a snapshot file; None if the file is anything else, such as a config.json."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:
            return None
        content = path.read_bytes()
        found = b'"schema_version"' in content and is_snapshot(json.loads(content))
    except (OSError, ValueError, RecursionError):
        return None
    return from_text(content, path.name) if found else None


def _parse(content: bytes) -> dict[str, Any]:
    if not content.strip():
        raise ValueError("the file is empty.")
    if _MERGE_MARKER.search(content):
        raise ValueError("it has the markers of a merge conflict.")
    try:
        data = json.loads(content, parse_int=_parse_int)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON, or cut short: {error}") from error
    if not is_snapshot(data):
        raise ValueError("JSON, but not a snapshot of vlm-inspect.")
    return dict(data)


def _parse_int(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _sorted(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _sorted(data[key]) for key in sorted(data)}
    return [_sorted(item) for item in data] if isinstance(data, list) else data


def _node_data(node: ModuleNode) -> dict[str, Any]:
    data: dict[str, Any] = {"class": None if node.inferred else node.class_name}
    if node.parameters:
        data["parameters"] = {name: list(shape) for name, shape in node.parameters}
    if node.children:
        data["children"] = {name: _node_data(child) for name, child in _folded(node.children)}
    return data


def _folded(children: tuple[tuple[str, ModuleNode], ...]) -> Iterator[tuple[str, ModuleNode]]:
    """Children, with runs of equal numbered ones as one: `0-31`."""
    index = 0
    while index < len(children):
        name, node = children[index]
        last = index
        while name.isdigit() and last + 1 < len(children) and _continues(children[last], children[last + 1]):
            last += 1
        yield (name if last == index else f"{name}-{children[last][0]}"), node
        index = last + 1


def _continues(one: tuple[str, ModuleNode], other: tuple[str, ModuleNode]) -> bool:
    return other[1] is one[1] and other[0].isdigit() and other[0] == str(int(one[0]) + 1)


def _to_node(data: _Node, nodes: CheckedNodes) -> ModuleNode:
    children = {name: _to_node(child, nodes) for name, child in data.children.items()}
    unfolded = ((each, child) for name, child in children.items() for each in _unfolded(name))
    return nodes.node(INFERRED if data.class_ is None else data.class_, unfolded, data.parameters)


def _unfolded(name: str) -> Iterable[str]:
    match = _RANGE.fullmatch(name)
    return map(str, range(int(match[1]), int(match[2]) + 1)) if match else [name]
